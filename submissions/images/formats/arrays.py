"""Bare arrays with named axes: .npy and .npz files, and the base of every format that is a grid of numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from submissions.images.axes import axes_of_mask, check_axes, guess_axes
from submissions.images.damaged import naming
from submissions.images.readers import FileReader, as_integers, check_pixels, check_window, image_dtype
from submissions.images.reading import AS_STORED, Reading

Stored = tuple[tuple[int, ...], np.dtype]
LARGEST_DECODED = 2 << 30  # bytes of an array that can only be decoded as a whole


class GridReader(FileReader):
    """A grid of numbers with named axes as a reader (Z, H, W, C); Z counts slices, within every point of time.

    A format opens its grid in `_open`: anything that is indexed by slices as an array is.
    """

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        self.as_mask, self.reading = as_mask, reading

    def _describe(self, shape: tuple[int, ...], stored: np.dtype, known: str | None = None) -> None:
        """Take over the grid's shape and type; known: axes that the file itself names."""
        if stored.kind not in "biuf" or not 2 <= len(shape) <= 5:
            raise ValueError(f"{self.path}: array {shape} of {stored}, expected 2 to 5 axes of numbers")
        declared = self.reading.axes
        if declared and self.as_mask:
            declared = axes_of_mask(declared, len(shape))
        axes = check_axes(declared, shape, self.path) if declared else known
        self.axes = axes or guess_axes(shape, self.path)
        sizes = dict(zip(self.axes, shape, strict=True))
        height, width, channels = sizes["H"], sizes["W"], sizes.get("C", 1)
        check_pixels(self.path, height, width)
        self._times, self._slices = sizes.get("T", 1), sizes.get("Z", 1)
        if 0 in shape:
            raise ValueError(f"{self.path}: array {shape} holds nothing: copy it again from the host")
        if self.as_mask and channels != 1:
            raise ValueError(f"{self.path}: a mask array has axes (H, W) or (Z, H, W), found {shape} as {self.axes}")
        integer = np.dtype(np.int32) if stored.kind == "f" else stored.newbyteorder("=")
        self.dtype = integer if self.as_mask else image_dtype(stored)
        self.shape = (self._times * self._slices, height, width, channels)
        self.pages = self.shape[0]

    def _describe_one(self, arrays: Mapping[str, Stored], *, whole: bool) -> None:
        """Take over that array of a file which the contract names, or its only one; whole: it is decoded at once."""
        self._name = choose_array(self.path, arrays, self.reading.array)
        if whole:
            check_decoded(self.path, self._name, arrays[self._name])
        self._describe(*arrays[self._name])

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), a copy."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        time, place = divmod(z, self._slices)
        wanted = {"H": slice(top, bottom), "W": slice(left, right), "C": slice(None)}
        at = {"T": slice(time, time + 1), "Z": slice(place, place + 1)}
        cut = self._cut(tuple((wanted | at)[axis] for axis in self.axes))
        order = [self.axes.index(axis) for axis in "TZHWC" if axis in self.axes]
        window = cut.transpose(order).reshape(bottom - top, right - left, self.shape[3])
        if self.as_mask:
            window = as_integers(window, self.path)
        return np.ascontiguousarray(window, dtype=self.dtype)

    def _cut(self, index: tuple[slice, ...]) -> np.ndarray:
        return np.array(self.handle()[index])


class ArrayFileReader(GridReader):
    """A .npy file, memory-mapped, or one array of a .npz, decoded when it is first read."""

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path, as_mask=as_mask, reading=reading)
        if path.suffix.lower() == ".npz":
            self._describe_one(arrays_of_npz(path), whole=True)
        else:
            array = self._mapped()
            self._describe(array.shape, array.dtype)

    def _mapped(self) -> np.ndarray:
        return np.asanyarray(np.load(self.path, mmap_mode="r", allow_pickle=False))

    def _open(self) -> Any:
        if self.path.suffix.lower() != ".npz":
            return self._mapped()
        with np.load(self.path, allow_pickle=False) as archive:
            return archive[self._name]


def stored_shape(path: Path) -> tuple[int, ...]:
    """Shape of the array in a .npy, or of the only one in a .npz, as it is stored. ValueError where there is none."""
    with naming(path):
        if path.suffix.lower() == ".npz":
            arrays = arrays_of_npz(path)
            return arrays[choose_array(path, arrays, None)][0]
        return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)


def arrays_of_npz(path: Path) -> dict[str, Stored]:
    """Shape and type of each array of a .npz by its name, from their headers."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in (name for name in archive.namelist() if name.endswith(".npy")):
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                old = version == (1, 0)
                header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                shape, _, dtype = header(stream)
            found[member.removesuffix(".npy")] = (tuple(shape), dtype)
    return found


def choose_array(path: Path, arrays: Mapping[str, Stored], wanted: str | None) -> str:
    """Name of the array that is asked for, or of the only one; ValueError where neither is there."""
    if wanted not in arrays and not (wanted is None and len(arrays) == 1):
        raise ValueError(
            f"{path}: it holds the arrays {[*arrays]}: say which in images.array, and for masks in masks.array"
        )
    return wanted or next(iter(arrays))


def check_decoded(path: Path, name: str, stored: Stored) -> None:
    """Raise ValueError for an array that is too large to be decoded as a whole."""
    size = int(np.prod(stored[0], dtype=np.int64)) * stored[1].itemsize
    if size > LARGEST_DECODED:
        raise ValueError(
            f"{path}: array {name!r} takes {size / 1e9:.1f} GB decoded, and a {path.suffix} is decoded as a whole: "
            "store it as .npy, which is read by windows"
        )
