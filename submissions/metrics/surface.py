"""Surface Dice with a tolerance: how much of two surfaces in 3D lies near the other one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy

from submissions.metrics.base import (
    IMAGE_SPACING,
    Needs,
    Spacing,
    SumMetric,
    checked_choice,
    checked_planes,
    checked_spacing,
    columns_of,
    empty_value,
    known_spacing,
    mean_where_defined,
    number_of_classes,
    ratio,
    sum_and_number,
)
from submissions.metrics.volumes import bounding_box

Corner = tuple[int, ...]
Edge = tuple[Corner, Corner]

# Corner (z, y, x) of a 2×2×2 neighbourhood is bit 7 - (4 z + 2 y + x) of its code.
_CORNERS: tuple[Corner, ...] = tuple(itertools.product((0, 1), repeat=3))
_SLAB = 32  # slices of neighbourhoods held at once


@lru_cache(maxsize=16)
def surface_areas(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """float64 (256,): area of the surface inside a cube whose eight corners are voxel centres, by its code.

    Marching cubes on a binary mask: the surface cuts each edge between a voxel inside and one outside at its
    middle. The cuts are joined on each face; where a face is a chessboard, the corners of the kind that has
    at most half of the cube are cut off singly. Each closed loop is triangulated so that its area at unit
    spacing is largest. The areas equal those of DeepMind's surface-distance (Nikolov et al. 2018), which
    SenNet + HOA scores with, for any spacing (checked against that package when this was written). `spacing`
    is the distance of voxel centres along (z, y, x). The array is read-only.
    """
    areas = np.array([sum(_triangle(t, spacing) for t in _triangles(code)) for code in range(256)])
    areas.setflags(write=False)
    return areas


def _triangle(corners: tuple[Edge, Edge, Edge], spacing: tuple[float, ...]) -> float:
    a, b, c = ((np.add(*edge) / 2 * spacing) for edge in corners)
    return float(np.linalg.norm(np.cross(b - a, c - a)) / 2)


@lru_cache(maxsize=256)
def _triangles(code: int) -> tuple[tuple[Edge, Edge, Edge], ...]:
    """Triangles of a code, each corner the edge of the cube whose middle it is."""
    unit = (1.0, 1.0, 1.0)
    out: list[tuple[Edge, Edge, Edge]] = []
    for loop in _loops(code):
        out += max(_triangulations(loop), key=lambda some: round(sum(_triangle(t, unit) for t in some), 9))
    return tuple(out)


def _loops(code: int) -> Iterator[list[Edge]]:
    """Closed loops of cut edges."""
    inside = {corner: bool(code >> (7 - i) & 1) for i, corner in enumerate(_CORNERS)}
    single = sum(inside.values()) <= 4
    joined: dict[Edge, list[Edge]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        face = [corner for corner in _CORNERS if corner[axis] == side]
        cut = [
            (a, b)
            for a, b in itertools.combinations(face, 2)
            if inside[a] != inside[b] and sum(x != y for x, y in zip(a, b, strict=True)) == 1
        ]
        groups = [cut] if len(cut) == 2 else []
        if len(cut) == 4:
            groups = [[edge for edge in cut if corner in edge] for corner in face if inside[corner] == single]
        for one, other in groups:
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    while joined:
        loop = [min(joined)]
        while rest := [edge for edge in joined.pop(loop[-1]) if edge in joined]:
            loop.append(rest[0])
        yield loop


def _triangulations(loop: list[Edge]) -> Iterator[list[tuple[Edge, Edge, Edge]]]:
    """Every triangulation of a polygon."""
    if len(loop) < 3:
        yield []
        return
    for k in range(1, len(loop) - 1):
        for left, right in itertools.product(_triangulations(loop[: k + 1]), _triangulations(loop[k:])):
            yield [*left, (loop[0], loop[k], loop[-1]), *right]


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """uint8 (Z+1, H+1, W+1): codes of the neighbourhoods of a bool volume (Z, H, W), background around."""
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    bits = mask.astype(np.uint8)
    for i, (z, y, x) in enumerate(_CORNERS):
        # The corner at offset 1 of the neighbourhood that starts before the volume is its first voxel.
        where = tuple(slice(1 - o, 1 - o + size) for o, size in zip((z, y, x), mask.shape, strict=True))
        codes[where] |= bits << (7 - i)
    return codes


def matched_areas(
    pred: np.ndarray, truth: np.ndarray, tolerance: float, spacing: tuple[float, float, float]
) -> tuple[float, float]:
    """Area of the surface elements of both bool volumes (Z, H, W) within `tolerance` of the other, and of
    all.

    At tolerance 0 the volumes are gone through in slabs, so that memory does not grow with their depth.
    """
    if not pred.any() and not truth.any():
        return 0.0, 0.0
    matched, total = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    for codes in _slabs(pred, truth) if tolerance == 0 else [_cropped(pred, truth)]:
        borders = [(code != 0) & (code != 255) for code in codes]
        for code, border, other in zip(codes, borders, reversed(borders), strict=True):
            near = border & other
            if tolerance > 0 and other.any():
                near = border & (scipy.ndimage.distance_transform_edt(~other, spacing) <= tolerance)
            matched += np.bincount(code[near], minlength=256)
            total += np.bincount(code[border], minlength=256)
    areas = surface_areas(spacing)
    return float(matched @ areas), float(total @ areas)


def _slabs(pred: np.ndarray, truth: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Neighbourhood codes of both, every neighbourhood in one slab."""
    depth = len(truth) + 1
    for start in range(0, depth, _SLAB):
        stop = min(start + _SLAB, depth)
        first = max(start - 1, 0)  # voxels first .. stop - 1 make the neighbourhoods start .. stop - 1
        codes = [neighbour_codes(mask[first:stop])[start - first :][: stop - start] for mask in (pred, truth)]
        yield codes[0], codes[1]


def _cropped(pred: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbourhood codes of both in the box that holds them."""
    box = bounding_box(pred | truth)
    return neighbour_codes(pred[box]), neighbour_codes(truth[box])


@dataclass(frozen=True)
class SurfaceDice(SumMetric):
    """(matched area of both surfaces) / (area of both surfaces), an element matched within `tolerance`.

    Surface elements sit in the 2×2×2 neighbourhoods of voxel centres; their distance is that of
    neighbourhoods.
    tolerance and spacing (z, y, x) share a unit; SenNet + HOA: tolerance 0, spacing 1; with spacing 'image', that
    of each volume, the tolerance is in mm. A volume is background outside. over: 'images' (mean of the volumes'
    scores) or 'dataset' (areas are summed over volumes first).
    Macro over classes.
    Empty: both empty is 0/0: 'skip' (left out) unless `empty` gives a number; one of them empty is 0.
    Void voxels are background in both.
    Source: Nikolov et al., Deep learning to achieve clinically applicable segmentation of head and neck
    anatomy for radiotherapy (2018); evaluation page of Kaggle's SenNet + HOA (2023).
    """

    tolerance: float = 0.0
    spacing: Spacing | str = (1.0, 1.0, 1.0)
    over: str = "images"
    empty: float | str | None = None
    name: ClassVar[str] = "surface_dice"
    needs: ClassVar[Needs] = "volume"

    def __post_init__(self) -> None:
        checked_choice("over", self.over, ("images", "dataset"))
        empty_value(self.empty, math.nan)
        spacing = checked_spacing(self.spacing)
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance={self.tolerance!r}, expected a distance of 0 or more")
        object.__setattr__(self, "spacing", spacing)

    def at(self, spacing: Spacing | None) -> SurfaceDice:
        return replace(self, spacing=spacing) if self.spacing == IMAGE_SPACING and spacing is not None else self

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, Z, H, W): matched_k, total_k (areas) and score."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(4,))
        spacing = known_spacing(self.spacing, self.name)
        if valid is not None:
            pred, truth = pred & valid, truth & valid
        row: dict[str, float] = {}
        for k, (p, t) in enumerate(zip(pred, truth, strict=True)):
            row[f"matched_{k}"], row[f"total_{k}"] = matched_areas(p, t, self.tolerance, spacing)
        areas = np.array(list(row.values())).reshape(-1, 2)
        return row | {"score": float(self._dice(areas))}

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        if self.over == "images":
            return sum_and_number(columns_of(table, ["score"])[:, 0])
        k = number_of_classes(table, "matched")
        return columns_of(table, [f"{name}_{i}" for i in range(k) for name in ("matched", "total")])

    def finish(self, sums: np.ndarray) -> np.ndarray:
        if self.over == "images":
            return ratio(sums[..., 0], sums[..., 1])
        return self._dice(sums.reshape(*sums.shape[:-1], -1, 2))

    def _dice(self, areas: np.ndarray) -> np.ndarray:
        """Scores (...) from matched and total areas (..., K, 2)."""
        return mean_where_defined(ratio(areas[..., 0], areas[..., 1], empty_value(self.empty, math.nan)))
