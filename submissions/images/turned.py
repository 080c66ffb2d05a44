"""Photos as they are looked at: EXIF's orientation, which TIFF calls tag 274, applied to windows as they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from submissions.images.readers import FileReader, check_window

ROWS_FLIPPED, COLUMNS_FLIPPED, SWAPPED = (3, 4, 7, 8), (2, 3, 6, 7), (5, 6, 7, 8)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, ...) as stored, turned and mirrored to how EXIF says they are looked at (1 to 8)."""
    if orientation in SWAPPED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in ROWS_FLIPPED:
        pixels = pixels[::-1]
    if orientation in COLUMNS_FLIPPED:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


class TurnedReader(FileReader):
    """Another reader's file as it is looked at; of a window only the pixels that it needs are read."""

    def __init__(self, reader: FileReader) -> None:
        super().__init__(reader.path)
        self.reader, self.orientation = reader, reader.orientation
        depth, height, width, channels = reader.shape
        self.shape = (depth, width, height, channels) if self.orientation in SWAPPED else reader.shape
        self.dtype, self.void, self.pages = reader.dtype, reader.void, reader.pages
        self.spacing, self.pixel_size_um = reader.spacing, reader.pixel_size_um
        swap = self.orientation in SWAPPED
        self.levels = tuple(size[::-1] if swap else size for size in reader.levels)
        self.decodes_whole = bool(getattr(reader, "decodes_whole", False))

    def _open(self) -> Any:
        return self.reader.handle()

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        return turn(self.reader.read(z, *self._stored(z, rows, cols)), self.orientation)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where the file holds no data."""
        valid = self.reader.valid(z, *self._stored(z, rows, cols))
        return None if valid is None else turn(valid, self.orientation)

    def _stored(self, z: int, rows: slice | None, cols: slice | None) -> tuple[slice, slice]:
        """Rows and columns of the file that a window is made of."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        _, height, width, _ = self.shape
        if self.orientation in ROWS_FLIPPED:
            top, bottom = height - bottom, height - top
        if self.orientation in COLUMNS_FLIPPED:
            left, right = width - right, width - left
        down, across = slice(top, bottom), slice(left, right)
        return (across, down) if self.orientation in SWAPPED else (down, across)

    def close(self) -> None:
        """Close the file."""
        self.reader.close()
        self._held = None
