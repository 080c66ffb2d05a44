"""MRC volumes (electron tomograms) through mrcfile, memory-mapped."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mrcfile

from submissions.images.formats.arrays import GridReader
from submissions.images.reading import AS_STORED, Reading

_ANGSTROM_A_MM = 1e7


class MrcReader(GridReader):
    """An MRC file as a reader (Z, H, W, 1); sections are slices."""

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path, as_mask=as_mask, reading=reading)
        with self._file() as file:
            sizes = file.voxel_size
            z, y, x = (float(size) / _ANGSTROM_A_MM for size in (sizes.z, sizes.y, sizes.x))
            self._describe(file.data.shape, file.data.dtype, {2: "HW", 3: "ZHW", 4: "TZHW"}[file.data.ndim])
        self.spacing = (z, y, x) if x > 0 else None
        self.pixel_size_um = x * 1000 if x > 0 else None

    def _file(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mrcfile.mmap(self.path, mode="r", permissive=False)

    def _open(self) -> Any:
        return self._file().data
