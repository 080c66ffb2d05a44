"""Watershed of a height map inside a mask: peaks that are deep enough, then a flood from high to low.

The kernels are compiled by numba where it works; elsewhere they run as plain Python, slowly and with
equal results.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np


def watershed(height: np.ndarray, mask: np.ndarray, *, depth: float, floor: float) -> np.ndarray:
    """Basins int32 of `mask` (bool (H, W) or (Z, H, W)), of its shape, 1..n; 0 outside of it.

    height: uint16 as mask, the higher the deeper inside an object. Two peaks make two basins where the valley
    between them lies more than `floor` levels below the lower peak, and at least the share `depth` of its
    height: maxima chosen by their dynamics (Grimaud 1992). Then basins grow over the mask in order of height,
    first come first served within a level, over 8 neighbours, of a volume 26 (Meyer 1991), until they cover the
    mask. Raises ValueError for arrays of other types or unequal shapes.
    """
    if height.dtype != np.uint16 or mask.dtype != np.bool_ or height.shape != mask.shape or mask.ndim not in (2, 3):
        raise ValueError(
            f"height is {height.dtype} {height.shape}, mask {mask.dtype} {mask.shape}: expected uint16 and "
            "bool of one shape, ([depth,] height, width)"
        )
    rows, cols = mask.shape[-2:]
    flat_height, flat_mask = np.ascontiguousarray(height).ravel(), np.ascontiguousarray(mask).ravel()
    run = kernels()
    levels = int(flat_height.max(initial=0)) + 1  # heights of a distance use a few hundred
    order = run.descending(flat_height, flat_mask, levels)
    label = run.peaks(flat_height, order, rows, cols, float(depth), float(floor))
    run.flood(flat_height, flat_mask, label, rows, cols, levels)
    return label.reshape(mask.shape)


@cache
def kernels() -> SimpleNamespace:
    """The three passes, compiled on their first call; the machine code is kept on disk where it can be."""
    return SimpleNamespace(descending=_compiled(_descending), peaks=_compiled(_peaks), flood=_compiled(_flood))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        import numba
    except ImportError:
        return function
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that the machine code could be kept in
        return numba.njit(nogil=True)(function)


def _descending(height: np.ndarray, mask: np.ndarray, levels: int) -> np.ndarray:
    """Flat indices of the mask's pixels from high to low, equal ones in raster order (counting sort)."""
    starts = np.zeros(levels + 1, np.int64)
    for index in range(mask.size):
        if mask[index]:
            starts[levels - int(height[index])] += 1
    for level in range(levels):
        starts[level + 1] += starts[level]
    order = np.empty(starts[levels], np.int64)
    for index in range(mask.size):
        if mask[index]:
            level = levels - 1 - int(height[index])
            order[starts[level]] = index
            starts[level] += 1
    return order


def _peaks(height: np.ndarray, order: np.ndarray, rows: int, cols: int, depth: float, floor: float) -> np.ndarray:
    """int32, one a pixel: 1..n at the peak of each basin that stays; pixels join from high to low."""
    plane = rows * cols
    planes = height.size // max(plane, 1)
    parent = np.full(height.size, -1, np.int64)
    for index in order:
        parent[index] = index
        root = index
        z, row, col = index // plane, index % plane // cols, index % cols
        for s in range(max(z - 1, 0), min(z + 2, planes)):
            for r in range(max(row - 1, 0), min(row + 2, rows)):
                for c in range(max(col - 1, 0), min(col + 2, cols)):
                    other = s * plane + r * cols + c
                    if parent[other] < 0 or parent[other] == root:
                        continue
                    while parent[other] != other:
                        parent[other] = parent[parent[other]]
                        other = parent[other]
                    if root == other:
                        continue
                    low, high = (other, root) if height[root] > height[other] else (root, other)
                    fall = float(height[low]) - float(height[index])
                    if low == index or fall <= floor or fall < depth * float(height[low]):
                        parent[low] = high
                        root = high
    peaks = np.zeros(height.size, np.int32)
    found = 0
    for index in order:
        if parent[index] == index:
            found += 1
            peaks[index] = found
    return peaks


def _flood(height: np.ndarray, mask: np.ndarray, label: np.ndarray, rows: int, cols: int, levels: int) -> None:
    """Grow the labels in place over the mask; one queue a level, each a linked list."""
    plane = rows * cols
    planes = height.size // max(plane, 1)
    head, tail = np.full(levels, -1, np.int64), np.full(levels, -1, np.int64)
    following = np.full(height.size, -1, np.int64)
    for index in range(height.size):
        if label[index] > 0:
            level = levels - 1 - int(height[index])
            if head[level] < 0:
                head[level] = index
            else:
                following[tail[level]] = index
            tail[level] = index
    for level in range(levels):
        while head[level] >= 0:
            index = head[level]
            head[level] = following[index]
            z, row, col = index // plane, index % plane // cols, index % cols
            for s in range(max(z - 1, 0), min(z + 2, planes)):
                for r in range(max(row - 1, 0), min(row + 2, rows)):
                    for c in range(max(col - 1, 0), min(col + 2, cols)):
                        near = s * plane + r * cols + c
                        if label[near] > 0 or not mask[near]:
                            continue
                        label[near] = label[index]
                        at = max(level, levels - 1 - int(height[near]))
                        if head[at] < 0:
                            head[at] = near
                        else:
                            following[tail[at]] = near
                        tail[at] = near
