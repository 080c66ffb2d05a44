"""The patch index of volumes: boxes of stored volumes with the foreground of each class, and how to draw from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from inference.predict.tiles import tile_positions
from pipeline.data.patch_index import PREFIX, VOID, shown_in, written_rows
from pipeline.data.store import Store, StoredImage
from submissions.host.atomic import write_atomic

Size3 = tuple[int, int, int]
CORNER, SIDES = ["z", "y", "x"], ["depth", "height", "width"]
OVERLAP = 0.5  # boxes lie half over each other, so that what is drawn by its foreground has it near its middle too


def box_index(stored: StoredImage, patch: Size3, classes: Sequence[str]) -> pd.DataFrame:
    """Boxes that cover every voxel of a stored volume, evenly spread, half over each other.

    Columns: image_id, axis ("volume"), z, y, x, depth, height, width (voxels; less than the patch where the volume is
    smaller) and foreground_<class> (share of the box, 0..1, void left out; by plane, or by value of a label). The
    target is read in one pass, a slice at a time. Raises ValueError for a target with fewer planes than classes.
    """
    depth, height, width, _ = stored.shape
    shape = stored.target_shape
    if shape is None or (len(shape) == 4 and shape[1] < len(classes)):
        raise ValueError(f"image {stored.image_id!r}: target {shape} for {len(classes)} classes: run stage 03 again")
    size = [min(side, whole) for side, whole in zip(patch, (depth, height, width), strict=True)]
    starts = [tile_positions(whole, side, OVERLAP) for side, whole in zip(size, (depth, height, width), strict=True)]
    counts = _slice_counts(stored, len(classes), starts[1], starts[2], (size[1], size[2]))
    sums = np.concatenate([np.zeros((1, *counts.shape[1:])), np.cumsum(counts, axis=0)])
    inside = sums[np.asarray(starts[0]) + size[0]] - sums[np.asarray(starts[0])]  # (nz, ny, nx, K, 2)
    shares = inside[..., 0] / np.maximum(inside[..., 1], 1)
    rows = [
        {"image_id": stored.image_id, "axis": "volume", **dict(zip(CORNER, corner, strict=True)),
         **dict(zip(SIDES, size, strict=True))}
        for corner in product(*starts)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    for k, name in enumerate(classes):
        table[f"{PREFIX}{name}"] = shares[..., k].reshape(-1)
    return table


def _slice_counts(
    stored: StoredImage, classes: int, tops: Sequence[int], lefts: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """float64 (Z, ny, nx, K, 2): voxels of each class, and known ones, in each window of each slice."""
    found = np.zeros((stored.shape[0], len(tops), len(lefts), classes, 2))
    y0, x0 = np.asarray(tops)[:, None], np.asarray(lefts)[None]
    for z in range(stored.shape[0]):
        target = stored.read_target(z)
        for k in range(classes):
            plane = target if target.ndim == 2 else target[k]
            shown = plane == k if target.ndim == 2 else shown_in(plane, soft=bool(stored.attrs.get("soft")))
            for which, mask in enumerate((shown, plane != VOID)):
                sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
                sums[1:, 1:] = mask.cumsum(0).cumsum(1)
                y1, x1 = y0 + size[0], x0 + size[1]
                found[z, :, :, k, which] = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return found


@dataclass(frozen=True)
class Box:
    """A box of a stored volume: first slice z, row y, column x, and depth, height, width in voxels."""

    image_id: str
    z: int
    y: int
    x: int
    depth: int
    height: int
    width: int


class BoxSampler:
    """Draws boxes by their odds and moves them by up to a quarter of their sides, inside the volume."""

    def __init__(self, index: pd.DataFrame, odds: np.ndarray) -> None:
        if len(index) != len(odds) or not len(index):
            raise ValueError(f"{len(odds)} odds for {len(index)} boxes of the patch index")
        self._ids = index["image_id"].astype(str).to_list()
        self._corners, self._sides = index[CORNER].to_numpy(np.int64), index[SIDES].to_numpy(np.int64)
        ends = pd.DataFrame(self._corners + self._sides)
        self._ends = ends.groupby(np.asarray(self._ids)).transform("max").to_numpy(np.int64)
        self._sums = np.cumsum(np.asarray(odds, np.float64))

    def draw(self, generator: np.random.Generator) -> Box:
        """One box; the generator decides everything."""
        row = int(np.searchsorted(self._sums, generator.random() * self._sums[-1], side="right"))
        sides = self._sides[row]
        moved = self._corners[row] + generator.integers(-(sides // 4), sides // 4 + 1)
        corner = np.clip(moved, 0, self._ends[row] - sides)
        return Box(self._ids[row], *(int(value) for value in (*corner, *sides)))


def box_index_path(store: Store, patch: Size3) -> Path:
    """Where the patch index of a store for one size of box lies."""
    return store.folder / f"patches-{patch[0]}x{patch[1]}x{patch[2]}.csv"


def write_box_index(store: Store, patch: Size3, classes: Sequence[str]) -> pd.DataFrame:
    """Index every stored volume and write the table into the store's folder, aside and then renamed."""
    index = pd.concat([box_index(store.image(name), patch, classes) for name in store.ids()], ignore_index=True)
    write_atomic(box_index_path(store, patch), index.to_csv(index=False, lineterminator="\n"))
    return index


def read_box_index(store: Store, image_ids: Sequence[str], patch: Size3, classes: Sequence[str]) -> pd.DataFrame:
    """Index of some stored volumes, in the order of `image_ids`; made anew where the store's table does not serve."""
    written = written_rows(box_index_path(store, patch), image_ids, {f"{PREFIX}{name}" for name in classes})
    if written is not None:
        return written
    return pd.concat([box_index(store.image(name), patch, classes) for name in image_ids], ignore_index=True)
