"""Dice and normalised Hausdorff distance of a volume, as UW-Madison GI Tract combines them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy

from submissions.metrics.base import (
    Needs,
    SumMetric,
    checked_planes,
    columns_of,
    empty_value,
    ratio,
)
from submissions.metrics.overlap import pixel_counts


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds every True of a non-empty bool array (...)."""
    axes = range(mask.ndim)
    lines = [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    return tuple(slice(int(line[0]), int(line[-1]) + 1) for line in lines)


def normalised_hausdorff(pred: np.ndarray, truth: np.ndarray) -> float:
    """Hausdorff distance of two bool volumes (Z, H, W) in the unit cube, divided by the cube's diagonal.

    Coordinates are divided by the volume's shape, so the result lies in [0, 1]. One of them empty: 1, the
    largest. Both empty: NaN. Exact (distance transform), and symmetric.
    """
    if not pred.any() or not truth.any():
        return 1.0 if pred.any() or truth.any() else math.nan
    box = bounding_box(pred | truth)
    sampling = [1 / size for size in truth.shape]
    a, b = pred[box], truth[box]
    far = max(
        scipy.ndimage.distance_transform_edt(~b, sampling)[a].max(),
        scipy.ndimage.distance_transform_edt(~a, sampling)[b].max(),
    )
    return float(far / math.sqrt(3))


@dataclass(frozen=True)
class DiceHausdorff(SumMetric):
    """0.4 × Dice + 0.6 × (1 - normalised 3D Hausdorff distance), after the host's description.

    Dice is taken of every slice and class, and averaged over all of them; the distance of every volume and
    class (coordinates divided by the volume's size, 1 where one mask is empty), and averaged. The scorer
    itself was never published: numbers can differ from the leaderboard's.
    empty: Dice of a slice where both are empty: 0 as the description says (then a perfect submission stays
    below 1), or 'skip', which is what the host said in the forum that the scorer does. The distance of a
    class absent from both volumes is left out.
    Source: evaluation page of Kaggle's UW-Madison GI Tract Image Segmentation (2022).
    """

    empty: float | str | None = None
    dice_weight: float = 0.4
    name: ClassVar[str] = "dice_hausdorff"
    needs: ClassVar[Needs] = "volume"

    def __post_init__(self) -> None:
        empty_value(self.empty, 0.0)
        if not 0 <= self.dice_weight <= 1:
            raise ValueError(f"dice_weight={self.dice_weight!r}, expected a number between 0 and 1")

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, Z, H, W): dice_sum, dice_number, distance_sum, distance_number and score."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(4,))
        if valid is not None:
            pred, truth = pred & valid, truth & valid
        counts = np.stack([pixel_counts(p, t) for p, t in zip(pred, truth, strict=True)])  # (K, 4, Z)
        tp, fp, fn = counts[:, 0], counts[:, 1], counts[:, 2]
        dice = ratio(2 * tp, 2 * tp + fp + fn, empty_value(self.empty, 0.0))
        if valid is not None:
            dice[:, ~valid.any(axis=(1, 2))] = math.nan
        distance = np.array([normalised_hausdorff(p, t) for p, t in zip(pred, truth, strict=True)])
        names = ("dice_sum", "dice_number", "distance_sum", "distance_number")
        parts = [np.nansum(dice), np.sum(~np.isnan(dice)), np.nansum(distance), np.sum(~np.isnan(distance))]
        sums = np.array(parts, dtype=np.float64)
        return dict(zip(names, sums.tolist(), strict=True)) | {"score": float(self.finish(sums))}

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        return columns_of(table, ["dice_sum", "dice_number", "distance_sum", "distance_number"])

    def finish(self, sums: np.ndarray) -> np.ndarray:
        dice_sum, dice_number, distance_sum, distance_number = np.moveaxis(sums, -1, 0)
        near = 1 - ratio(distance_sum, distance_number)
        return self.dice_weight * ratio(dice_sum, dice_number) + (1 - self.dice_weight) * near
