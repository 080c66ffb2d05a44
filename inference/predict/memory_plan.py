"""How much memory the buffers of a prediction take, and how to make them fit under a cap."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from inference.predict.axes import turned_shape
from inference.predict.ensemble import Pass
from inference.predict.store import CHUNK, PENDING
from inference.predict.strips import BLOCK_BYTES, Grid, make_grid
from inference.predict.volume_grid import BoxGrid, Spacing, make_box_grid, work_shape

logger = logging.getLogger(__name__)

GB = 1e9
AHEAD = 2
SMALLEST_BLOCK = 2**20
RUNTIME = 20_000_000  # the compressor's thread, HDF5's caches, kernels of torch, as seen with the smallest boxes


@dataclass(frozen=True)
class MemoryPlan:
    """Sizes chosen for one image, and the bytes of host memory they need beside the models and their
    activations.

    tiles: a batch; ahead: batches read in advance; block_bytes: read from the host at once; sum_in_memory:
    whether the sum of several passes is held in memory (else in a file); parts: bytes by purpose.
    """

    tiles: int
    ahead: int
    block_bytes: int
    sum_in_memory: bool
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Planned bytes in all."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        """One line for the user: the total, and the parts of at least 10 MB."""
        large = ", ".join(f"{name} {size / GB:.2f}" for name, size in self.parts.items() if size >= GB / 100)
        return f"planned memory {self.total / GB:.2f} GB beside the models" + (f" ({large})" if large else "")


def plan_memory(
    passes: Sequence[Pass],
    shape: tuple[int, int, int, int],
    itemsize: int,
    *,
    channels: int,
    planes: int,
    cap_gb: float,
    spacing: Spacing | None = None,
    decoded_bytes: int = 0,
) -> MemoryPlan:
    """Choose buffers for an image of `shape` (Z, H, W, C) whose values take `itemsize` bytes.

    `channels`: planes of the store (classes, or views times classes); `planes`: slices predicted;
    `decoded_bytes`: what the source itself holds, for formats that are only decoded whole. Raises
    ValueError if the smallest buffers need more than `cap_gb` (1 GB = 10^9 bytes).
    """
    views = max(len(vote.views) for one in passes for vote in one.votes)
    batch = max(1, passes[0].predict_config.batch_size // views)
    volume = 4 * channels * planes * shape[1] * shape[2] if len(passes) > 1 else 0
    must_hold = any(one.axis in ("y", "x") for one in passes)
    choices = [
        (min(batch, tiles), ahead, block, held)
        for held in ([True] if must_hold or not volume else [True, False])
        for tiles, ahead, block in (
            (batch, AHEAD, BLOCK_BYTES),
            (batch, 1, BLOCK_BYTES // 4),
            (2, 1, BLOCK_BYTES // 4),
            (1, 0, SMALLEST_BLOCK),
        )
    ]
    plans = []
    for tiles, ahead, block, held in choices:
        needs = [
            _box_bytes(one, shape, itemsize, channels, spacing=spacing)
            if one.axis == "volume"
            else _pass_bytes(one, shape, itemsize, channels, tiles=tiles, ahead=ahead, block=block)
            for one in passes
        ]
        parts = max(needs, key=lambda need: sum(need.values())).copy()
        parts["store"] = channels * min(CHUNK, shape[1]) * shape[2] * 2 + PENDING * CHUNK * CHUNK * 2
        parts["source"] = decoded_bytes + (itemsize * shape[0] * shape[1] * shape[2] * shape[3] if must_hold else 0)
        parts["sum of passes"] = volume if held else 0
        plan = MemoryPlan(tiles, ahead, block, held, parts)
        if plan.total <= cap_gb * GB:
            logger.info("planned memory: %.2f GB of at most %.2f GB", plan.total / GB, cap_gb)
            return plan
        plans.append(plan)
    least = min(plans, key=lambda plan: plan.total)
    biggest = max(least.parts, key=lambda name: least.parts[name])
    raise ValueError(
        (
            f"an image of {shape[1]} x {shape[2]} needs at least {least.total / GB:.2f} GB for its buffers "
            f"({biggest}: {least.parts[biggest] / GB:.2f} GB), but predict.memory_cap_gb is {cap_gb:g}; raise it"
        )
        + (", or predict in tiles instead of whole" if any(one.whole for one in passes) else ", or lower predict.tile")
    )


def pass_grid(one: Pass, plane: tuple[int, int]) -> Grid:
    """The tiles of a pass over planes of this height and width."""
    return make_grid(plane, one.scale, one.predict_config, whole=one.whole)


def pass_boxes(one: Pass, shape: tuple[int, int, int, int], spacing: Spacing | None) -> BoxGrid:
    """The boxes of a pass of 3D networks over a volume (Z, H, W, C) whose voxels are `spacing` mm apart."""
    host = shape[:3]
    work = work_shape(host, one.scale, one.input_config, spacing)
    return make_box_grid(host, work, one.predict_config, whole=one.whole)


def _box_bytes(
    one: Pass, shape: tuple[int, int, int, int], itemsize: int, channels: int, *, spacing: Spacing | None
) -> dict[str, int]:
    """Bytes by purpose of one pass of 3D networks: two slabs of planes, their sum, what one box takes, planes.

    Of a box are counted its voxels as read, as float32, as stacked views and as the network pads them, its weights, and
    each class's logits, probabilities and weighted mean (`benchmarks/volume_memory.py` measures all of it).
    """
    grid = pass_boxes(one, shape, spacing)
    across = math.prod(grid.padded[1:])
    views = max(len(vote.views) for vote in one.votes)
    resized = grid.host != grid.work
    planes = 3 * channels * 4 * (math.prod(grid.host[1:]) + across)
    parts = {
        "slabs": 2 * grid.tile[0] * across * shape[3] * itemsize,
        "accumulator": 4 * channels * grid.tile[0] * across * 2,
        "boxes": 4 * math.prod(grid.tile) * (one.input_config.in_channels * (4 + views) + 1 + 3 * channels * views),
        "planes": planes * (3 if resized else 1) + shape[1] * shape[2] * shape[3] * (itemsize + 8 * resized),
    }
    return {**parts, "allocator": sum(parts.values()) // 6, "runtime": RUNTIME}


def _pass_bytes(
    one: Pass,
    shape: tuple[int, int, int, int],
    itemsize: int,
    channels: int,
    *,
    tiles: int,
    ahead: int,
    block: int,
) -> dict[str, int]:
    """Bytes by purpose of one pass, copies in the making included, as seen at 30,000 x 30,000 pixels."""
    grid = pass_grid(one, turned_shape(shape, one.axis)[1:3])
    stacked = shape[3] * len(one.input_config.offsets)
    strip = grid.rows.tile * grid.cols.padded * stacked * itemsize
    resized = grid.host != grid.work
    row = grid.host[1] * stacked * (4 if resized else itemsize)
    batch = tiles * grid.rows.tile * grid.cols.tile
    views = max(len(vote.views) for vote in one.votes)
    host_rows = int(grid.rows.tile * max(1.0, grid.host[0] / grid.work[0])) + 2
    shares = grid.rows.tile * grid.cols.padded if one.predict_config.skip_background else 0
    parts = {
        "strips": strip * (2 if len(grid.rows.positions) == 1 else 4),
        "reading": min(max(block, row), row * grid.host[0]) * (4 if resized else 3),
        "batches": 4 * batch * (one.input_config.in_channels * (ahead + 2 + views) + 3 * channels * views),
        "accumulator": 4 * channels * grid.rows.tile * grid.cols.padded * (3 if resized else 2) + 8 * shares,
        "host rows": channels * host_rows * grid.host[1] * (16 if resized else 12),
    }
    return {**parts, "allocator": sum(parts.values()) // 6}
