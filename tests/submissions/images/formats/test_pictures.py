"""GIF, WebP, AVIF and JPEG 2000, each written with a library and read back."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from submissions.images.opening import open_image, open_mask, probe_image, read_image, read_mask_image

SHAPE = (21, 34)


def _rgb(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "options"), [("a.webp", {"lossless": True}), ("a.jp2", {}), ("a.j2k", {})])
def test_lossless_colours_come_back(tmp_path: Path, name: str, options: dict) -> None:
    image = _rgb()
    Image.fromarray(image).save(tmp_path / name, **options)
    reader = open_image(tmp_path / name)
    assert reader.shape == (1, *SHAPE, 3) and reader.dtype == np.uint8
    np.testing.assert_array_equal(reader.read(0), image)
    np.testing.assert_array_equal(reader.read(0, slice(3, 9), slice(5, 30)), image[3:9, 5:30])
    reader.close()
    info = probe_image(tmp_path / name)
    assert (info.height, info.width, info.channels) == (*SHAPE, 3)


def test_avif_of_eight_bits_is_near_and_of_ten_bits_whole(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, SHAPE[1]).astype(np.uint8)[:, None], (*SHAPE, 3)).copy()
    Image.fromarray(smooth).save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    assert np.abs(read_image(tmp_path / "a.avif").astype(int) - smooth).max() <= 4
    deep = np.broadcast_to(np.linspace(0, 1023, SHAPE[1]).astype(np.uint16)[:, None], (*SHAPE, 3)).copy()
    (tmp_path / "deep.avif").write_bytes(imagecodecs.avif_encode(deep, bitspersample=10, level=100))
    found = read_image(tmp_path / "deep.avif")
    assert found.dtype == np.uint16 and found.max() > 1000
    assert np.abs(found.astype(int) - deep).max() <= 8


@pytest.mark.parametrize(
    ("samples", "dtype"), [(1, np.uint16), (3, np.uint16), (6, np.uint16), (1, np.int16), (1, np.uint8)]
)
def test_jpeg_2000_of_many_bits_and_bands(tmp_path: Path, samples: int, dtype: type) -> None:
    limits = np.iinfo(dtype)
    image = np.random.default_rng(1).integers(limits.min, limits.max, (*SHAPE, samples), dtype=dtype)
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(image.squeeze(), level=0))
    reader = open_image(tmp_path / "a.jp2")
    assert reader.shape == (1, *SHAPE, samples)
    assert reader.dtype == (np.float32 if dtype is np.int16 else dtype)
    np.testing.assert_array_equal(reader.read(0), image)


def test_gif_mask_of_two_colours_holds_what_one_sees(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 3:30] = 255
    Image.fromarray(mask).convert("1").save(tmp_path / "m.gif")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "m.gif"), mask)
    turned = Image.fromarray((mask == 0).astype(np.uint8), mode="P")  # index 0 is white here
    turned.putpalette([255, 255, 255, 0, 0, 0])
    turned.save(tmp_path / "turned.gif")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "turned.gif"), mask)


def test_gif_of_colours_is_rgb_and_as_a_mask_its_indices(tmp_path: Path) -> None:
    label = np.random.default_rng(2).integers(0, 3, SHAPE, dtype=np.uint8)
    image = Image.fromarray(label, mode="P")
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 30]], np.uint8)
    image.putpalette(colours.ravel().tolist())
    image.save(tmp_path / "p.gif", optimize=False)
    np.testing.assert_array_equal(read_image(tmp_path / "p.gif"), colours[label])
    np.testing.assert_array_equal(read_mask_image(tmp_path / "p.gif"), label)


def test_frames_are_slices(tmp_path: Path) -> None:
    frames = [_rgb(seed) for seed in range(3)]
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, lossless=True)
    reader = open_image(tmp_path / "a.webp")
    assert reader.shape == (3, *SHAPE, 3)
    for z in (2, 0, 1):
        np.testing.assert_array_equal(reader.read(z), frames[z])


def test_alpha_is_left_out(tmp_path: Path) -> None:
    image = np.dstack([_rgb(), np.full(SHAPE, 255, np.uint8)])
    Image.fromarray(image).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), image[..., :3])


def test_a_mask_with_colours_is_refused(tmp_path: Path) -> None:
    Image.fromarray(_rgb()).save(tmp_path / "a.webp", lossless=True)
    with pytest.raises(ValueError, match="found colours"):
        open_mask(tmp_path / "a.webp").read(0)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.jp2", "a.avif"])
def test_cut_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(_rgb()).save(path)
    whole = path.read_bytes()
    for length in (20, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=name):
            read_image(path)


def test_jpeg_2000_without_a_code_stream_or_of_many_bits(tmp_path: Path) -> None:
    (tmp_path / "a.jp2").write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40))
    with pytest.raises(ValueError, match="without a code stream"):
        open_image(tmp_path / "a.jp2")
    whole = bytearray(imagecodecs.jpeg2k_encode(np.zeros(SHAPE, np.uint16), level=0))
    whole[whole.index(b"\xff\x4f\xff\x51") + 42] = 31
    (tmp_path / "b.jp2").write_bytes(whole)
    with pytest.raises(ValueError, match="32 bits a sample"):
        open_image(tmp_path / "b.jp2")
