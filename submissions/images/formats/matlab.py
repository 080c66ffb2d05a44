"""MATLAB's .mat: an array by its name; version 5 decoded as a whole by SciPy, version 7.3, an HDF5 file, in windows.

What lies in structs and cells is named as MATLAB writes it: `GTcls.Segmentation`, `groundTruth{1}.Boundaries`,
`layers(2).mask`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy

from submissions.images.formats.arrays import GridReader, Stored
from submissions.images.formats.hdf5 import is_grid
from submissions.images.reading import AS_STORED, Reading

CLASSES = {
    "double": "f8", "single": "f4", "logical": "u1",
    **{f"{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
HOLDING = ("struct", "cell")
OF_MATLAB = "#"  # the groups that version 7.3 keeps for itself begin so
NESTED = ".{("


class MatReader(GridReader):
    """One array of a .mat, the only one of numbers with two axes longer than 1 where the contract names none."""

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        wanted = reading.array.replace("/", ".") if reading.array else None  # as HDF5 writes it
        super().__init__(path, as_mask=as_mask, reading=replace(reading, array=wanted))
        arrays = arrays_of_mat(path)
        self.decodes_whole = not is_hdf5(path)
        arrays = arrays if wanted in (None, *arrays) else all_arrays_of_mat(path)
        self._describe_one(arrays, whole=self.decodes_whole)
        self._place = "" if self.decodes_whole else _place_in_hdf5(path, self._name)

    def _open(self) -> Any:
        if not self.decodes_whole:
            return h5py.File(self.path, "r")
        variable = self._name if self._name.isidentifier() else ""
        held = [] if variable else [name for name, _, kind in scipy.io.whosmat(self.path) if kind in HOLDING]
        loaded = scipy.io.loadmat(self.path, variable_names=[variable] if variable else held, mat_dtype=True)
        return loaded[variable] if variable else dict(_nested(loaded, held))[self._name]

    def _cut(self, index: tuple[slice, ...]) -> np.ndarray:
        if self.decodes_whole:
            return super()._cut(index)
        return np.asarray(self.handle()[self._place][index[::-1]]).T


def is_hdf5(path: Path) -> bool:
    """Whether a .mat is of version 7.3."""
    return bool(h5py.is_hdf5(path))


def is_nested(name: str) -> bool:
    """Whether an array lies in a struct or a cell, as its name says."""
    return any(sign in name for sign in NESTED)


def arrays_of_mat(path: Path) -> dict[str, Stored]:
    """Shape and type, as MATLAB shows them, of each array of numbers that has two axes longer than 1, by name.

    Of files that have none, those in structs and cells.
    """
    return _plain(path) or all_arrays_of_mat(path)


def _plain(path: Path) -> dict[str, Stored]:
    if is_hdf5(path):
        with h5py.File(path, "r") as file:
            return {name: _stored(item) for name, item in file.items() if _is_grid(item)}
    known = ((name, shape, CLASSES.get(kind)) for name, shape, kind in scipy.io.whosmat(path))
    return {name: (tuple(shape), np.dtype(kind)) for name, shape, kind in known if kind and is_grid(shape)}


def all_arrays_of_mat(path: Path) -> dict[str, Stored]:
    """The same of every array, in structs and cells too; version 5 is decoded for these."""
    if is_hdf5(path):
        with h5py.File(path, "r") as file:
            return {name: _stored(grid) for name, grid in _grids_of_hdf5(file)}
    held = [name for name, _, kind in scipy.io.whosmat(path) if kind in HOLDING]
    loaded = scipy.io.loadmat(path, variable_names=held, mat_dtype=True) if held else {}
    return _plain(path) | {name: (grid.shape, grid.dtype) for name, grid in _nested(loaded, held)}


def _nested(loaded: dict[str, Any], names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    for name in names:
        yield from _grids_in(loaded[name], name)


def _grids_in(value: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of numbers below a struct or cell as SciPy gives it; sparse ones and texts are none."""
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names:
        for number, element in enumerate(value.ravel(order="F"), start=1):
            own = name if value.size == 1 else f"{name}({number})"
            for field in value.dtype.names:
                yield from _grids_in(element[field], f"{own}.{field}")
    elif value.dtype == object:
        for number, element in enumerate(value.ravel(order="F"), start=1):
            yield from _grids_in(element, f"{name}{{{number}}}")
    elif value.dtype.kind in "biuf" and is_grid(value.shape):
        yield name, value


def _grids_of_hdf5(file: Any) -> Iterator[tuple[str, Any]]:
    """The same of a file of version 7.3, as datasets whose axes are turned round."""
    for name in file:
        if not name.startswith(OF_MATLAB):
            yield from _datasets_in(file, file[name], name)


def _datasets_in(file: Any, item: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A cell is a dataset of references, a struct a group; a struct array is a group of fields of references."""
    if isinstance(item, h5py.Group):
        for field in item:
            own = item[field]
            several = _has_references(own) and own.attrs.get("MATLAB_class") is None
            if not several:
                yield from _datasets_in(file, own, f"{name}.{field}")
                continue
            for number, reference in enumerate(own[()].ravel(), start=1):
                yield from _datasets_in(file, file[reference], f"{name}({number}).{field}")
    elif _has_references(item):
        for number, reference in enumerate(item[()].ravel(), start=1):
            yield from _datasets_in(file, file[reference], f"{name}{{{number}}}")
    elif _is_grid(item):
        yield name, item


def _is_grid(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and is_grid(item.shape)


def _stored(grid: Any) -> Stored:
    """Shape and type as MATLAB shows them."""
    return tuple(grid.shape[::-1]), grid.dtype


def _place_in_hdf5(path: Path, name: str) -> str:
    """Where the dataset of this name lies: found once, as there may be thousands of references to follow."""
    if not is_nested(name):
        return name
    with h5py.File(path, "r") as file:
        return str(dict(_grids_of_hdf5(file))[name].name)


def _has_references(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is not None
