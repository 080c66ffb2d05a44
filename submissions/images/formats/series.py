"""DICOM series: a folder of files of a slice each, put in order by where they lie, and turned as NIfTI volumes are."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from submissions.images.damaged import naming
from submissions.images.formats.dicom import DicomReader
from submissions.images.formats.table import series_files
from submissions.images.oriented import OrientedReader
from submissions.images.reading import AS_STORED, Reading

_PARALLEL = 1e-3  # of a direction's length, by which slices of one series may differ
_APART = 1e-3  # mm between two slices
_KEPT_SLICES, _KEPT_BYTES = 8, 512 << 20  # decoded slices of a file's own plane, and of a volume cut across them


@dataclass(frozen=True)
class _Series:
    """files: in the order of their places along the normal. affine: (column, row, slice) to mm to the right, front and
    top. shape: (columns, rows, slices)."""

    files: tuple[Path, ...]
    affine: np.ndarray
    shape: tuple[int, int, int]
    dtype: np.dtype


class SeriesReader(OrientedReader):
    """A folder with the DICOM files of one series as a reader (Z, Y, X, 1) in canonical orientation.

    Slices lie in the order of their positions along the normal of their plane (DICOM PS3.3, C.7.6.2.1.1), whatever the
    files are called; values are those of `DicomReader`. Raises ValueError where the files do not make one volume.
    """

    ordered = True

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        self.as_mask, self._reading = as_mask, reading
        self._series = _series(path, path.stat().st_mtime_ns, as_mask, reading)
        self._orient(self._series.affine, self._series.shape, self._series.dtype, scaled=False)
        whole = int(np.prod(self._series.shape)) * self.dtype.itemsize
        across = self._axes[2] != 2 and whole <= _KEPT_BYTES
        self._kept = self._series.shape[2] if across else _KEPT_SLICES

    def _open(self) -> OrderedDict[int, np.ndarray]:
        """Slices that are decoded, (rows, columns), by their place."""
        return OrderedDict()

    def close(self) -> None:
        """Forget the decoded slices."""
        self._held = None

    def _voxels(self, data: Any, index: tuple[Any, ...]) -> np.ndarray:
        columns, rows, slices = index
        places = range(*slices.indices(self._series.shape[2]))
        return np.stack([self._slice(data, place)[rows, columns].T for place in places], axis=2)

    def _slice(self, decoded: OrderedDict[int, np.ndarray], place: int) -> np.ndarray:
        if place not in decoded:
            reader = DicomReader(self._series.files[place], as_mask=self.as_mask, reading=self._reading)
            decoded[place] = reader.read(0)[..., 0]
            while len(decoded) > self._kept:
                decoded.popitem(last=False)
        return decoded[place]


@lru_cache(maxsize=64)
def _series(folder: Path, changed: int, as_mask: bool, reading: Reading) -> _Series:
    """The series of a folder that was changed then, from its files' headers."""
    found = []
    for file in sorted(series_files(folder)):
        with naming(file):
            found.append(DicomReader(file, as_mask=as_mask, reading=reading))
    first = found[0]
    across, down, normal, steps = _plane(first)
    for reader in found[1:]:
        _check_alike(first, reader)
    found.sort(key=lambda reader: float(np.dot(normal, _position(reader))))
    places = np.array([_position(reader) for reader in found])
    for (one, other), apart in zip(pairwise(found), np.diff(places @ normal), strict=True):
        if apart < _APART:
            raise ValueError(
                f"{folder}: {one.path.name} and {other.path.name} lie in the same place, expected a slice a place: put "
                "the slices of each series, and of each point of time, into a folder of their own"
            )
    step = (places[-1] - places[0]) / (len(found) - 1) if len(found) > 1 else normal * (first.spacing or (1.0,))[0]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * steps[1], down * steps[0], step], axis=1)
    affine[:3, 3] = places[0]
    dtypes = {reader.dtype for reader in found}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.int32 if as_mask else np.float32)
    shape = (first.shape[2], first.shape[1], len(found))
    files = tuple(reader.path for reader in found)
    return _Series(files, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, shape, dtype)


def _position(reader: DicomReader) -> np.ndarray:
    """mm to the left, back and top, of the first voxel."""
    assert reader.position is not None
    return np.array(reader.position)


def _plane(reader: DicomReader) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """Directions of columns that follow each other, of rows, and of slices; mm between rows and between columns."""
    _check_placed(reader)
    assert reader.directions is not None and reader.spacing is not None
    across, down = np.array(reader.directions[:3]), np.array(reader.directions[3:])
    normal = np.cross(across, down)
    if abs(float(np.linalg.norm(normal)) - 1) > 0.01:
        raise ValueError(f"{reader.path}: ImageOrientationPatient {reader.directions}, expected two directions of "
                         "length 1, upright on each other: repair the header")  # fmt: skip
    return across, down, normal / np.linalg.norm(normal), reader.spacing[1:]


def _check_placed(reader: DicomReader) -> None:
    """ValueError where a file does not say where its slice lies, or is more than a grey slice."""
    if reader.shape[0] != 1 or reader.shape[3] != 1:
        raise ValueError(
            f"{reader.path}: {reader.shape[0]} frames of {reader.shape[3]} channels, expected a grey slice, as each "
            "file of a series is: name such files themselves in the pattern, not their folder"
        )
    lacking = {
        "ImagePositionPatient": reader.position, "ImageOrientationPatient": reader.directions,
        "PixelSpacing": reader.spacing,
    }  # fmt: skip
    if names := [name for name, value in lacking.items() if value is None]:
        raise ValueError(
            f"{reader.path}: no {' and no '.join(names)}, so where the slices of this series lie is not known: name "
            "the files in the pattern, one by one (images.stack and images.z), not their folder"
        )


def _check_alike(first: DicomReader, reader: DicomReader) -> None:
    """ValueError where a slice cannot be of the series of the first one."""
    _check_placed(reader)
    (size, steps, directions), (own_size, own_steps, own_directions) = (
        (one.shape[1:3], (one.spacing or ())[1:], one.directions or ()) for one in (first, reader)
    )
    alike = [np.allclose(*two, atol=_PARALLEL) for two in ((own_steps, steps), (own_directions, directions))]
    if own_size != size or not all(alike):
        raise ValueError(
            f"{reader.path}: {own_size} pixels of {own_steps} mm along {own_directions}, but {first.path.name} has "
            f"{size} of {steps} along {directions}; expected the slices of one series in a folder: move those of "
            "another, such as a scout view, out of it"
        )
