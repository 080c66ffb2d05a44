"""Volumes with an orientation in the patient, turned (never resampled) to one order of axes.

That order is nibabel's canonical one, in which voxel indices grow towards the patient's right, front and top. A volume
is returned as (Z, Y, X): z grows towards the top, y to the front, x to the right. A fourth axis becomes channels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from submissions.images.readers import FileReader, as_integers, check_pixels, check_window, image_dtype

HALF = 0.5 + 1e-3  # voxels


class OrientedReader(FileReader):
    """A volume file as a reader (Z, Y, X, C) in canonical orientation; `affine` maps file voxels to mm."""

    as_mask: bool = False
    ordered: bool = False  # by where slices lie, not as one file stores them
    unit_mm: float = 1.0  # mm a unit of the affine

    def _orient(self, affine: np.ndarray, file_shape: tuple[int, ...], stored: np.dtype, *, scaled: bool) -> None:
        """Take over the header: file_shape (x, y[, z[, c]]); scaled: stored numbers are not what is returned."""
        from nibabel.orientations import io_orientation

        self.affine: np.ndarray = affine
        self.file_shape: tuple[int, ...] = file_shape
        sizes = (*file_shape, 1, 1)[:4]
        self._orientation = io_orientation(affine)
        if np.isnan(self._orientation).any():
            raise ValueError(f"{self.path}: the affine drops an axis: {affine.tolist()}: repair the header")
        order = np.argsort(self._orientation[:, 0])  # file axis of canonical x, y, z
        self._axes = [int(axis) for axis in order]
        self._flips = [bool(self._orientation[axis, 1] < 0) for axis in order]
        width, height, depth = (int(sizes[axis]) for axis in self._axes)
        check_pixels(self.path, height, width)
        zooms = np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(axis=0))  # mm a step along each file axis
        z, y, x = (float(zooms[axis]) for axis in reversed(self._axes))
        self.spacing = (z, y, x)
        self.dtype = np.dtype(np.float32) if scaled else image_dtype(stored)
        if self.as_mask:
            self.dtype = stored.newbyteorder("=") if stored.kind in "iu" and not scaled else np.dtype(np.int32)
            if sizes[3] != 1:
                raise ValueError(
                    f"{self.path}: a mask volume has 3 axes, found {file_shape}; save each of its frames as a file of "
                    "its own, and those of its image too"
                )
        self.shape = (depth, height, width, int(sizes[3]))

    @abstractmethod
    def _voxels(self, data: Any, index: tuple[Any, ...]) -> np.ndarray:
        """Voxels of the open file at slices along its own axes (x, y[, z[, c]])."""

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        index: list[Any] = [slice(None)] * max(3, len(self.file_shape))
        for axis, size, start, stop, flip in zip(
            self._axes, (self.shape[2], self.shape[1], self.shape[0]), (left, top, z), (right, bottom, z + 1),
            self._flips, strict=True,
        ):  # fmt: skip
            index[axis] = slice(size - stop, size - start) if flip else slice(start, stop)
        voxels = self._voxels(self.handle(), tuple(index[: len(self.file_shape)]))
        voxels = voxels.reshape((*voxels.shape, 1, 1)[:4])
        turned = voxels.transpose(self._axes[2], self._axes[1], self._axes[0], 3)
        steps = tuple(slice(None, None, -1 if flip else None) for flip in reversed(self._flips))
        window = np.ascontiguousarray(turned[steps][0])
        if self.as_mask:
            return as_integers(window, self.path).astype(self.dtype, copy=False)
        return window.astype(self.dtype, copy=False)

    @property
    def grid(self) -> np.ndarray:
        """Affine of the canonical volume: voxel (x, y, z) to mm to the right, front and top."""
        from nibabel.orientations import inv_ornt_aff

        stored = self.affine @ inv_ornt_aff(self._orientation, (*self.file_shape, 1)[:3])
        return np.asarray(np.diag([self.unit_mm] * 3 + [1.0]) @ stored)

    def turned_as(self, other: OrientedReader) -> bool:
        """Whether the axes of both files run the same way in the patient."""
        return bool((self._orientation == other._orientation).all())

    def to_file_axes(self, volume: np.ndarray) -> np.ndarray:
        """Turn a canonical volume (Z, Y, X) back to the axes of the file, as a host wants its masks."""
        if volume.shape != self.shape[:3]:
            raise ValueError(f"volume {volume.shape} does not fit {self.path}, expected {self.shape[:3]} (Z, Y, X)")
        from nibabel.orientations import apply_orientation, ornt_transform

        canonical = np.array([[0, 1], [1, 1], [2, 1]])
        turned = apply_orientation(volume.transpose(2, 1, 0), ornt_transform(canonical, self._orientation))
        return np.ascontiguousarray(turned).reshape((*self.file_shape, 1)[:3])


def place_fault(image: OrientedReader, mask: OrientedReader) -> str | None:
    """Why a mask of the same shape does not lie on its image, as a sentence; None where voxel fits voxel.

    Files whose axes run the same way fit as they are stored, whatever else their headers say; slices that were put in
    order by where they lie fit a mask only where its corners lie on theirs, to half a voxel.
    """
    from nibabel.orientations import aff2axcodes

    corners = np.stack(np.meshgrid(*([0, size - 1] for size in image.shape[2::-1]), [1], indexing="ij"), -1)
    voxels = corners.reshape(-1, 4) @ (np.linalg.inv(image.grid) @ mask.grid).T
    off = float(np.abs(voxels - corners.reshape(-1, 4)).max())
    if off <= HALF or (mask.turned_as(image) and not (image.ordered or mask.ordered)):
        return None
    axes = ["".join(aff2axcodes(one.affine)) for one in (mask, image)]
    return f"its axes run {axes[0]}, its image's {axes[1]}, and its corners lie up to {off:.1f} voxels off the image's"
