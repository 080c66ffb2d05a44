"""HDF5: a dataset by its name, read by windows (CREMI and other EM volumes, fastMRI, ilastik)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from submissions.images.formats.arrays import GridReader, Stored
from submissions.images.reading import AS_STORED, Reading


class Hdf5Reader(GridReader):
    """One dataset, the only one that can be an image where the contract names none."""

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path, as_mask=as_mask, reading=reading)
        self._describe_one(arrays_of_hdf5(path), whole=False)

    def _open(self) -> Any:
        return h5py.File(self.path, "r")

    def _cut(self, index: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.handle()[self._name][index])


def arrays_of_hdf5(path: Path) -> dict[str, Stored]:
    """Shape and type of each dataset of numbers that has two axes longer than 1, by its path in the file."""
    found: dict[str, Stored] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and is_grid(item.shape):
            found[name] = (tuple(item.shape), item.dtype)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return found


def is_grid(shape: Sequence[int]) -> bool:
    """Whether an array has two axes longer than 1: others are lists."""
    return sum(size > 1 for size in shape) > 1
