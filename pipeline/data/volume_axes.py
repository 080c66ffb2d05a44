"""Stored volumes seen across another axis, pixels and target alike, for training along several axes."""

from __future__ import annotations

import numpy as np

from inference.predict.axes import ORDER, TurnedReader
from pipeline.data.store import StoredImage
from submissions.images.readers import check_window


class TurnedImage(TurnedReader):
    """A stored volume sliced along "y" or "x"; see `along`."""

    def __init__(self, stored: StoredImage, axis: str) -> None:
        super().__init__(stored, axis)
        self.stored, self.image_id, self.attrs = stored, stored.image_id, stored.attrs
        shape = stored.target_shape
        self.target_shape: tuple[int, ...] | None = None
        if shape is not None:
            planes, *sides = (self.shape[place] for place in range(3))
            self.target_shape = (planes, *shape[1:-2], *sides)

    def read_target(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of the target of plane `z`, uint8: label (h, w), or planes (K, h, w)."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        own, across = slice(z, z + 1), slice(left, right)
        if self.axis == "y":
            lines = [self.stored.read_target(depth, own, across)[..., 0, :] for depth in range(top, bottom)]
        else:
            lines = [self.stored.read_target(depth, across, own)[..., 0] for depth in range(top, bottom)]
        return np.stack(lines, axis=-2)


def along(stored: StoredImage, axis: str) -> StoredImage | TurnedImage:
    """A stored image as its planes across `axis` follow each other; "z" is the image as it is.

    Raises ValueError for an unknown axis and, along y and x, for an image of one slice and for one that is not stored
    at the host's size: prediction scales rows and columns of a plane alike, and the store kept the slices' distance.
    """
    if axis == "z":
        return stored
    if axis not in ORDER:
        raise ValueError(f"axis {axis!r}, expected one of {', '.join(ORDER)}")
    if stored.shape[0] == 1:
        raise ValueError(f"train.axes: image {stored.image_id!r} has one slice; only volumes have planes along {axis}")
    host = stored.attrs.get("host", stored.shape[:3])
    if tuple(host) != stored.shape[:3]:
        raise ValueError(
            f"train.axes: volume {stored.image_id!r} is stored at {stored.shape[:3]}, the host's size is "
            f"{tuple(host)}, at which planes along {axis} are trained on: leave out input.scale and input.pixel_size_um"
        )
    return TurnedImage(stored, axis)
