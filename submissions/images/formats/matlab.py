"""MATLAB's .mat: an array by its name, decoded as a whole; version 5 by SciPy, version 7.3, an HDF5 file, by h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy

from submissions.images.formats.arrays import GridReader, Stored
from submissions.images.formats.hdf5 import arrays_of_hdf5, is_grid
from submissions.images.reading import AS_STORED, Reading

CLASSES = {
    "double": "f8", "single": "f4", "logical": "u1",
    **{f"{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


class MatReader(GridReader):
    """One array of a .mat, the only one of numbers with two axes longer than 1 where the contract names none."""

    decodes_whole = True

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path, as_mask=as_mask, reading=reading)
        self._describe_one(arrays_of_mat(path), whole=True)

    def _open(self) -> Any:
        if is_hdf5(self.path):
            with h5py.File(self.path, "r") as file:
                return np.asarray(file[self._name]).T
        return scipy.io.loadmat(self.path, variable_names=[self._name], mat_dtype=True)[self._name]


def is_hdf5(path: Path) -> bool:
    """Whether a .mat is of version 7.3."""
    return bool(h5py.is_hdf5(path))


def arrays_of_mat(path: Path) -> dict[str, Stored]:
    """Shape and type, as MATLAB shows them, of each array of numbers that has two axes longer than 1, by name."""
    if is_hdf5(path):
        return {name: (shape[::-1], dtype) for name, (shape, dtype) in arrays_of_hdf5(path).items()}
    known = ((name, shape, CLASSES.get(kind)) for name, shape, kind in scipy.io.whosmat(path))
    return {name: (tuple(shape), np.dtype(kind)) for name, shape, kind in known if kind and is_grid(shape)}
