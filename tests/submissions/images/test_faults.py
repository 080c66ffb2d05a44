"""Places without data, values that are no number, and what else can be wrong with pixels that decode."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from submissions.images.faults import FaultCounter, FiniteReader, count_not_finite, describe_faults
from submissions.images.joined_readers import ForgivingReader
from submissions.images.opening import (
    ArrayReader,
    ImageReader,
    LayerReader,
    Reading,
    SliceReader,
    StackReader,
    open_image,
    open_mask,
)
from submissions.images.readers import valid_pixels
from submissions.images.turned import turn

SHAPE = (23, 31)
GREY = np.random.default_rng(0).integers(1, 255, SHAPE, dtype=np.uint8)
RGB = np.random.default_rng(1).integers(1, 255, (*SHAPE, 3), dtype=np.uint8)
HOLE = np.zeros(SHAPE, bool)
HOLE[4:9, 10:31] = True


def assert_hole(reader: ImageReader, hole: np.ndarray = HOLE) -> None:
    found = valid_pixels(reader, 0)
    assert found is not None
    np.testing.assert_array_equal(found, ~hole)
    np.testing.assert_array_equal(valid_pixels(reader, 0, slice(2, 7), slice(5, 20)), ~hole[2:7, 5:20])
    assert valid_pixels(reader, 0, slice(15, 20), None) is None


@pytest.mark.parametrize("name", ["rgba.png", "la.png", "rgba.webp", "rgba.tif"])
def test_transparent_places_hold_no_data(tmp_path: Path, name: str) -> None:
    alpha = np.where(HOLE, 0, 7).astype(np.uint8)
    pixels = np.dstack([GREY if name.startswith("la") else RGB, alpha])
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", extrasamples=["unassalpha"], compression="zlib")
    else:
        Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    reader = open_image(tmp_path / name)
    assert_hole(reader)
    assert_hole(pickle.loads(pickle.dumps(reader)))
    shown = reader.read(0)
    np.testing.assert_array_equal(shown[~HOLE], (pixels[..., :1] if name.startswith("la") else RGB)[~HOLE])
    reader.close()
    assert_hole(reader)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_pngs_transparent_colour_holds_no_data(tmp_path: Path, mode: str) -> None:
    if mode == "RGB":
        pixels = RGB.copy()
        pixels[HOLE] = (0, 9, 1)
        Image.fromarray(pixels).save(tmp_path / "a.png", transparency=(0, 9, 1))
    elif mode == "1":
        Image.fromarray(np.where(HOLE, 0, 255).astype(np.uint8)).convert("1").save(tmp_path / "a.png", transparency=0)
    else:
        image = Image.fromarray(np.where(HOLE, 0, GREY), mode=mode)
        if mode == "P":
            image.putpalette(np.random.default_rng(2).integers(0, 255, 768).tolist())
        image.save(tmp_path / "a.png", transparency=0)
    assert_hole(open_image(tmp_path / "a.png"))


def test_alpha_that_is_full_everywhere_changes_nothing(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, np.full(SHAPE, 255, np.uint8)])).save(tmp_path / "a.png")
    reader = open_image(tmp_path / "a.png")
    assert valid_pixels(reader, 0) is None
    np.testing.assert_array_equal(reader.read(0), RGB)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [(np.float32, -9999), (np.int16, -9999), (np.uint8, 0), (np.float32, np.nan)]
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_gdals_nodata_is_shown_as_the_mean(tmp_path: Path, dtype: type, nodata: float, compression: str | None) -> None:
    pixels = RGB.astype(dtype)
    pixels[HOLE] = nodata
    tag = [(42113, "s", 0, str(nodata), True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=tag, compression=compression)
    reader = open_image(path)
    assert_hole(reader)
    shown = reader.read(0)
    np.testing.assert_array_equal(shown[~HOLE], RGB[~HOLE])
    np.testing.assert_allclose(shown[HOLE], np.broadcast_to(RGB[~HOLE].mean(axis=0), (HOLE.sum(), 3)), atol=0.51)
    np.testing.assert_array_equal(reader.read(0, slice(3, 6), slice(8, 12)), shown[3:6, 8:12])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(0), shown)


def test_nodata_in_one_channel_alone_is_data(tmp_path: Path) -> None:
    pixels = RGB.copy()
    pixels[HOLE, 0] = 0
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[(42113, "s", 0, "0", True)])
    assert valid_pixels(open_image(tmp_path / "a.tif"), 0) is None
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", extratags=[(42113, "s", 0, "none", True)])
    assert valid_pixels(open_image(tmp_path / "b.tif"), 0) is None


def test_an_image_of_nothing_but_nodata_is_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full(SHAPE, -1, np.float32), extratags=[(42113, "s", 0, "-1", True)])
    reader = open_image(tmp_path / "a.tif")
    assert not reader.read(0).any()
    found = valid_pixels(reader, 0)
    assert found is not None and not found.any()


def test_joined_sources_keep_what_holds_no_data(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, np.where(HOLE, 0, 255).astype(np.uint8)])).save(tmp_path / "a.png")
    Image.fromarray(RGB).save(tmp_path / "b.png")
    a, b = open_image(tmp_path / "a.png"), open_image(tmp_path / "b.png")
    stack = StackReader([b, a])
    assert valid_pixels(stack, 0) is None
    assert_hole(SliceReader(stack, [1]))
    assert_hole(LayerReader([b, a]))
    assert_hole(ForgivingReader(StackReader([a, b]), 1))
    assert valid_pixels(StackReader([b]), 0) is None
    assert valid_pixels(ArrayReader(RGB[None]), 0) is None


def test_what_is_no_number_is_refused_or_replaced() -> None:
    pixels = RGB[None].astype(np.float32)
    pixels[0, 3, 4, 1], pixels[0, 20, 2] = np.nan, np.inf
    reader = ArrayReader(pixels)
    assert count_not_finite(reader) == 2
    refusing = FiniteReader(reader, None, "a.tif")
    np.testing.assert_array_equal(refusing.read(0, slice(5, 9), None), pixels[0, 5:9])
    with pytest.raises(ValueError, match=r"a\.tif: 2 pixels are not a number .* images\.nan"):
        refusing.read(0)
    shown = FiniteReader(reader, 7, "a.tif").read(0)
    assert shown[3, 4, 1] == 7 and (shown[20, 2] == 7).all() and shown[3, 4, 0] == pixels[0, 3, 4, 0]
    assert pickle.loads(pickle.dumps(refusing)).shape == reader.shape


def _counted(reader: ImageReader) -> dict[str, float]:
    counter = FaultCounter(reader)
    for top in range(0, reader.shape[1], 10):
        rows = slice(top, min(top + 10, reader.shape[1]))
        counter.add(0, rows, reader.read(0, rows, None))
    return counter.found()


def test_faults_are_counted(tmp_path: Path) -> None:
    assert not any(_counted(ArrayReader(RGB[None])).values()) or _counted(ArrayReader(RGB[None]))["orientation"] == 1
    white = RGB.copy()
    white[: SHAPE[0] // 2 + 1] = 255
    assert _counted(ArrayReader(white[None]))["saturated"] == 1
    for channels, height, saturated in ((1, 0.3, 1), (1, 0.2, 0), (3, 0.2, 0)):  # a third of one channel is enough
        part = RGB.copy()
        part[: round(height * SHAPE[0]), :, :channels] = 255
        assert _counted(ArrayReader(part[None]))["saturated"] == saturated
    for dtype in (np.uint16, np.float32):  # 12 bits of 16, and floats: at the image's own largest value
        twelve = RGB.astype(dtype) * 15
        twelve[: SHAPE[0] // 3, :, 1] = 4095
        assert _counted(ArrayReader(twelve[None]))["saturated"] == 1
        assert _counted(ArrayReader((RGB * 15.0).astype(dtype)[None]))["saturated"] == 0
    flat = RGB.copy()
    flat[..., 2] = 255  # a channel of one value tells nothing
    assert _counted(ArrayReader(flat[None]))["saturated"] == 0
    assert _counted(ArrayReader(np.full((1, *SHAPE, 1), 9, np.uint8)))["constant"] == 1
    smooth = (np.add.outer(np.arange(23), np.arange(31)) * 40).astype(np.uint16)[None, ..., None]
    assert _counted(ArrayReader(smooth))["byte_order"] == 0
    assert _counted(ArrayReader(smooth.byteswap()))["byte_order"] == 1
    noise = np.random.default_rng(3).integers(0, 65535, (1, *SHAPE, 1)).astype(np.uint16)
    assert _counted(ArrayReader(noise))["byte_order"] == 0
    Image.fromarray(np.dstack([RGB, np.where(HOLE, 0, 255).astype(np.uint8)])).save(tmp_path / "a.png")
    assert _counted(open_image(tmp_path / "a.png"))["nodata"] == HOLE.sum()
    empty = np.zeros((*SHAPE, 4), np.uint8)
    Image.fromarray(empty).save(tmp_path / "e.png")
    assert _counted(open_image(tmp_path / "e.png"))["nodata"] == HOLE.size
    broken = RGB[None].astype(np.float32)
    broken[0, 1, 1] = np.nan
    source = FiniteReader(ArrayReader(broken), 0, "a")
    assert [_counted(source)["nan"] for _ in range(2)] == [1, 1]
    assert source.replaced == 2  # of what was read, and it was read twice


def test_faults_are_said_with_what_is_done() -> None:
    lines = describe_faults({"nodata": (2, 50), "orientation": (3, 18), "nan": (0, 0)}, turned=False, nan=None)
    assert lines[0].startswith("no data in 50 pixels of 2 image(s)") and len(lines) == 2
    assert "3 image(s) carry an orientation (EXIF, or the tag of TIFF): read as stored" in lines[1]
    assert "turned by it" in describe_faults({"orientation": (1, 6)}, turned=True, nan=None)[0]
    assert "read as 0.0" in describe_faults({"nan": (1, 6)}, turned=True, nan=0.0)[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_orientation_as_stored_and_turned(tmp_path: Path, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = np.add.outer(np.arange(23) * 3, np.arange(31) * 5)[..., None] // np.array([1, 2, 3])
    how = {"lossless": True} if name.endswith("webp") else {"quality": 95}
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / name, exif=exif, **how)
    from PIL import ImageOps

    wanted = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)))
    stored = open_image(tmp_path / name)
    assert stored.shape == (1, 23, 31, 3) and getattr(stored, "orientation", 0) == orientation
    turned = open_image(tmp_path / name, reading=Reading(turned=True))
    assert turned.shape[1:3] == wanted.shape[:2]
    assert np.abs(turned.read(0).astype(int) - wanted).max() <= 3
    np.testing.assert_array_equal(turned.read(0, slice(2, 9), slice(3, 8)), turned.read(0)[2:9, 3:8])
    np.testing.assert_array_equal(turn(stored.read(0), orientation), turned.read(0))


def test_an_orientation_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    broken = b"Exif\x00\x00 nothing of use"
    (tmp_path / "a.jpg").write_bytes(
        whole[:2] + b"\xff\xe1" + (len(broken) + 2).to_bytes(2, "big") + broken + whole[2:]
    )
    assert getattr(open_image(tmp_path / "a.jpg"), "orientation", 0) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tiled", [False, True])
def test_the_orientation_tag_of_a_tiff(tmp_path: Path, orientation: int, tiled: bool) -> None:
    extra = [(274, "H", 1, orientation, True)]
    how = {"tile": (16, 16), "compression": "deflate"} if tiled else {}
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=extra, **how)
    stored, turned = open_image(tmp_path / "a.tif"), open_image(tmp_path / "a.tif", reading=Reading(turned=True))
    assert getattr(stored, "orientation", 0) == orientation
    np.testing.assert_array_equal(stored.read(0), RGB)
    np.testing.assert_array_equal(turned.read(0), turn(RGB, orientation))
    np.testing.assert_array_equal(turned.read(0, slice(5, 11), slice(2, 9)), turned.read(0)[5:11, 2:9])
    assert pickle.loads(pickle.dumps(turned)).read(0).shape == turned.shape[1:]
    mask = open_mask_of(tmp_path, orientation)
    np.testing.assert_array_equal(mask, RGB[..., 0])


def open_mask_of(folder: Path, orientation: int) -> np.ndarray:
    """A mask with that tag, which is read as it is stored."""
    tifffile.imwrite(folder / "m.tif", RGB[..., 0], extratags=[(274, "H", 1, orientation, True)])
    return open_mask(folder / "m.tif", reading=Reading(turned=True)).read(0)[..., 0]


@pytest.mark.parametrize("deep", [False, True])
def test_a_geotiff_s_internal_mask_says_where_data_are(tmp_path: Path, deep: bool) -> None:
    valid = np.zeros(RGB.shape[:2], bool)
    valid[3:20, 5:28] = True
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        pixels = RGB[..., 0].astype(np.uint16) if deep else RGB
        file.write(pixels, photometric="minisblack" if deep else "rgb", tile=(16, 16), metadata=None)
        file.write(valid, photometric="mask", subfiletype=4, compression="deflate", metadata=None)
    reader = open_image(tmp_path / "a.tif", reading=Reading(turned=True))
    assert reader.shape == (1, *RGB.shape[:2], 1 if deep else 3)
    np.testing.assert_array_equal(valid_pixels(reader, 0), valid)
    part = valid_pixels(pickle.loads(pickle.dumps(reader)), 0, slice(1, 9), slice(2, 20))
    np.testing.assert_array_equal(part, valid[1:9, 2:20])
    reader.close()
    turned = tmp_path / "b.tif"
    with tifffile.TiffWriter(turned) as file:
        file.write(RGB, photometric="rgb", metadata=None, extratags=[(274, "H", 1, 6, True)])
        file.write(valid, photometric="mask", subfiletype=4, metadata=None)
    np.testing.assert_array_equal(valid_pixels(open_image(turned, reading=Reading(turned=True)), 0), turn(valid, 6))
