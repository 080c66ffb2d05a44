"""One pass of 3D networks over a volume: planes are read in order, boxes predicted in slabs, planes given out.

What is held is a slab of the working volume one box deep, and a sum of as many planes; a volume of any depth streams
through. Planes go from the host's grid to the working grid and back by the matrices that resize images, axis by axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from inference.config import InputConfig
from inference.predict.ensemble import Pass
from inference.predict.inputs import Statistics, normalise, reflect_indices
from inference.predict.members import predict_batch
from inference.predict.resample import PlaneResizer, restore_dtype
from inference.predict.stitching import Emit
from inference.predict.volume_grid import BoxGrid

if TYPE_CHECKING:
    from submissions.images.opening import ImageReader


def work_planes(reader: ImageReader, grid: BoxGrid) -> Iterator[np.ndarray]:
    """Planes (h, w, C) of a reader at the working grid, in order, in the host's dtype."""
    resizer = PlaneResizer(grid.host, grid.work)
    for z in range(grid.host[0]):
        plane = reader.read(z)
        if resizer.same:
            yield plane
        else:
            for done in resizer.push(plane.astype(np.float32)):
                yield restore_dtype(done, reader.dtype)


def slabs(reader: ImageReader, grid: BoxGrid) -> Iterator[np.ndarray]:
    """For each row of boxes along the depth its planes (tile depth, padded H, padded W, C), mirrored at all faces."""
    incoming, kept, begin = work_planes(reader, grid), {}, 0
    depth, rows, cols = grid.axes
    down = reflect_indices(-rows.before, rows.padded - rows.before, grid.work[1])
    across = reflect_indices(-cols.before, cols.padded - cols.before, grid.work[2])
    wanted = [
        reflect_indices(start - depth.before, start - depth.before + depth.tile, grid.work[0])
        for start in depth.positions
    ]
    firsts = np.minimum.accumulate([int(places.min()) for places in wanted][::-1])[::-1]
    for places, first in zip(wanted, firsts, strict=True):
        while begin <= int(places.max()):
            kept[begin] = next(incoming)[down[:, None], across]
            begin += 1
        for z in [z for z in kept if z < first]:
            del kept[z]
        yield np.stack([kept[int(z)] for z in places])


class SlabAccumulator:
    """Weighted mean of overlapping boxes in a buffer one box deep; finished planes go to the host's grid."""

    def __init__(self, grid: BoxGrid, channels: int, emit: Emit) -> None:
        self.grid, self.emit = grid, emit
        self._sum = np.zeros((channels, grid.tile[0], *grid.padded[1:]), dtype=np.float32)
        self._resizer = PlaneResizer(grid.work, grid.host)
        self._plane = 0

    def add(self, at: tuple[int, int, int], values: np.ndarray) -> None:
        """Add the box number `at` along the axes, float32 (K, d, h, w)."""
        shares = [axis.weights[number] for axis, number in zip(self.grid.axes, at, strict=True)]
        weights = shares[0][:, None, None] * shares[1][:, None] * shares[2]
        y, x = (axis.positions[number] for axis, number in zip(self.grid.axes[1:], at[1:], strict=True))
        self._sum[:, :, y : y + self.grid.tile[1], x : x + self.grid.tile[2]] += values * weights

    def finish_slab(self, number: int) -> None:
        """Give out the planes that no later slab touches, and move the rest up."""
        depth, rows, cols = self.grid.axes
        last = number == len(depth.positions) - 1
        count = depth.tile if last else depth.positions[number + 1] - depth.positions[number]
        first = depth.positions[number] - depth.before
        down, across = slice(rows.before, rows.before + rows.size), slice(cols.before, cols.before + cols.size)
        for place in range(count):
            if 0 <= first + place < depth.size:
                self._give_out(self._sum[:, place, down, across])
        kept = self._sum.shape[1] - count
        self._sum[:, :kept] = self._sum[:, count:].copy()
        self._sum[:, kept:] = 0

    def _give_out(self, plane: np.ndarray) -> None:
        """One working plane (K, h, w): channels last through the resizer, and out with what it completes."""
        for done in self._resizer.push(np.moveaxis(plane, 0, -1)):
            self.emit(self._plane, 0, np.ascontiguousarray(np.moveaxis(done, -1, 0)))
            self._plane += 1


def run_volume_pass(
    one: Pass,
    reader: ImageReader,
    grid: BoxGrid,
    *,
    measured: Statistics,
    channels: int,
    separate: bool,
    emit: Emit,
) -> int:
    """Stream a whole volume through one pass of 3D networks; returns the number of boxes predicted."""
    collect = SlabAccumulator(grid, channels, emit)
    config, boxes = one.predict_config, 0
    rows, cols = grid.axes[1:]
    for number, slab in enumerate(slabs(reader, grid)):
        for j, top in enumerate(rows.positions):
            for i, left in enumerate(cols.positions):
                box = slab[:, top : top + rows.tile, left : left + cols.tile]
                inputs = torch.from_numpy(normalise_volume(box, measured, one.input_config)[None])
                result = predict_batch(
                    inputs, one.votes, batch_size=config.batch_size, merge=config.merge, separate=separate
                )
                collect.add((number, j, i), result[0].cpu().numpy())
                boxes += 1
        collect.finish_slab(number)
    return boxes


def normalise_volume(box: np.ndarray, measured: Statistics, config: InputConfig) -> np.ndarray:
    """float32 (channels, d, h, w), contiguous, of voxels (d, h, w, C) in the host's dtype."""
    depth, height, width, channels = box.shape
    flat = normalise(np.ascontiguousarray(box).reshape(depth * height, width, channels), measured, config)
    return np.ascontiguousarray(flat).reshape(len(flat), depth, height, width)
