"""Resizing in rows equals resizing the whole, and both equal OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.predict.resample import RowResizer, axis_matrix, restore_dtype

SIZES = [((40, 33), (20, 11)), ((40, 33), (57, 70)), ((41, 30), (13, 45)), ((7, 5), (1, 1)), ((9, 8), (9, 8))]


def resized(image: np.ndarray, target: tuple[int, int], step: int) -> np.ndarray:
    resizer = RowResizer((image.shape[0], image.shape[1]), target)
    return np.concatenate([resizer.push(image[top : top + step]) for top in range(0, len(image), step)])


@pytest.mark.parametrize(("size", "target"), SIZES)
@pytest.mark.parametrize("step", [1, 3, 16])
def test_streamed_equals_unstreamed(size: tuple[int, int], target: tuple[int, int], step: int) -> None:
    image = np.random.default_rng(0).random((*size, 9), dtype=np.float32)
    whole = resized(image, target, size[0])
    assert whole.shape == (*target, 9)
    np.testing.assert_array_equal(resized(image, target, step), whole)


@pytest.mark.parametrize(("size", "target"), [SIZES[0], SIZES[1], ((100, 64), (33, 63)), ((10, 11), (31, 12))])
def test_equal_to_opencv(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random((*size, 3), dtype=np.float32)
    how = cv2.INTER_AREA if target[0] < size[0] else cv2.INTER_LINEAR
    expected = cv2.resize(image, target[::-1], interpolation=how)
    np.testing.assert_allclose(resized(image, target, size[0]), expected, atol=1e-4)


@pytest.mark.parametrize(("size", "target"), [(7, 3), (3, 7), (100, 99), (1, 5), (5, 1)])
def test_shares_of_a_new_pixel_sum_to_one(size: int, target: int) -> None:
    np.testing.assert_allclose(np.asarray(axis_matrix(size, target).sum(axis=1)).ravel(), 1, atol=1e-6)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot resize 5 to 0 pixels"):
        axis_matrix(5, 0)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", [0, 0, 2, 255]),
        ("int16", [-3, 0, 2, 300]),
        ("bool", [False, True, True, True]),
        ("float32", [-3.2, 0.5, 1.6, 300]),
    ],
)
def test_values_are_rounded_and_clipped_to_the_dtype(dtype: str, expected: list[float]) -> None:
    values = np.array([-3.2, 0.5, 1.6, 300], np.float32)
    restored = restore_dtype(values, np.dtype(dtype))
    assert restored.dtype == dtype
    assert np.array_equal(restored, np.array(expected, dtype))
