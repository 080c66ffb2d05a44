"""Watershed of a height map inside a mask: peaks that are deep enough, then a flood from high to low.

The kernels are compiled by numba where it works; elsewhere they run as plain Python, slowly and with
equal results.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from submissions.machine_code import compiled

BEYOND = -1  # label of what is not in the mask, while basins grow


@dataclass(frozen=True)
class Relief:
    """A height map inside a mask, ready to be cut into basins at any depth.

    Flat arrays of the mask with a border of one pixel around it, so that every pixel has all its neighbours: height
    uint16; ground int32, 0 in the mask and `BEYOND` elsewhere; order int64, the mask's pixels from high to low;
    steps int64, from a pixel to its neighbours in raster order.
    """

    shape: tuple[int, ...]
    height: np.ndarray
    ground: np.ndarray
    order: np.ndarray
    steps: np.ndarray
    levels: int


def make_relief(height: np.ndarray, mask: np.ndarray) -> Relief:
    """What all depths have in common, of a mask bool (H, W) or (Z, H, W).

    height: uint16 as mask, the higher the deeper inside an object. Raises ValueError for arrays of other types or
    unequal shapes.
    """
    if height.dtype != np.uint16 or mask.dtype != np.bool_ or height.shape != mask.shape or mask.ndim not in (2, 3):
        raise ValueError(
            f"height is {height.dtype} {height.shape}, mask {mask.dtype} {mask.shape}: expected uint16 and "
            "bool of one shape, ([depth,] height, width)"
        )
    around = tuple(side + 2 for side in mask.shape)
    inner = (slice(1, -1),) * mask.ndim
    padded, ground = np.zeros(around, np.uint16), np.full(around, BEYOND, np.int32)
    padded[inner] = height
    ground[inner] = mask.astype(np.int32) + BEYOND
    strides = np.array([int(np.prod(around[axis + 1 :])) for axis in range(mask.ndim)])
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=mask.ndim))) @ strides
    levels = int(padded.max(initial=0)) + 1  # heights of a distance use a few hundred
    order = kernels().descending(padded.ravel(), ground.ravel(), levels)
    return Relief(mask.shape, padded.ravel(), ground.ravel(), order, steps[steps != 0], levels)


def cut(relief: Relief, *, depth: float, floor: float) -> np.ndarray:
    """Basins int32 of the mask, of its shape, 1..n; 0 outside of it.

    Two peaks make two basins where the valley between them lies more than `floor` levels below the lower peak, and at
    least the share `depth` of its height: maxima chosen by their dynamics (Grimaud 1992). Then basins grow over the
    mask in order of height, first come first served within a level, over 8 neighbours, of a volume 26 (Meyer 1991),
    until they cover the mask.
    """
    run = kernels()
    label = relief.ground.copy()
    links = np.full(label.size, -1, np.int32 if label.size < 2**31 else np.int64)
    run.peaks(relief.height, relief.order, relief.steps, label, links, float(depth), float(floor))
    links.fill(-1)
    run.flood(relief.height, relief.order, relief.steps, label, links, relief.levels)
    inner = (slice(1, -1),) * len(relief.shape)
    return np.maximum(label.reshape([side + 2 for side in relief.shape])[inner], 0)


@cache
def kernels() -> SimpleNamespace:
    """The three passes, compiled on their first call; the machine code is kept on disk where it can be."""
    return SimpleNamespace(descending=_compiled(_descending), peaks=_compiled(_peaks), flood=_compiled(_flood))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return compiled(function)
    except ImportError:
        return function


def _descending(height: np.ndarray, ground: np.ndarray, levels: int) -> np.ndarray:
    """Flat indices of the mask's pixels from high to low, equal ones in raster order (counting sort)."""
    starts = np.zeros(levels + 1, np.int64)
    for index in range(ground.size):
        if ground[index] == 0:
            starts[levels - int(height[index])] += 1
    for level in range(levels):
        starts[level + 1] += starts[level]
    order = np.empty(starts[levels], np.int64)
    for index in range(ground.size):
        if ground[index] == 0:
            level = levels - 1 - int(height[index])
            order[starts[level]] = index
            starts[level] += 1
    return order


def _peaks(
    height: np.ndarray,
    order: np.ndarray,
    steps: np.ndarray,
    label: np.ndarray,
    parent: np.ndarray,
    depth: float,
    floor: float,
) -> None:
    """Write 1..n at the peak of each basin that stays; pixels join from high to low. parent: -1, one a pixel."""
    for index in order:
        parent[index] = index
        root = index
        for step in steps:
            near = index + step
            other = parent[near]
            if other < 0 or other == root:
                continue
            while parent[other] != other:
                parent[other] = parent[parent[other]]
                other = parent[other]
            parent[near] = other
            if root == other:
                continue
            low, high = (other, root) if height[root] > height[other] else (root, other)
            fall = float(height[low]) - float(height[index])
            if low == index or fall <= floor or fall < depth * float(height[low]):
                parent[low] = high
                root = high
    found = 0
    for index in order:
        if parent[index] == index:
            found += 1
            label[index] = found


def _flood(
    height: np.ndarray, order: np.ndarray, steps: np.ndarray, label: np.ndarray, following: np.ndarray, levels: int
) -> None:
    """Grow the labels in place over the mask; one queue a level, each a linked list. following: -1, one a pixel."""
    head, tail = np.full(levels, -1, np.int64), np.full(levels, -1, np.int64)
    for index in order:  # of one level in raster order
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
            for step in steps:
                near = index + step
                if label[near] != 0:
                    continue
                label[near] = label[index]
                at = max(level, levels - 1 - int(height[near]))
                if head[at] < 0:
                    head[at] = near
                else:
                    following[tail[at]] = near
                tail[at] = near
