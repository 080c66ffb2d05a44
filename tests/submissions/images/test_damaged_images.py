"""Damaged, oversized and misleading files are refused with their name; names stay inside the data folder."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from submissions.images.opening import open_image, probe_image, read_image, resolve_inside

RGB = np.random.default_rng(0).integers(0, 256, (45, 67, 3), dtype=np.uint8)
GREY = RGB[..., 0]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "tiles.tif", "plain.tif", "a.nii", "a.nii.gz", "a.npy"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_truncated_files_are_found(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, RGB, photometric="rgb", tile=(32, 32) if name == "tiles.tif" else None)
    elif ".nii" in name:
        nibabel.save(nibabel.Nifti1Image(RGB, np.eye(4)), path)
    elif name.endswith("npy"):
        np.save(path, RGB)
    else:
        Image.fromarray(RGB).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=str(path)):
        reader = open_image(path)
        for z in range(reader.shape[0]):
            reader.read(z)


def test_damage_inside_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="checksum"):
        read_image(path)
    tifffile.imwrite(tmp_path / "a.tif", RGB, tile=(32, 32), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages[0].dataoffsets[1]
    damaged = bytearray((tmp_path / "a.tif").read_bytes())
    damaged[offset : offset + 40] = b"\xab" * 40
    (tmp_path / "a.tif").write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="tile 1"):
        read_image(tmp_path / "a.tif")


def test_what_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such image"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(FileNotFoundError, match="no files"):
        open_image(tmp_path)
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"expected one of: .*PNG"):
        probe_image(tmp_path / "page.html")
    (tmp_path / "broken.gz").write_bytes(gzip.compress(RGB.tobytes())[:200])
    with pytest.raises(ValueError, match="damaged gzip"):
        probe_image(tmp_path / "broken.gz")
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="declared"):
        open_image(tmp_path / "a.png", kind="tiff")
    with pytest.raises(ValueError, match="the file has frames 0 to 0"):
        open_image(tmp_path / "a.png", page=1)
    with pytest.raises(ValueError, match="several files"):
        open_image([tmp_path / "a.png"], kind="tiff")
    (tmp_path / "old.bmp").write_bytes(b"BM" + struct.pack("<IHHII", 90, 0, 0, 26, 12) + bytes(80))
    with pytest.raises(ValueError, match="header of 12"):
        read_image(tmp_path / "old.bmp")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(GREY).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="60000 x 60000"):
        probe_image(path)
    with pytest.raises(ValueError, match="gigapixels"):
        read_image(path)
    for sizes, message in (
        ({"ImageLength": 80_000, "ImageWidth": 70_000}, "80000 x 70000"),
        (
            {"ImageLength": 50_000, "ImageWidth": 50_000, "TileLength": 40_000, "TileWidth": 40_000},
            "tile or strip",
        ),
    ):
        tifffile.imwrite(tmp_path / "bomb.tif", GREY, tile=(16, 16), compression="zlib")
        with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+b") as tiff:
            for name, value in sizes.items():
                tiff.pages[0].tags[name].overwrite(value)
        with pytest.raises(ValueError, match=message):
            open_image(tmp_path / "bomb.tif")
    data[16:24] = struct.pack(">II", 0, 60)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="60 x 0"):
        probe_image(path)


def test_names_stay_inside_the_data_folder(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / "train" / "a.png").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "inner.png").symlink_to(root / "train" / "a.png")
    assert resolve_inside(root, "train/a.png") == root / "train" / "a.png"
    assert resolve_inside(root, "inner.png").exists()
    for name in ("../secret.png", "train/../../secret.png", "link.png"):
        with pytest.raises(ValueError, match="outside"):
            resolve_inside(root, name)
    for name in ("", "  ", str(tmp_path / "secret.png"), "a\x00.png"):
        with pytest.raises(ValueError, match="relative"):
            resolve_inside(root, name)
