"""DICOM files drawn with pydicom: stored, rescaled, inverted, windowed, of several frames, compressed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from drawn_dicom import write_dicom

from submissions.images.opening import Reading, open_image, open_mask, probe_image

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import (  # noqa: E402
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

GREY = np.random.default_rng(0).integers(0, 4096, (11, 17), dtype=np.uint16)


def test_stored_values_and_windows_of_a_file(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, BitsStored=12, PixelSpacing=[0.2, 0.3], SliceThickness=2)
    reader = open_image(tmp_path / "a.dcm")
    assert reader.shape == (1, 11, 17, 1) and reader.dtype == np.uint16
    np.testing.assert_array_equal(reader.read(0, slice(2, 9), slice(1, 5))[..., 0], GREY[2:9, 1:5])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(0)[..., 0], GREY)
    info = probe_image(tmp_path / "a.dcm")
    assert info.spacing == (2.0, 0.2, 0.3) and info.pixel_size_um == pytest.approx(300)


def test_slope_and_intercept_give_what_the_modality_means(tmp_path: Path) -> None:
    signed = GREY.astype(np.int16) - 1000
    write_dicom(tmp_path / "a.dcm", signed, RescaleSlope=2, RescaleIntercept=-24.5)
    reader = open_image(tmp_path / "a.dcm")
    assert reader.dtype == np.float32
    np.testing.assert_allclose(reader.read(0)[..., 0], signed * 2.0 - 24.5)
    np.testing.assert_array_equal(open_mask(tmp_path / "a.dcm").read(0)[..., 0], signed)


def test_monochrome1_is_turned_bright_on_dark(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(open_image(tmp_path / "a.dcm").read(0)[..., 0], 4095 - GREY)


def test_windows_of_the_contract_and_of_the_file(tmp_path: Path) -> None:
    elements = {
        "BitsStored": 12,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, 400],
        "WindowWidth": [400, 9],
    }
    write_dicom(tmp_path / "a.dcm", GREY, **elements)
    meant = GREY.astype(float) - 1024
    wanted = np.rint(255 * np.clip((meant - 39.5) / 399 + 0.5, 0, 1))
    for window in ("file", (40.0, 400.0)):
        reader = open_image(tmp_path / "a.dcm", reading=Reading(window=window))
        assert reader.dtype == np.uint8
        np.testing.assert_allclose(reader.read(0)[..., 0], wanted, atol=1)
    write_dicom(tmp_path / "b.dcm", GREY, **elements, PhotometricInterpretation="MONOCHROME1")
    turned = open_image(tmp_path / "b.dcm", reading=Reading(window="file")).read(0)[..., 0]
    np.testing.assert_allclose(turned, 255 - wanted, atol=1)
    write_dicom(tmp_path / "c.dcm", GREY)
    with pytest.raises(ValueError, match="the file proposes none"):
        open_image(tmp_path / "c.dcm", reading=Reading(window="file"))


def test_frames_are_slices(tmp_path: Path) -> None:
    frames = np.stack([GREY, GREY // 2, GREY // 3])
    write_dicom(tmp_path / "a.dcm", frames, NumberOfFrames=3)
    reader = open_image(tmp_path / "a.dcm")
    assert reader.shape == (3, 11, 17, 1)
    for z in (2, 0):
        np.testing.assert_array_equal(reader.read(z)[..., 0], frames[z])
    assert open_image(tmp_path / "a.dcm", reading=Reading(frame=1)).shape == (1, 11, 17, 1)


def test_colours_and_palettes(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (11, 17, 3), dtype=np.uint8)
    write_dicom(tmp_path / "a.dcm", rgb)
    np.testing.assert_array_equal(open_image(tmp_path / "a.dcm").read(0), rgb)
    label = np.random.default_rng(2).integers(0, 4, (11, 17), dtype=np.uint8)
    table = np.array([[0, 0, 0], [200, 0, 0], [0, 100, 9], [1, 2, 250]], np.uint8)
    elements = {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 8] for name in ("Red", "Green", "Blue")}
    tables = {
        f"{name}PaletteColorLookupTableData": table[:, k].tobytes() for k, name in enumerate(("Red", "Green", "Blue"))
    }
    write_dicom(tmp_path / "p.dcm", label, PhotometricInterpretation="PALETTE COLOR", **elements, **tables)
    np.testing.assert_array_equal(open_image(tmp_path / "p.dcm").read(0), table[label])
    np.testing.assert_array_equal(open_mask(tmp_path / "p.dcm").read(0)[..., 0], label)


@pytest.mark.parametrize(
    ("syntax", "encode", "bits", "close"),
    [
        (JPEGBaseline8Bit, lambda x: imagecodecs.jpeg8_encode(x, level=98), 8, 6),
        (JPEGExtended12Bit, lambda x: imagecodecs.jpeg8_encode(x, level=98, bitspersample=12), 12, 100),
        (JPEG2000Lossless, lambda x: imagecodecs.jpeg2k_encode(x, level=0, codecformat="j2k", bitspersample=12), 12, 0),
        (JPEGLSLossless, imagecodecs.jpegls_encode, 16, 0),
        (JPEGLosslessSV1, lambda x: imagecodecs.ljpeg_encode(x, bitspersample=12), 12, 0),
    ],
)
def test_compressed_kinds(tmp_path: Path, syntax: str, encode: Any, bits: int, close: int) -> None:
    ramp = np.add.outer(np.arange(16), np.arange(24)) * (6 if bits == 8 else 100)
    pixels = ramp.astype(np.uint8 if bits == 8 else np.uint16)
    write_dicom(tmp_path / "a.dcm", pixels, syntax=syntax, coded=[encode(pixels)], BitsStored=bits)
    found = open_image(tmp_path / "a.dcm").read(0)[..., 0]
    assert np.abs(found.astype(int) - pixels).max() <= close


def test_faults_are_named(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match=r"a\.dcm: damaged, or not what it says it is"):
        open_image(tmp_path / "a.dcm").read(0)
    (tmp_path / "a.dcm").write_bytes(whole[:200])
    with pytest.raises(ValueError, match=r"a\.dcm: damaged, or not what it says it is"):
        open_image(tmp_path / "a.dcm")
    write_dicom(tmp_path / "b.dcm", GREY, PhotometricInterpretation="CMYK")
    with pytest.raises(ValueError, match="written as CMYK"):
        open_image(tmp_path / "b.dcm")
    write_dicom(tmp_path / "c.dcm", GREY, BitsAllocated=64, BitsStored=64)
    with pytest.raises(ValueError, match="64 bits a sample"):
        open_image(tmp_path / "c.dcm")


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "examples_rgb_color.dcm", "JPEG2000.dcm"])
def test_real_files_that_come_with_pydicom(name: str) -> None:
    """The first three begin as a TIFF in their preamble."""
    path = Path(str(pydicom.data.get_testdata_file(name, download=False)))
    dataset = pydicom.dcmread(path)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    wanted = dataset.pixel_array * slope + intercept
    found = open_image(path)
    assert found.shape[:3] == (1, dataset.Rows, dataset.Columns)
    np.testing.assert_array_equal(found.read(0).reshape(wanted.shape), wanted)
