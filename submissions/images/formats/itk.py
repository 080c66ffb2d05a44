"""NRRD, MHA and MHD through SimpleITK, turned to one orientation as NIfTI volumes are."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from submissions.images.formats.arrays import LARGEST_DECODED
from submissions.images.oriented import OrientedReader
from submissions.images.reading import AS_STORED, Reading

_HEADER = 1 << 14


class ItkReader(OrientedReader):
    """A NRRD, MHA or MHD file as a reader (Z, Y, X, C) in canonical orientation; a plain picture stays as stored.

    An uncompressed MHA or MHD is read by windows; ITK decodes the others as a whole, so they may take at most
    LARGEST_DECODED bytes.
    """

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        self.as_mask = as_mask
        reader = _reader(path)
        size = tuple(int(n) for n in reader.GetSize())
        if not 2 <= len(size) <= 3:
            raise ValueError(f"{path}: {len(size)} axes {size}, expected 2 or 3, and channels")
        self._components = int(reader.GetNumberOfComponents())
        stored = _numpy_type(reader.GetPixelID(), path)
        shape = (*size, 1)[:3] + ((self._components,) if self._components > 1 else ())
        self._orient(_affine(reader), shape, stored, scaled=False)
        self._by_windows = path.suffix.lower() in (".mha", ".mhd") and not _compressed(path)
        total = math.prod(shape) * stored.itemsize
        if not self._by_windows and total > LARGEST_DECODED:
            raise ValueError(
                f"{path}: {total / 1e9:.1f} GB decoded, and such a file is decoded as a whole: store it as an "
                "uncompressed .mha, which is read by windows"
            )

    def _open(self) -> Any:
        reader = _reader(self.path)
        return reader if self._by_windows else self._execute(reader)

    def _execute(self, reader: Any) -> np.ndarray:
        """Voxels of what the reader is set to, (x, y, z[, c])."""
        try:
            voxels = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise ValueError(f"{self.path}: voxels cannot be read ({_reason(error)}): copy the file again") from error
        if self._components == 1:
            voxels = voxels[..., None]
        voxels = voxels.reshape(-1, *voxels.shape[-3:])  # a picture has no z
        turned = voxels.transpose(2, 1, 0, 3)
        return turned if self._components > 1 else turned[..., 0]

    def _voxels(self, data: Any, index: tuple[Any, ...]) -> np.ndarray:
        if not self._by_windows:
            return np.asarray(data[index])
        axes = len(data.GetSize())
        bounds = [part.indices(size)[:2] for part, size in zip(index, self.file_shape, strict=True)][:axes]
        data.SetExtractIndex([start for start, _ in bounds])
        data.SetExtractSize([stop - start for start, stop in bounds])
        return self._execute(data)

    def close(self) -> None:
        """Let the reader go; it holds no file open."""
        self._held = None


def _reader(path: Path) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        size = path.stat().st_size
        raise ValueError(f"{path}: no readable volume in {size} bytes ({_reason(error)}): copy it again") from error
    return reader


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()


def _numpy_type(pixel: int, path: Path) -> np.dtype:
    name = sitk.GetPixelIDValueAsString(pixel)
    found = re.fullmatch(r"(?:vector of )?(\d+)-bit (unsigned integer|signed integer|float)", name)
    if found is None:
        raise ValueError(f"{path}: pixels of {name}, expected integers or floats")
    return np.dtype({"unsigned integer": "uint", "signed integer": "int", "float": "float"}[found[2]] + found[1])


def _affine(reader: Any) -> np.ndarray:
    """Voxel (x, y, z) to mm to the right, front and top: ITK's own count to the left, back and top."""
    axes = len(reader.GetSize())
    affine = np.eye(4)
    steps = np.asarray(reader.GetSpacing()[:axes])
    if axes == 2:
        affine[:2, :2] = np.diag(steps)
        return affine
    affine[:3, :3] = np.asarray(reader.GetDirection()).reshape(3, 3) * steps
    affine[:3, 3] = reader.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _compressed(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_HEADER)
    return b"CompressedData = True" in head
