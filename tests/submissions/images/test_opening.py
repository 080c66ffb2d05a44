"""Files are drawn with Pillow, tifffile and nibabel and read back through `submissions.images.opening`."""

from __future__ import annotations

import os
import pickle
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from PIL import Image

from submissions.images.joined_readers import MOST_OPEN
from submissions.images.opening import (
    ArrayReader,
    ImageReader,
    LayerReader,
    SliceReader,
    StackReader,
    open_image,
    open_mask,
    probe_image,
    read_image,
    read_mask_image,
)
from submissions.images.readers import TILE_CACHE, FileReader

RGB = np.random.default_rng(0).integers(0, 256, (45, 67, 3), dtype=np.uint8)
GREY = RGB[..., 0]
WINDOWS = [(slice(0, 45), slice(0, 67)), (slice(3, 4), slice(60, 67)), (slice(20, 41), slice(5, 38))]


def read_mask_volume(path: Path) -> np.ndarray:
    """All slices of a mask file (Z, H, W)."""
    with closing(open_mask(path)) as reader:
        return np.stack([reader.read(z)[..., 0] for z in range(reader.shape[0])])


def assert_windows(reader: ImageReader, expected: np.ndarray) -> None:
    """Every window of every slice equals the slice of the whole array (Z, H, W, C)."""
    assert isinstance(reader, ImageReader)
    assert reader.shape == expected.shape and reader.dtype == expected.dtype
    for z in range(expected.shape[0]):
        np.testing.assert_array_equal(reader.read(z), expected[z])
        for rows, cols in WINDOWS:
            found = reader.read(z, rows, cols)
            np.testing.assert_array_equal(found, expected[z, rows, cols])
            assert found.dtype == expected.dtype and found.flags.writeable


def check_file(path: Path, expected: np.ndarray) -> None:
    """A file reads back by windows, and its probe agrees with what is read."""
    with closing(open_image(path)) as reader:
        assert_windows(reader, expected)
    info = probe_image(path)
    assert (info.depth, info.height, info.width, info.channels) == expected.shape
    assert info.dtype == str(expected.dtype)


@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_lossless_rasters(tmp_path: Path, ending: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"rgb.{ending}")
    Image.fromarray(GREY).save(tmp_path / f"grey.{ending}")
    check_file(tmp_path / f"rgb.{ending}", RGB[None])
    check_file(tmp_path / f"grey.{ending}", GREY[None, ..., None])


def test_png_kinds(tmp_path: Path) -> None:
    alpha = np.dstack([RGB, GREY])
    Image.fromarray(alpha).save(tmp_path / "rgba.png")
    check_file(tmp_path / "rgba.png", RGB[None])
    Image.fromarray(np.dstack([GREY, GREY]), "LA").save(tmp_path / "la.png")
    check_file(tmp_path / "la.png", GREY[None, ..., None])
    deep = GREY.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    check_file(tmp_path / "deep.png", deep[None, ..., None])
    indices = Image.fromarray(GREY % 4, "P")
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [7, 8, 9]], np.uint8)
    indices.putpalette(palette.tobytes())
    indices.save(tmp_path / "palette.png")
    check_file(tmp_path / "palette.png", palette[GREY % 4][None])


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    for name, pixels, options in (
        ("rgb", RGB, {}),
        ("grey", GREY, {}),
        ("scans", RGB, {"progressive": True}),
    ):
        path = tmp_path / f"{name}.jpg"
        Image.fromarray(pixels).save(path, quality=95, **options)
        truth = np.asarray(Image.open(path)).astype(int)
        found = read_image(path)
        assert found.shape == (45, 67, pixels[0, 0].size) and probe_image(path).channels == found.shape[2]
        assert np.abs(found.reshape(truth.shape) - truth).max() <= 3
        window = open_image(path).read(0, slice(7, 20), slice(9, 11))
        np.testing.assert_array_equal(window, found[7:20, 9:11])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_masks_keep_their_indices(tmp_path: Path, bits: int) -> None:
    values = (GREY % min(1 << bits, 21)).astype(np.uint8)
    picture = Image.fromarray(values, "P")
    picture.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture.save(tmp_path / "mask.png", bits=bits)
    np.testing.assert_array_equal(read_mask_image(tmp_path / "mask.png"), values)


def test_masks_keep_their_values(tmp_path: Path) -> None:
    truth = GREY > 99
    Image.fromarray(truth.astype(np.uint16) * 65535).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "deep.png"), truth * 65535)
    Image.fromarray(truth).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "bit.png"), truth)
    Image.fromarray(np.dstack([GREY, GREY, GREY])).save(tmp_path / "equal.png")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "equal.png"), GREY)
    instances = (np.arange(45 * 67).reshape(45, 67) % 70_000).astype(np.int32)
    tifffile.imwrite(tmp_path / "instances.tif", instances, compression="zlib")
    found = read_mask_image(tmp_path / "instances.tif")
    np.testing.assert_array_equal(found, instances)
    assert found.dtype == np.int32
    np.save(tmp_path / "float.npy", (GREY % 3).astype(np.float64))
    np.testing.assert_array_equal(read_mask_image(tmp_path / "float.npy"), GREY % 3)
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([truth, ~truth]).astype(np.uint8))
    np.testing.assert_array_equal(read_mask_volume(tmp_path / "stack.tif"), np.stack([truth, ~truth]))
    np.testing.assert_array_equal(open_mask(tmp_path / "stack.tif", page=1).read(0)[..., 0], ~truth)
    with pytest.raises(ValueError, match="colours"):
        Image.fromarray(RGB).save(tmp_path / "rgb.png")
        read_mask_image(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="differ"):
        tifffile.imwrite(tmp_path / "rgb.tif", RGB, photometric="rgb")
        read_mask_image(tmp_path / "rgb.tif")
    with pytest.raises(ValueError, match="whole numbers"):
        np.save(tmp_path / "probs.npy", np.full((4, 5), 0.5))
        read_mask_image(tmp_path / "probs.npy")
    with pytest.raises(ValueError, match="mask array"):
        np.save(tmp_path / "rgb.npy", RGB)
        open_mask(tmp_path / "rgb.npy")
    np.save(tmp_path / "far.npy", np.full((4, 5), 2.0**31))  # int32 would give some other number
    with pytest.raises(ValueError, match="numbers up to 2147483648, expected at most 2147483647"):
        open_mask(tmp_path / "far.npy").read(0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 32)},
        {"tile": (16, 32), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 7, "compression": "lzw"},
        {"rowsperstrip": 45, "compression": "zstd"},
        {"bigtiff": True, "tile": (32, 16)},
        {"byteorder": ">"},
    ],
)
def test_tiff_windows(tmp_path: Path, options: dict) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", **options)
    check_file(path, RGB[None])
    deep = GREY.astype(np.uint16) * 257
    tifffile.imwrite(path, deep, **options)
    check_file(path, deep[None, ..., None])
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", **options)
    check_file(path, RGB[None])


def test_tiff_jpeg_tiles(tmp_path: Path) -> None:
    path = tmp_path / "jpeg.tif"
    smooth = np.add.outer(np.arange(45), np.arange(67))[..., None].repeat(3, 2).astype(np.uint8)
    tifffile.imwrite(path, smooth, photometric="rgb", tile=(32, 32), compression="jpeg")
    with closing(open_image(path)) as reader:
        assert reader.shape == (1, 45, 67, 3)
        np.testing.assert_array_equal(reader.read(0), tifffile.imread(path))
        np.testing.assert_array_equal(reader.read(0, slice(30, 45), slice(3, 66)), reader.read(0)[30:45, 3:66])


def test_pages_of_arrays_and_of_files_without_pages(tmp_path: Path) -> None:
    stack = np.arange(3 * 20 * 30 * 3, dtype=np.uint16).reshape(3, 20, 30, 3)
    np.save(tmp_path / "a.npy", stack)
    assert probe_image(tmp_path / "a.npy", page=0).pages == 3
    with closing(open_image(tmp_path / "a.npy", page=2)) as reader:
        assert reader.shape == (1, 20, 30, 3)
        np.testing.assert_array_equal(reader.read(0), stack[2])
    with pytest.raises(ValueError, match="frame 3 was asked for, the file has frames 0 to 2"):
        open_image(tmp_path / "a.npy", page=3)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png", page=0).shape[0] == probe_image(tmp_path / "a.png", page=0).pages == 1
    with pytest.raises(ValueError, match="frame 1 was asked for, the file has frames 0 to 0"):
        open_image(tmp_path / "a.png", page=1)


def test_tiff_pages(tmp_path: Path) -> None:
    stack = np.random.default_rng(2).integers(0, 60_000, (5, 45, 67), dtype=np.uint16)
    for name, options in (("a", {}), ("b", {"compression": "zlib"}), ("c", {"truncate": True})):
        tifffile.imwrite(tmp_path / f"{name}.tif", stack, photometric="minisblack", **options)
        check_file(tmp_path / f"{name}.tif", stack[..., None])
    np.testing.assert_array_equal(open_image(tmp_path / "b.tif", page=3).read(0)[..., 0], stack[3])
    assert probe_image(tmp_path / "b.tif").pages == 5 and probe_image(tmp_path / "b.tif", page=2).depth == 1
    channels = RGB.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "zcyx.tif", np.stack([channels, channels[::-1]]), imagej=True, metadata={"axes": "ZCYX"}
    )
    check_file(tmp_path / "zcyx.tif", np.stack([RGB, RGB[..., ::-1]]))
    with pytest.raises(ValueError, match="page 5"):
        open_image(tmp_path / "b.tif", page=5)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        writer.write(GREY, metadata=None)
        writer.write(GREY[:30, :20], metadata=None)
    with pytest.raises(ValueError, match=r"2 images of unlike size or type .*images\.kind: pages"):
        open_image(tmp_path / "mixed.tif")
    assert probe_image(tmp_path / "mixed.tif", page=0).pages == 2
    np.testing.assert_array_equal(open_image(tmp_path / "mixed.tif", page=1).read(0)[..., 0], GREY[:30, :20])


def test_tiff_colours(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgba.tif", np.dstack([RGB, GREY]), photometric="rgb", extrasamples=["unassalpha"])
    check_file(tmp_path / "rgba.tif", RGB[None])
    palette = np.random.default_rng(3).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "palette.tif", GREY, photometric="palette", colormap=palette)
    check_file(tmp_path / "palette.tif", (palette.T >> 8).astype(np.uint8)[GREY][None])
    np.testing.assert_array_equal(read_mask_image(tmp_path / "palette.tif"), GREY)
    tifffile.imwrite(tmp_path / "bool.tif", GREY > 99)
    check_file(tmp_path / "bool.tif", (GREY > 99)[None, ..., None])
    tifffile.imwrite(tmp_path / "int16.tif", GREY.astype(np.int16) - 50)
    check_file(tmp_path / "int16.tif", (GREY.astype(np.float32) - 50)[None, ..., None])
    with pytest.raises(ValueError, match="CMYK"):
        tifffile.imwrite(tmp_path / "cmyk.tif", np.dstack([RGB, GREY]), photometric="separated")
        open_image(tmp_path / "cmyk.tif")


def test_sparse_tiles_read_as_zeros(tmp_path: Path) -> None:
    def tiles():  # type: ignore[no-untyped-def]
        for i in range(6):
            yield None if i in (1, 4) else np.full((32, 32), i + 1, np.uint8)

    path = tmp_path / "sparse.tif"
    tifffile.imwrite(path, tiles(), shape=(60, 90), dtype=np.uint8, tile=(32, 32), compression="zlib")
    found = read_image(path)[..., 0]
    np.testing.assert_array_equal(np.unique(found), [0, 1, 3, 4, 6])


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    volume = np.random.default_rng(5).normal(size=(6, 45, 67)).astype(np.float32)
    for stored, shown in (
        (GREY, GREY[None, ..., None]),
        (RGB, RGB[None]),
        (volume, volume[..., None]),
        (RGB[None], RGB[None]),
    ):
        np.save(path, stored)
        check_file(path, shown)
    with pytest.raises(ValueError, match="2 to 5 axes"):
        np.save(path, np.zeros(5))
        open_image(path)


def test_stacks_and_layers(tmp_path: Path) -> None:
    folder = tmp_path / "slices"
    folder.mkdir()
    for z in range(4):
        Image.fromarray(np.roll(GREY, z)).save(folder / f"{z:02d}.png")
    truth = np.stack([np.roll(GREY, z) for z in range(4)])
    stack = open_image(folder)
    assert_windows(stack, truth[..., None])
    assert_windows(open_image(sorted(folder.iterdir())), truth[..., None])
    assert_windows(open_image(folder, kind="channels"), truth.transpose(1, 2, 0)[None])
    assert_windows(pickle.loads(pickle.dumps(stack)), truth[..., None])
    stack.close()
    readers = [ArrayReader(truth[z, None, :, :, None]) for z in range(4)]
    assert_windows(StackReader(readers), truth[..., None])
    assert_windows(SliceReader(StackReader(readers), [3, 1]), truth[[3, 1], ..., None])


def test_a_stack_decodes_a_slice_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for z in range(3):
        Image.fromarray(GREY).save(tmp_path / f"{z}.png")
    stack = open_image(tmp_path)
    reads: list[Path] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: (reads.append(self), whole(self))[1])
    for _ in range(3):
        for z in range(3):
            stack.read(z, slice(2, 9), slice(0, 5))
    assert len(reads) == 3


def test_members_have_to_agree() -> None:
    reader = ArrayReader(RGB[None])
    with pytest.raises(ValueError, match="no readers"):
        StackReader([])
    with pytest.raises(ValueError, match="2 slices"):
        StackReader([ArrayReader(np.stack([RGB, RGB]))])
    with pytest.raises(ValueError, match="one size"):
        LayerReader([reader, ArrayReader(RGB[None, :40])])
    with pytest.raises(ValueError, match="channels"):
        StackReader([reader, ArrayReader(RGB[None, ..., :1])])
    with pytest.raises(ValueError, match="axes"):
        ArrayReader(RGB)
    with pytest.raises(ValueError, match="slices"):
        SliceReader(reader, [1])


def test_windows_outside_are_refused() -> None:
    reader = ArrayReader(RGB[None])
    with pytest.raises(ValueError, match="slice 1"):
        reader.read(1)
    for rows in (slice(0, 46), slice(-3, 5), slice(5, 5), slice(0, 10, 2)):
        with pytest.raises(ValueError, match="window"):
            reader.read(0, rows)
    with pytest.raises(ValueError, match="columns"):
        reader.read(0, None, slice(0, 68))


def test_a_handle_is_not_shared_with_a_child(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, tile=(16, 16), compression="zlib", photometric="rgb")
    reader = open_image(path)
    reader.read(0, slice(0, 4), slice(0, 4))
    handle = reader.handle()  # type: ignore[attr-defined]
    end, writer = os.pipe()
    child = os.fork()
    if child == 0:
        good = reader.handle() is not handle and (reader.read(0) == RGB).all()  # type: ignore[attr-defined]
        os.write(writer, b"y" if good else b"n")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(end, 1) == b"y"
    np.testing.assert_array_equal(reader.read(0), RGB)


def test_real_files(shared_data: Path) -> None:
    masks = sorted((shared_data / "tgs-salt" / "train" / "masks").glob("*.png"))[:20]
    for path in masks:
        mask = read_mask_image(path)
        assert mask.shape == (101, 101) and set(np.unique(mask)) <= {0, 65535}
    volume = sorted((shared_data / "hippocampus" / "labels").glob("*.nii.gz"))[0]
    assert set(np.unique(read_mask_volume(volume))) == {0, 1, 2}
    stack = open_image(shared_data / "isbi2012" / "train-volume.tif")
    assert stack.shape == (24, 512, 512, 1)


class Counted(FileReader):
    """A file of one value that counts how many of its kind are open."""

    opened: ClassVar[set[int]] = set()
    most: ClassVar[int] = 0

    def __init__(self, number: int) -> None:
        super().__init__(Path(f"{number}.tif"))
        self.number, self.shape, self.dtype = number, (1, 2, 3, 1), np.dtype(np.uint8)

    def _open(self) -> object:
        Counted.opened.add(self.number)
        Counted.most = max(Counted.most, len(Counted.opened))
        return object()

    def close(self) -> None:
        Counted.opened.discard(self.number)
        super().close()

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        self.handle()
        return np.full(self.shape[1:], self.number % 256, np.uint8)


def test_a_stack_of_many_files_has_few_of_them_open() -> None:
    stack = StackReader([Counted(number) for number in range(MOST_OPEN + 40)])
    for z in [*range(len(stack.readers)), 0, 1, 2]:
        assert (stack.read(z) == z % 256).all()
    assert Counted.most <= MOST_OPEN + 1 and len(Counted.opened) == MOST_OPEN
    stack.close()
    assert not Counted.opened
    assert sum(reader.cache_bytes for reader in stack.readers[:MOST_OPEN]) <= 4 * TILE_CACHE


def test_channels_of_a_volume_lie_in_a_file_each(tmp_path: Path) -> None:
    volume = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7, 1)
    joined = LayerReader([ArrayReader(volume), ArrayReader(volume + 1)])
    assert joined.shape == (3, 5, 7, 2)
    np.testing.assert_array_equal(joined.read(2, slice(1, 4), slice(2, 6))[..., 1], volume[2, 1:4, 2:6, 0] + 1)
    with pytest.raises(ValueError, match="member 1 has 2 slices, expected 3: channels of one volume"):
        LayerReader([ArrayReader(volume), ArrayReader(volume[:2])])
