"""NIfTI volumes, turned to one orientation (see `oriented`); a fourth axis (time, modality) becomes channels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from submissions.images.damaged import naming
from submissions.images.oriented import OrientedReader
from submissions.images.reading import AS_STORED, Reading

_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}  # of the other units that a header may name; unknown ones are mm
_KEPT_BYTES = 512 << 20  # a gzipped volume up to this size is decompressed once; a larger one slice by slice


def load_nifti(path: Path) -> Any:
    """Open a NIfTI file without reading voxels; damage becomes a ValueError that names the file."""
    import nibabel

    with naming(path):
        image = nibabel.load(path)
    if not 2 <= len(image.shape) <= 4 or 0 in image.shape:
        raise ValueError(f"{path}: axes {image.shape}, expected (x, y), (x, y, z) or (x, y, z, channel)")
    return image


class NiftiReader(OrientedReader):
    """A NIfTI file as a reader (Z, Y, X, C) in canonical orientation; `affine` maps file voxels to the header's unit.

    Stored integers with a scale factor are returned scaled, as float32. as_mask: one channel of integers.
    """

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        image = load_nifti(path)
        self.as_mask = as_mask
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        self._orient(image.affine, image.shape, np.dtype(image.get_data_dtype()), scaled=scaled)
        self.unit_mm = _MILLIMETRES.get(str(image.header.get_xyzt_units()[0]), 1.0)
        z, y, x = (step * self.unit_mm for step in self.spacing or ())
        self.spacing = (z, y, x)
        self._compressed = path.suffix == ".gz"

    def _open(self) -> Any:
        """Either the voxels of a small gzipped file, or nibabel's proxy, which reads slices from the file."""
        image = load_nifti(self.path)
        if not self._compressed or math.prod(image.shape) * np.dtype(image.get_data_dtype()).itemsize > _KEPT_BYTES:
            return image.dataobj
        return self._voxels(image.dataobj, ())

    def _voxels(self, data: Any, index: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(data[index or (...,)])
