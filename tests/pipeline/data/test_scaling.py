"""Between the host's grid and the working grid: no shift, no new value in a mask, strips and windows as the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.predict.resample import resize_image
from pipeline.data.scaling import (
    ScaledReader,
    nearest_indices,
    resize_label,
    resize_planes,
    strips,
    working_size,
)
from submissions.images.opening import ArrayReader

RNG = np.random.default_rng(0)


def draw(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    """An array of random values."""
    if dtype == "float32":
        return RNG.normal(size=shape).astype(np.float32)
    if dtype == "bool":
        return RNG.random(shape) > 0.5
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def test_working_size() -> None:
    assert working_size((101, 57), 0.5) == (50, 28) and working_size((10, 3), 0.01) == (1, 1)
    with pytest.raises(ValueError, match="scale 0"):
        working_size((10, 10), 0)


def slow_area(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mean over the area of every new pixel, counted on a grid fine enough that no old pixel is cut."""
    fine = image.repeat(size[0], 0).repeat(size[1], 1).astype(float)
    return fine.reshape(size[0], image.shape[0], size[1], image.shape[1], -1).mean(axis=(1, 3))


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(1, 3), st.integers(1, 3))
def test_shrinking_is_the_mean_over_area(height: int, width: int, up: int, across: int) -> None:
    size = (max(1, height - up), max(1, width - across))
    image = draw((height, width, 2), "float32")
    np.testing.assert_allclose(resize_image(image, size), slow_area(image, size), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 80), st.integers(1, 80))
def test_masks_get_no_new_values_and_do_not_shift(height: int, width: int, tall: int, wide: int) -> None:
    label = RNG.choice(np.array([0, 3, 7, 255], np.uint8), (height, width))
    found = resize_label(label, (tall, wide))
    assert found.shape == (tall, wide) and found.dtype == np.uint8
    assert set(np.unique(found)) <= set(np.unique(label))
    np.testing.assert_array_equal(found[::-1, ::-1].shape, (tall, wide))
    for i in range(tall):  # the pixel whose area holds the new centre
        row = int((i + 0.5) * height / tall)
        np.testing.assert_array_equal(found[i], label[row, nearest_indices(width, wide)])
    planes = np.stack([label == 3, label == 7])
    shrunk = resize_planes(planes, (tall, wide))
    assert shrunk.dtype == bool and shrunk.shape == (2, tall, wide)
    np.testing.assert_array_equal(resize_planes(planes.astype(np.uint8), (tall, wide)), shrunk)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4))
def test_there_and_back_returns_the_grid(height: int, width: int, factor: int) -> None:
    size = (height * factor, width * factor)
    label = draw((height, width))
    np.testing.assert_array_equal(resize_label(resize_label(label, size), (height, width)), label)
    planes = draw((2, height, width), "bool")
    large = planes.repeat(factor, 1).repeat(factor, 2)
    np.testing.assert_array_equal(resize_planes(large, (height, width)), planes)
    image = draw((height, width, 3))
    np.testing.assert_array_equal(resize_image(image.repeat(factor, 0).repeat(factor, 1), (height, width)), image)


def test_no_shift_of_the_centre_of_mass() -> None:
    rows, cols = np.mgrid[0:120, 0:90]
    disc = ((rows - 70) ** 2 + (cols - 31) ** 2 < 400)[None]
    for size in ((60, 45), (77, 51), (240, 180)):
        label = resize_label(disc[0].astype(np.uint8), size)
        for found, limit in ((resize_planes(disc, size)[0], 0.25), (label, 0.55)):
            y, x = (np.argwhere(found).mean(axis=0) + 0.5) / size * (120, 90) - 0.5
            assert abs(y - 70) < limit and abs(x - 31) < limit


@pytest.mark.parametrize("size", [(50, 71), (25, 70), (13, 29), (77, 90), (20, 142)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
def test_strips_and_windows_equal_the_whole(size: tuple[int, int], dtype: str) -> None:
    image = draw((2, 50, 71, 3), dtype)
    source = ArrayReader(image)
    truth = np.stack([resize_image(slice_, size) for slice_ in image])
    found = np.concatenate(list(strips(source, size, strip_bytes=71 * 3 * 4 * 7)))
    tolerance = {"float32": 1e-4}.get(dtype, 1)  # cv2 rounds a strip of one row unlike many rows
    assert np.abs(found.reshape(truth.shape).astype(float) - truth.astype(float)).max() <= tolerance
    scaled = ScaledReader(source, size)
    assert scaled.shape == (2, *size, 3) and scaled.dtype == image.dtype
    for rows, cols in (
        (slice(0, 13), slice(0, 29)),
        (slice(3, 9), slice(10, 11)),
        (slice(12, 13), slice(5, 29)),
    ):
        window = scaled.read(1, rows, cols)
        assert window.dtype == image.dtype
        assert np.abs(window.astype(float) - truth[1, rows, cols].astype(float)).max() <= tolerance
    scaled.close()
