"""Layers of several resolutions as one image, against OpenCV's linear resizing and a slow reference."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from submissions.images.opening import ArrayReader, open_image
from submissions.images.readers import valid_pixels
from submissions.images.stretched import StretchedReader, to_the_finest

SMALL = np.random.default_rng(0).integers(0, 60_000, (7, 11), dtype=np.uint16)


@pytest.mark.parametrize("size", [(14, 22), (42, 66), (9, 14), (7, 11)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_it_is_linear_and_windows_are_parts_of_the_whole(size: tuple[int, int], dtype: type) -> None:
    reader = StretchedReader(ArrayReader(SMALL.astype(dtype)[None, ..., None]), size)
    expected = cv2.resize(SMALL.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    whole = reader.read(0)
    assert whole.shape == (*size, 1) and whole.dtype == dtype
    np.testing.assert_allclose(whole[..., 0], expected, atol=20)  # OpenCV's own weights are coarse
    for rows, cols in ((slice(0, 1), slice(0, 1)), (slice(2, 7), slice(3, 11)), (slice(size[0] - 1, size[0]), None)):
        np.testing.assert_array_equal(reader.read(0, rows, cols), whole[rows, cols or slice(None)])


def test_bands_of_a_scene_are_brought_to_the_finest(tmp_path: Path) -> None:
    fine = np.random.default_rng(1).integers(0, 60_000, (28, 44), dtype=np.uint16)
    coarse = SMALL.copy()
    coarse[:3, :5] = 9
    for name, band in (("b1", coarse), ("b2", fine)):
        tifffile.imwrite(tmp_path / f"{name}.tif", band, extratags=[(42113, "s", 0, "9", True)])
    reader = open_image([tmp_path / "b1.tif", tmp_path / "b2.tif"], kind="channels")
    assert reader.shape == (1, 28, 44, 2)
    np.testing.assert_array_equal(reader.read(0)[..., 1], fine)
    hole = np.zeros((28, 44), bool)
    hole[:12, :20] = True
    np.testing.assert_array_equal(valid_pixels(reader, 0), ~hole)
    reader.close()


def test_another_shape_is_another_scene() -> None:
    layers = [ArrayReader(np.zeros((1, *size, 1), np.uint8)) for size in ((40, 60), (20, 40))]
    with pytest.raises(ValueError, match="layer 1 is 20 x 40, the finest 40 x 60"):
        to_the_finest(layers)  # type: ignore[arg-type]
