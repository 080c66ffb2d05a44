"""Resizing in rows: a strip at a time gives exactly the rows that resizing the whole image would give."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import scipy

from inference.config import InputConfig


@lru_cache(maxsize=32)
def axis_matrix(size: int, target: int) -> scipy.sparse.csr_matrix:
    """Return float32 `(target, size)`: each row the shares of the `size` old pixels in one new pixel.

    Pixel centres are aligned. Enlarging interpolates linearly and repeats the border, shrinking takes the
    mean over the area of the new pixel (the same as OpenCV's INTER_LINEAR and INTER_AREA).
    """
    if size < 1 or target < 1:
        raise ValueError(f"cannot resize {size} to {target} pixels: expected 1 or more")
    if target >= size:
        centre = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
        left = np.floor(centre).astype(np.int64)
        right = np.minimum(left + 1, size - 1)
        share = centre - left
        index = (np.tile(np.arange(target), 2), np.concatenate([left, right]))
        values = np.concatenate([1 - share, share])
    else:
        edges = np.arange(target + 1) * (size / target)
        taps = int(np.ceil(size / target)) + 1
        old = np.floor(edges[:-1]).astype(np.int64)[:, None] + np.arange(taps)
        inside = np.minimum(old + 1, edges[1:, None]) - np.maximum(old, edges[:-1, None])
        keep = (inside > 1e-9) & (old < size)
        index = (np.broadcast_to(np.arange(target)[:, None], old.shape)[keep], old[keep])
        values = inside[keep] * (target / size)
    return scipy.sparse.csr_matrix((values.astype(np.float32), index), shape=(target, size))


def resize_columns(rows: np.ndarray, width: int) -> np.ndarray:
    """Resize float32 `(r, w, c)` to `(r, width, c)` along its rows only.

    The same matrix as for rows, not OpenCV: its last bits depend on how many rows it is given at once.
    """
    height, old, channels = rows.shape
    if old == width:
        return rows
    turned = rows.transpose(1, 0, 2).reshape(old, height * channels)
    resized = axis_matrix(old, width) @ turned
    return np.ascontiguousarray(resized.reshape(width, height, channels).transpose(1, 0, 2))


class RowResizer:
    """Resizes an image that comes in blocks of rows; what a block completes is returned at once."""

    def __init__(self, size: tuple[int, int], target: tuple[int, int]) -> None:
        """Prepare for an image of `size` (height, width), to become `target`."""
        self.size, self.target = size, target
        self.same = size == target
        if not self.same:
            self._matrix = axis_matrix(size[0], target[0])
            ends = self._matrix.indptr
            self._first = np.minimum.reduceat(self._matrix.indices, ends[:-1])
            self._last = np.maximum.reduceat(self._matrix.indices, ends[:-1])
        self._begin = 0
        self._kept: np.ndarray | None = None
        self._done = 0

    def push(self, rows: np.ndarray) -> np.ndarray:
        """Take the next float32 rows `(r, w, c)`; return the new rows they complete, `(R, W, c)`, R
        may be 0.
        """
        if self.same:
            return rows
        rows = resize_columns(rows, self.target[1])
        kept = rows if self._kept is None or not len(self._kept) else np.concatenate([self._kept, rows])
        seen = self._begin + len(kept)
        stop = int(np.searchsorted(self._last, seen - 1, side="right"))
        part = self._matrix[self._done : stop, self._begin : seen]
        result = (part @ kept.reshape(len(kept), -1)).reshape(stop - self._done, *kept.shape[1:])
        self._done = stop
        begin = int(self._first[stop]) if stop < self.target[0] else seen
        self._kept = kept[begin - self._begin :].copy()
        self._begin = begin
        return result


def restore_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float32 back to the image's dtype: integers rounded to the nearest and kept in their range, bool from 0.5 on."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    if dtype == np.bool_:
        return values >= 0.5
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, C) uint8, uint16, float32 or bool to `size` (height, width), dtype kept."""
    if image.shape[:2] == tuple(size):
        return image
    resized = RowResizer((image.shape[0], image.shape[1]), size).push(image.astype(np.float32))
    return restore_dtype(resized, image.dtype)


def working_scale(config: InputConfig, pixel_size_um: float | None) -> float:
    """Return working size / host's size, from pixel sizes in micrometres where the input declares one."""
    if config.pixel_size_um is None:
        return config.scale
    if pixel_size_um is None:
        raise ValueError(
            f"the model works at {config.pixel_size_um} µm a pixel, but the image's own pixel size is not known; "
            "set images.pixel_size_um in the contract, or train with input.scale"
        )
    return pixel_size_um / config.pixel_size_um


class PlaneResizer:
    """Resizes a volume that comes plane by plane, (h, w, c) float32; what a plane completes is returned at once."""

    def __init__(self, size: tuple[int, int, int], target: tuple[int, int, int]) -> None:
        self.size, self.target = size, target
        self.same = size == target
        across = target[1] * target[2]
        self._depth = RowResizer((size[0], across), (target[0], across))

    def push(self, plane: np.ndarray) -> Iterator[np.ndarray]:
        """Take the next plane; yields the new planes (H, W, c) that it completes."""
        if self.same:
            yield plane
            return
        flat = RowResizer(self.size[1:], self.target[1:]).push(plane)
        height, width, channels = flat.shape
        for row in self._depth.push(np.ascontiguousarray(flat).reshape(1, height * width, channels)):
            yield row.reshape(height, width, channels)
