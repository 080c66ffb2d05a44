"""Finding the runs of a mask that may be far larger than memory: one pass over strips of rows."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from submissions.rle.text import I64, kernels

Order = Literal["column", "row"]
STRIP_BYTES = 32 * 2**20


def find_runs(mask: npt.NDArray[np.bool_], order: Order) -> I64:
    """Runs of a mask, int64 (n, 2): start from 0 along `order` and length, sorted, each as long as can be.

    `mask`: bool (H, W), an array or anything with `shape`, `dtype` and row slices. It is read once, in
    strips of rows of about 32 MB, whichever the order; the pages of a memory map are let go behind the
    reader.
    """
    if len(mask.shape) != 2 or 0 in mask.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected (height, width), both at least 1")
    if mask.dtype != np.bool_:
        raise ValueError(f"mask has dtype {mask.dtype}, expected bool: compare with a threshold first")
    if isinstance(mask, np.ndarray) and mask.flags.f_contiguous and not mask.flags.c_contiguous:
        mask, order = mask.T, "row" if order == "column" else "column"
    return find_runs_in_strips(_strips(mask), (int(mask.shape[0]), int(mask.shape[1])), order)


def find_runs_in_strips(strips: Iterable[npt.NDArray[np.bool_]], shape: tuple[int, int], order: Order) -> I64:
    """`find_runs` of a mask of `shape` = (H, W) that comes as bool strips (h, W) from the top down."""
    height, width = shape
    scan = _scan_columns if order == "column" else _scan_rows
    changes, last = scan(_as_bytes(strips, height, width), height, width)
    if last:
        changes = np.append(changes, height * width)
    runs = changes.reshape(-1, 2)
    runs[:, 1] -= runs[:, 0]
    return runs


def thin_runs(runs: I64, shape: tuple[int, int], order: Order, step: int) -> I64:
    """Runs, int64 (n, 2), of the mask that every `step`-th row and column make up, of those of a mask of `shape`.

    Nothing is painted: what it costs does not depend on the mask's size.
    """
    length = shape[0] if order == "column" else shape[1]
    lines, offsets = np.divmod(np.stack([runs[:, 0], runs.sum(axis=1)]), length)
    # Pixels kept before a position: those of the lines before it, and on a kept line those above it.
    before = -(-lines // step) * -(-length // step) + np.where(lines % step == 0, -(-offsets // step), 0)
    kept = before[1] > before[0]
    return np.stack([before[0], before[1] - before[0]], axis=1)[kept]


def _scan_rows(strips: Iterable[npt.NDArray[np.uint8]], height: int, width: int) -> tuple[I64, bool]:
    found = []
    first, last = 0, False
    for strip in strips:
        flat = strip.reshape(-1)
        found.append(kernels().changes_rows(flat, int(last), first))
        first += flat.size
        last = bool(flat[-1])
    return np.concatenate(found), last


def _scan_columns(strips: Iterable[npt.NDArray[np.uint8]], height: int, width: int) -> tuple[I64, bool]:
    found = []
    row = 0
    top = above = np.zeros(width, np.uint8)
    for strip in strips:
        if row == 0:
            top = above = strip[0].copy()
        found.append(kernels().changes_columns(strip, above, row, height))
        above = strip[-1].copy()
        row += len(strip)
    before = np.concatenate([[False], above[:-1] != 0])  # the pixel read before a column's first one
    found.insert(0, np.flatnonzero((top != 0) != before) * height)  # first: the sort keeps the order in a column
    return kernels().sort_by_line(np.concatenate(found), height, width), bool(above[-1])


def _as_bytes(strips: Iterable[Any], height: int, width: int) -> Iterator[npt.NDArray[np.uint8]]:
    rows = 0
    for strip in strips:
        if strip.ndim != 2 or strip.shape[1] != width or strip.dtype != np.bool_:
            raise ValueError(
                f"strip at row {rows} has dtype {strip.dtype} and shape {strip.shape}, need bool (h, {width})"
            )
        rows += len(strip)
        if len(strip):
            yield np.ascontiguousarray(strip).view(np.uint8)
    if rows != height:
        raise ValueError(f"strips have {rows} rows in all, expected {height}")


def _strips(mask: Any) -> Iterator[npt.NDArray[np.bool_]]:
    height, width = mask.shape
    step = max(1, STRIP_BYTES // width)
    for row in range(0, height, step):
        yield np.asarray(mask[row : row + step])
        _let_go(mask)


def _let_go(mask: Any) -> None:
    """Drop the resident pages of a file's memory map; they are read again should somebody ask."""
    if not isinstance(mask, np.memmap) or getattr(mask, "mode", "c") == "c":  # 'c' has pages that no file holds
        return
    base: Any = mask
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
