"""NIfTI volumes, turned to one orientation.

Axes are reoriented (never resampled) to nibabel's canonical order, in which voxel indices grow towards the
patient's right, front and top, and returned as (Z, Y, X): z grows towards the top, y to the front, x to the
right. A fourth axis (time, modality) becomes channels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

from submissions.images.sources import FileSource, ImageInfo, as_integers, check_pixels, check_window, image_dtype

_KEPT_BYTES = 512 << 20  # a gzipped volume up to this size is decompressed once; a larger one slice by slice


def load_nifti(path: Path) -> Any:
    """Open a NIfTI file without reading voxels; damage becomes a ValueError that names the file."""
    try:
        image = nibabel.load(path)
    except Exception as error:
        size = path.stat().st_size
        raise ValueError(f"{path}: no readable NIfTI in {size} bytes ({error}): copy it again") from error
    if not 2 <= len(image.shape) <= 4 or 0 in image.shape:
        raise ValueError(f"{path}: axes {image.shape}, expected (x, y), (x, y, z) or (x, y, z, channel)")
    return image


class NiftiSource(FileSource):
    """A NIfTI file as a source (Z, Y, X, C) in canonical orientation; `affine` maps file voxels to mm.

    Stored integers with a scale factor are returned scaled, as float32. as_mask: one channel of integers.
    """

    def __init__(self, path: Path, *, as_mask: bool = False) -> None:
        super().__init__(path)
        image = load_nifti(path)
        self.as_mask = as_mask
        self.affine: np.ndarray = image.affine
        self.file_shape: tuple[int, ...] = image.shape
        sizes = (*image.shape, 1, 1)[:4]
        self._orientation = io_orientation(image.affine)
        if np.isnan(self._orientation).any():
            raise ValueError(f"{path}: the affine drops an axis: {image.affine.tolist()}: repair the header")
        order = np.argsort(self._orientation[:, 0])  # file axis of canonical x, y, z
        self._axes = [int(axis) for axis in order]
        self._flips = [bool(self._orientation[axis, 1] < 0) for axis in order]
        width, height, depth = (int(sizes[axis]) for axis in self._axes)
        check_pixels(path, height, width)
        zooms = np.sqrt((np.asarray(image.affine)[:3, :3] ** 2).sum(axis=0))  # mm a step along each file axis
        self.spacing = tuple(float(zooms[axis]) for axis in reversed(self._axes))
        stored = np.dtype(image.get_data_dtype())
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        self.dtype = np.dtype(np.float32) if scaled else image_dtype(stored)
        if as_mask:
            self.dtype = stored.newbyteorder("=") if stored.kind in "iu" and not scaled else np.dtype(np.int32)
            if sizes[3] != 1:
                raise ValueError(f"{path}: a mask volume has 3 axes, found {image.shape}")
        self.shape = (depth, height, width, int(sizes[3]))
        self._compressed = path.suffix == ".gz"

    def info(self) -> ImageInfo:
        """Size, type and spacing of the volume."""
        depth, height, width, channels = self.shape
        z, y, x = self.spacing
        return ImageInfo(depth, height, width, channels, str(self.dtype), 1, (z, y, x))

    def _open(self) -> Any:
        """Either the voxels of a small gzipped file, or nibabel's proxy, which reads slices from the file."""
        image = load_nifti(self.path)
        if not self._compressed or math.prod(image.shape) * np.dtype(image.get_data_dtype()).itemsize > _KEPT_BYTES:
            return image.dataobj
        return self._voxels(image.dataobj, ())

    def _voxels(self, data: Any, index: tuple[Any, ...]) -> np.ndarray:
        try:
            return np.asarray(data[index or (...,)])
        except Exception as error:
            raise ValueError(f"{self.path}: voxels cannot be read ({error}): copy the file again") from error

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        index: list[Any] = [slice(None)] * max(3, len(self.file_shape))
        for axis, size, start, stop, flip in zip(
            self._axes, (self.shape[2], self.shape[1], self.shape[0]), (left, top, z), (right, bottom, z + 1),
            self._flips, strict=True,
        ):  # fmt: skip
            index[axis] = slice(size - stop, size - start) if flip else slice(start, stop)
        data = self.handle()
        voxels = self._voxels(data, tuple(index[: len(self.file_shape)]))
        voxels = voxels.reshape((*voxels.shape, 1, 1)[:4])
        turned = voxels.transpose(self._axes[2], self._axes[1], self._axes[0], 3)
        steps = tuple(slice(None, None, -1 if flip else None) for flip in reversed(self._flips))
        window = np.ascontiguousarray(turned[steps][0])
        if self.as_mask:
            return as_integers(window, self.path).astype(self.dtype, copy=False)
        return window.astype(self.dtype, copy=False)

    def to_file_axes(self, volume: np.ndarray) -> np.ndarray:
        """Turn a canonical volume (Z, Y, X) back to the axes of the file, as a host wants its masks."""
        if volume.shape != self.shape[:3]:
            raise ValueError(f"volume {volume.shape} does not fit {self.path}, expected {self.shape[:3]} (Z, Y, X)")
        canonical = np.array([[0, 1], [1, 1], [2, 1]])
        turned = apply_orientation(volume.transpose(2, 1, 0), ornt_transform(canonical, self._orientation))
        return np.ascontiguousarray(turned).reshape(self.file_shape[:3])
