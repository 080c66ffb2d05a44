"""The table of formats: each is told by its first bytes, and a missing library is named with its extra."""

from __future__ import annotations

import gzip
import tomllib
from importlib import util
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from submissions.images.formats.table import FORMATS, find_format, is_container, needed_packages

ROOT = Path(__file__).parents[4]


def test_every_extra_of_the_table_is_one_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = {name: dict(line.split("==") for line in extras[name]) for name in ("formats", "dicom", "itk", "mrc")}
    pins |= {name: dict(line.split("==") for line in extras[name]) for name in ("slides", "zarr")}
    for one in FORMATS:
        for _, distribution, accepted in one.packages:
            for extra in (str(one.extra), "formats"):
                assert pins[extra][distribution] in SpecifierSet(accepted), (one.name, extra)


def test_packages_of_the_formats_that_a_competition_has() -> None:
    assert needed_packages({"raster", "tiff"}) == {}
    assert set(needed_packages({"dicom", "zarr"})) == {"pydicom", "tensorstore", "ml-dtypes"}


def test_without_its_library_a_format_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"a\.dcm: DICOM files need pydicom.*segmentation-pipeline\[dicom\]"):
        find_format(tmp_path / "a.dcm").open(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        ("a.mrxs", b"\xff\xd8\xff\xe0", "slide"),
        ("a.ndpi", b"II*\x00", "slide"),
        ("a.svs", b"II*\x00", "tiff"),
        ("a.jpg", b"\xff\xd8\xff\xe0", "raster"),
        ("a.bin", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "picture"),
        ("a.bin", b"\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00avif", "picture"),
        ("a.dcm", b"\x08\x00\x05\x00", "dicom"),
        ("a.nrrd", b"NRRD0005\n", "itk"),
        ("a.mhd", b"ObjectType = Image\nNDims = 3\n", "itk"),
        ("a.map", bytes(208) + b"MAP ", "mrc"),
        ("a.npz", b"PK\x03\x04", "npy"),
        ("a.zarr.zip", b"PK\x03\x04", "zarr"),
    ],
)
def test_formats_are_told_by_bytes_and_endings(tmp_path: Path, name: str, head: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(head + bytes(8))
    assert find_format(tmp_path / name).name == found


def test_a_broken_stream_inside_a_gzip_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    content = bytearray(gzip.compress(bytes(range(256)) * 9))
    content[12:20] = b"\xff" * 8
    for broken in (content, gzip.compress(b"x" * 900)[:15]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.nii\.gz: damaged gzip file \("):
            find_format(path)


def test_a_folder_of_slices_is_no_container(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"x")
    assert not is_container(tmp_path)
    (tmp_path / ".zarray").write_text("{}")
    assert is_container(tmp_path) and find_format(tmp_path).name == "zarr"
