"""From tiles to the host's image: a strip accumulator at working size, rows given out as they are
finished.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inference.predict.resample import RowResizer
from inference.predict.strips import Grid, Place

Emit = Callable[[int, int, np.ndarray], None]


class StripAccumulator:
    """Weighted mean of overlapping tiles in a buffer one tile high.

    Tiles come in order of `Place`; `emit(plane, first row, block)` gets finished rows at the host's size,
    in order, float32 `(K, rows, width)`. With `skipping`, tiles may be missing: the shares of the present
    ones are scaled up to 1, and a pixel with no tile at all gets `blank`.
    """

    def __init__(self, grid: Grid, channels: int, emit: Emit, *, skipping: bool = False, blank: float = 0.0) -> None:
        """Reserve the buffer for `channels` planes of `grid`."""
        self.grid, self.emit, self.blank = grid, emit, blank
        self._sum = np.zeros((channels, grid.rows.tile, grid.cols.padded), dtype=np.float32)
        self._share = np.zeros(self._sum.shape[1:], dtype=np.float32) if skipping else None
        self._at: tuple[int, int] | None = None
        self._begin_plane()

    def add(self, place: Place, values: np.ndarray | None) -> None:
        """Add one tile's values `(K, h, w)`; None for a tile that was not predicted."""
        if self._at != (place.plane, place.row):
            self._finish_row()
            self._at = (place.plane, place.row)
        if values is None:
            return
        weights = self.grid.rows.weights[place.row][:, None] * self.grid.cols.weights[place.col]
        cols = slice(self.grid.cols.positions[place.col], self.grid.cols.positions[place.col] + self.grid.cols.tile)
        self._sum[:, :, cols] += values * weights
        if self._share is not None:
            self._share[:, cols] += weights

    def finish(self) -> None:
        """Give out what is left after the last tile."""
        self._finish_row()
        self._at = None

    def _begin_plane(self) -> None:
        self._resizers = [RowResizer(self.grid.work, self.grid.host) for _ in self._sum]
        self._emitted = 0

    def _finish_row(self) -> None:
        """Give out the rows that no later tile touches, and move the rest up."""
        if self._at is None:
            return
        plane, row = self._at
        positions = self.grid.rows.positions
        last = row == len(positions) - 1
        count = self.grid.rows.tile if last else positions[row + 1] - positions[row]
        self._give_out(plane, positions[row] - self.grid.rows.before, count)
        for buffer in (self._sum, self._share):
            if buffer is not None:
                kept = buffer.shape[-2] - count
                buffer[..., :kept, :] = buffer[..., count:, :].copy()
                buffer[..., kept:, :] = 0
        if last:
            self._begin_plane()

    def _give_out(self, plane: int, start: int, count: int) -> None:
        top, bottom = max(0, -start), min(count, self.grid.work[0] - start)
        if bottom <= top:
            return
        cols = slice(self.grid.cols.before, self.grid.cols.before + self.grid.work[1])
        finished = self._sum[:, top:bottom, cols]
        if self._share is not None:
            share = self._share[top:bottom, cols]
            covered = share > 1e-6
            finished = np.where(covered, finished / np.where(covered, share, 1), np.float32(self.blank))
        blocks = [
            resizer.push(np.ascontiguousarray(rows)[..., None])[..., 0]
            for resizer, rows in zip(self._resizers, finished, strict=True)
        ]
        if len(blocks[0]):
            self.emit(plane, self._emitted, np.stack(blocks))
            self._emitted += len(blocks[0])
