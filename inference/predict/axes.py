"""Planes of a volume across any of its axes: what training draws is what prediction reads."""

from __future__ import annotations

import numpy as np

from submissions.images.opening import ImageReader
from submissions.images.readers import check_window

# which axes of (Z, H, W) number the planes across an axis, their rows and their columns
ORDER = {"z": (0, 1, 2), "y": (1, 0, 2), "x": (2, 0, 1)}


def turned_shape(shape: tuple[int, int, int, int], axis: str) -> tuple[int, int, int, int]:
    """Planes, rows, columns and channels of a volume (Z, H, W, C) sliced along `axis`."""
    planes, rows, cols = (shape[place] for place in ORDER[axis])
    return planes, rows, cols, shape[3]


class TurnedReader:
    """A volume sliced along "y" or "x": an `ImageReader` whose rows are its slices; only the window is read."""

    def __init__(self, reader: ImageReader, axis: str) -> None:
        self.reader, self.axis = reader, axis
        self.shape = turned_shape(reader.shape, axis)
        self.dtype = reader.dtype

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of plane `z` across the axis as (h, w, C), in the host's dtype."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        own, across = slice(z, z + 1), slice(left, right)
        if self.axis == "y":
            return np.stack([self.reader.read(depth, own, across)[0] for depth in range(top, bottom)])
        return np.stack([self.reader.read(depth, across, own)[:, 0] for depth in range(top, bottom)])

    def close(self) -> None:
        """Close the volume."""
        self.reader.close()
