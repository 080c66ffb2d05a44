"""A layer of coarser pixels shown at the size of the finest: satellites give bands of several resolutions."""

from __future__ import annotations

import numpy as np

from submissions.images.readers import ImageReader, WrappedReader, check_window, valid_pixels


class StretchedReader(WrappedReader):
    """A reader enlarged to `size` (height, width), pixel centres aligned, linear between them, borders repeated."""

    def __init__(self, reader: ImageReader, size: tuple[int, int]) -> None:
        super().__init__(reader)
        self.decodes_whole = False  # windows are enlarged one by one: a whole layer at that size is not to be kept
        self.shape = (reader.shape[0], *size, reader.shape[3])

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z at the new size, (h, w, C); only the pixels that it needs are read."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        y, x = self._places(0, top, bottom), self._places(1, left, right)
        y0, x0 = int(y[0]), int(x[0])
        down, across = slice(y0, _end(y, self.reader.shape[1])), slice(x0, _end(x, self.reader.shape[2]))
        block = self.reader.read(z, down, across).astype(np.float32)
        window = _between(_between(block, y - y0, 0), x - x0, 1)
        return window if self.dtype.kind == "f" else np.rint(window).astype(self.dtype)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where the nearest pixel holds no data."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        y, x = (
            np.rint(self._places(axis, *part)).astype(int) for axis, part in enumerate(((top, bottom), (left, right)))
        )
        known = valid_pixels(self.reader, z, slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1))
        return None if known is None else known[np.ix_(y - y[0], x - x[0])]

    def _places(self, axis: int, start: int, stop: int) -> np.ndarray:
        """Where the centres of new pixels start..stop-1 lie among the old ones along rows (0) or columns (1)."""
        old, new = self.reader.shape[1 + axis], self.shape[1 + axis]
        return np.clip((np.arange(start, stop) + 0.5) * old / new - 0.5, 0, old - 1)


def _end(places: np.ndarray, size: int) -> int:
    return min(int(places[-1]) + 2, size)


def _between(block: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Values at fractional places along an axis."""
    before = places.astype(np.intp)
    after = np.minimum(before + 1, block.shape[axis] - 1)
    share = (places - before).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    first, second = np.take(block, before, axis), np.take(block, after, axis)
    return np.asarray(first * (1 - share) + second * share)


def to_the_finest(readers: list[ImageReader]) -> list[ImageReader]:
    """Layers at the size of the largest; those that have it are as they were.

    Raises ValueError where a layer shows another part of the scene: its shape is not the finest's, made smaller.
    """
    height, width = max((reader.shape[1:3] for reader in readers), key=lambda size: size[0] * size[1])
    for position, reader in enumerate(readers):
        tall, wide = reader.shape[1:3]
        if abs(tall / height - wide / width) * max(height, width) > max(height / tall, width / wide):
            raise ValueError(
                f"layer {position} is {tall} x {wide}, the finest {height} x {width}: another shape (height to width), "
                "so not the same scene at another resolution"
            )
    return [
        reader if reader.shape[1:3] == (height, width) else StretchedReader(reader, (height, width))
        for reader in readers
    ]
