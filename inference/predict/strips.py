"""Reading: an image becomes strips of rows at working size, strips become batches of tiles, on a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from inference.config import InputConfig, PredictConfig
from inference.predict.inputs import Statistics, normalise, read_input, reflect_indices, value_maximum
from inference.predict.resample import RowResizer, restore_dtype
from inference.predict.tiles import Axis, has_tissue, plan_axis

if TYPE_CHECKING:
    from submissions.images.opening import ImageReader

Item = TypeVar("Item")
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Grid:
    """Sizes (height, width) at the host and at work, and the tiles along both axes of the working image."""

    host: tuple[int, int]
    work: tuple[int, int]
    rows: Axis
    cols: Axis

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of a tile."""
        return self.rows.tile, self.cols.tile


@dataclass(frozen=True)
class Place:
    """One tile: plane (index into the planes predicted), tile row and column; `empty` tiles are not
    predicted.
    """

    plane: int
    row: int
    col: int
    empty: bool = False


@dataclass(frozen=True, eq=False)
class Batch:
    """Tiles in order, and the inputs `(N, C, h, w)` of those that are not empty (None where all are)."""

    places: list[Place]
    inputs: torch.Tensor | None


def make_grid(host: tuple[int, int], scale: float, config: PredictConfig, *, whole: bool = False) -> Grid:
    """Lay the tiles of `config` over an image of `host` (height, width); `whole`: one tile for all of it."""
    work = (max(1, round(host[0] * scale)), max(1, round(host[1] * scale)))
    tile = (work[0] + 2 * config.border + 31, work[1] + 2 * config.border + 31) if whole else config.plane
    rows, cols = (plan_axis(work[i], tile[i], config.overlap, config.window, config.border) for i in range(2))
    return Grid(host, work, rows, cols)


def work_rows(
    reader: ImageReader, z: int, grid: Grid, config: InputConfig, block_bytes: int = BLOCK_BYTES
) -> Iterator[np.ndarray]:
    """Yield slice `z` with its neighbours from top to bottom at working size: `(r, w, C * slices)`, host
    dtype.
    """
    height, width = grid.host
    resizer = RowResizer(grid.host, grid.work)
    row_bytes = width * reader.shape[3] * len(config.offsets) * (reader.dtype.itemsize if resizer.same else 4)
    step = max(1, block_bytes // row_bytes)
    for top in range(0, height, step):
        block = read_input(reader, z, slice(top, min(height, top + step)), None, config)
        if not resizer.same:
            block = restore_dtype(resizer.push(block.astype(np.float32)), reader.dtype)
        if len(block):
            yield block


def strips(
    reader: ImageReader, z: int, grid: Grid, config: InputConfig, block_bytes: int = BLOCK_BYTES
) -> Iterator[np.ndarray]:
    """Yield, for each row of tiles, its pixels `(tile height, padded width, C * slices)` in the host's dtype.

    Rows are read once; what two rows of tiles share is kept. Beyond the image stands its mirror image.
    """
    incoming = work_rows(reader, z, grid, config, block_bytes)
    cols = reflect_indices(-grid.cols.before, grid.cols.padded - grid.cols.before, grid.work[1])
    wanted = [_mirrored(grid.rows, position) for position in grid.rows.positions]
    firsts = np.minimum.accumulate([int(rows.min()) for rows in wanted][::-1])[::-1]
    kept, begin = next(incoming), 0
    for rows, keep in zip(wanted, firsts, strict=True):
        first, last = int(rows.min()), int(rows.max())
        parts = [kept[max(0, keep - begin) :]]
        begin = max(begin, int(keep))
        while begin + sum(map(len, parts)) <= last:
            parts.append(next(incoming))
        kept = parts[0] if len(parts) == 1 else np.concatenate(parts)
        straight = rows[0] == first and rows[-1] == last and last - first + 1 == len(rows)
        strip = kept[first - begin : last + 1 - begin] if straight else kept[rows - begin]
        yield strip if grid.cols.padded == grid.work[1] else strip[:, cols]


def _mirrored(axis: Axis, position: int) -> np.ndarray:
    """Pixels of the working image that a tile at a padded position shows."""
    start = position - axis.before
    return reflect_indices(start, start + axis.tile, axis.size)


def batches(
    reader: ImageReader,
    planes: Sequence[int],
    grid: Grid,
    measured: Statistics,
    *,
    input_config: InputConfig,
    skip_background: bool = False,
    tiles: int = 1,
    dtype: torch.dtype = torch.float32,
    pin: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Batch]:
    """Yield all tiles of all `planes` in order, `tiles` at a time, normalised, channels-last."""
    places: list[Place] = []
    inputs: list[np.ndarray] = []
    centre = max(range(len(input_config.offsets)), key=lambda i: -abs(input_config.offsets[i]))
    shown = slice(centre * reader.shape[3], (centre + 1) * reader.shape[3])
    maximum = value_maximum(reader.dtype)
    for plane, z in enumerate(planes):
        for row, strip in enumerate(strips(reader, z, grid, input_config, block_bytes)):
            for col, left in enumerate(grid.cols.positions):
                tile = strip[:, left : left + grid.cols.tile]
                empty = skip_background and not has_tissue(tile[..., shown], maximum)
                places.append(Place(plane, row, col, empty))
                if not empty:
                    inputs.append(normalise(tile, measured, input_config))
                if len(inputs) == tiles:
                    yield Batch(places, _stack(inputs, dtype, pin))
                    places, inputs = [], []
    if places:
        yield Batch(places, _stack(inputs, dtype, pin) if inputs else None)


def _stack(inputs: list[np.ndarray], dtype: torch.dtype, pin: bool) -> torch.Tensor:
    batch = (
        torch.stack([torch.from_numpy(one) for one in inputs]) if len(inputs) > 1 else torch.from_numpy(inputs[0])[None]
    )
    batch = batch.to(dtype=dtype, memory_format=torch.channels_last)
    return batch.pin_memory() if pin else batch


def read_ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yield `items` while a thread makes the next `depth` of them; an error in the thread is raised here."""
    if depth < 1:
        yield from items
        return
    end = object()
    made: queue.Queue[object] = queue.Queue(maxsize=depth)
    failure: list[BaseException] = []
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as error:  # handed over to the thread that waits for items
            failure.append(error)
        put(end)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not end:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        stopped.set()
        thread.join()
