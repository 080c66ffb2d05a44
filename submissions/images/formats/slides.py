"""Whole slides that are no plain TIFF (NDPI, MRXS, SCN, BIF, VMS) through OpenSlide: levels, and µm a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide

from submissions.images.readers import FileReader, check_pixels, check_window
from submissions.images.reading import AS_STORED, Reading


class SlideReader(FileReader):
    """One level of a slide as a reader (1, H, W, 3) uint8; `levels` and `pixel_size_um` are the file's own."""

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        if as_mask:
            raise ValueError(f"{path}: a slide was found where a mask is expected: export the mask as PNG or TIFF")
        slide = self._open()
        self.level = reading.level
        self.levels = tuple((height, width) for width, height in slide.level_dimensions)
        if self.level >= len(self.levels):
            raise ValueError(
                f"{path}: level {self.level} was asked for, the slide has levels 0 to {len(self.levels) - 1}"
            )
        self._zoom = float(slide.level_downsamples[self.level])
        given = slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        self.pixel_size_um = float(given) * self._zoom if given else None
        slide.close()
        height, width = self.levels[self.level]
        check_pixels(path, height, width)
        self.shape, self.dtype = (1, height, width, 3), np.dtype(np.uint8)
        self.void = True

    def _open(self) -> Any:
        return openslide.OpenSlide(self.path)

    def _region(self, z: int, rows: slice | None, cols: slice | None) -> np.ndarray:
        """Window as uint8 (h, w, 4): RGB, and 0 in the last where the scanner saved nothing."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        corner = (round(left * self._zoom), round(top * self._zoom))  # OpenSlide counts places at level 0
        return np.asarray(self.handle().read_region(corner, self.level, (right - left, bottom - top)))

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window as (h, w, 3)."""
        return np.ascontiguousarray(self._region(z, rows, cols)[..., :3])

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where the scanner saved nothing."""
        return self._region(z, rows, cols)[..., 3] > 0
