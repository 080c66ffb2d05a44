"""Distances between surfaces of volumes: the 95th percentile (HD95) and the mean (ASSD), in the unit of the spacing."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy

from submissions.metrics.base import (
    IMAGE_SPACING,
    MeanMetric,
    Needs,
    Spacing,
    checked_planes,
    checked_spacing,
    known_spacing,
    mean_where_defined,
)
from submissions.metrics.volumes import bounding_box


def border(mask: np.ndarray) -> np.ndarray:
    """bool (Z, H, W): voxels of a bool volume with a face towards the background; the volume ends in background."""
    return mask & ~scipy.ndimage.binary_erosion(mask, scipy.ndimage.generate_binary_structure(mask.ndim, 1))


def border_distances(pred: np.ndarray, truth: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every border voxel of two non-empty bool volumes to the nearest one of the other.

    (n,) of the prediction's, (m,) of the truth's, float64, in the unit of `spacing` (z, y, x).
    """
    box = bounding_box(pred | truth)
    a, b = border(np.pad(pred[box], 1))[1:-1, 1:-1, 1:-1], border(np.pad(truth[box], 1))[1:-1, 1:-1, 1:-1]
    return scipy.ndimage.distance_transform_edt(~b, spacing)[a], scipy.ndimage.distance_transform_edt(~a, spacing)[b]


@dataclass(frozen=True)
class BorderDistance(MeanMetric):
    """Minus a distance between borders, so that higher is better as everywhere; mean over classes, then volumes.

    spacing: (z, y, x), or 'image' for that of each volume's file, in mm.
    missing: what stands for the distance where one mask is empty: 'diagonal' of the volume (ToothFairy's rule), 'skip'
    (left out), or a number.
    Empty: both empty is a distance of 0, or left out with empty='skip'. Void voxels are background in both.
    """

    spacing: Spacing | str = (1.0, 1.0, 1.0)
    missing: float | str = "diagonal"
    empty: float | str = 0.0
    needs: ClassVar[Needs] = "volume"
    bounds: ClassVar[tuple[float, float]] = (-math.inf, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", checked_spacing(self.spacing))
        for name, words in (("missing", ("diagonal", "skip")), ("empty", ("skip",))):
            value = getattr(self, name)
            wrong = value not in words if isinstance(value, str) else isinstance(value, bool) or not value >= 0
            if wrong:
                raise ValueError(f"{name}={value!r}, expected a distance of 0 or more, or {' or '.join(words)}")

    def at(self, spacing: Spacing | None) -> BorderDistance:
        return replace(self, spacing=spacing) if self.spacing == IMAGE_SPACING and spacing is not None else self

    @abstractmethod
    def distance(self, from_pred: np.ndarray, from_truth: np.ndarray) -> float:
        """One number of the distances of both borders."""

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, Z, H, W): distance_k (NaN where left out) and score, minus their mean."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(4,))
        spacing = known_spacing(self.spacing, self.name)
        if valid is not None:
            pred, truth = pred & valid, truth & valid
        values = np.array([self._of_class(p, t, spacing) for p, t in zip(pred, truth, strict=True)])
        row = {f"distance_{k}": float(value) for k, value in enumerate(values)}
        return row | {"score": -float(mean_where_defined(values))}

    def _of_class(self, pred: np.ndarray, truth: np.ndarray, spacing: Spacing) -> float:
        if pred.any() and truth.any():
            return self.distance(*border_distances(pred, truth, spacing))
        rule = self.missing if pred.any() or truth.any() else self.empty
        if rule == "diagonal":
            return math.dist((0, 0, 0), [n * s for n, s in zip(truth.shape, spacing, strict=True)])
        return math.nan if isinstance(rule, str) else float(rule)


@dataclass(frozen=True)
class HD95(BorderDistance):
    """Minus the 95 % Hausdorff distance: the larger of the two directed 95th percentiles of border distances.

    spacing, missing, Empty: as `BorderDistance`. medpy takes the percentile of both borders together instead.
    Source: Maier-Hein, Reinke et al., Metrics reloaded, Nature Methods 2024 (as MONAI's
    `compute_hausdorff_distance(percentile=95)`).
    """

    name: ClassVar[str] = "hd95"

    def distance(self, from_pred: np.ndarray, from_truth: np.ndarray) -> float:
        return float(max(np.percentile(from_pred, 95), np.percentile(from_truth, 95)))


@dataclass(frozen=True)
class ASSD(BorderDistance):
    """Minus the average symmetric surface distance: the mean of both borders' distances together.

    spacing, missing, Empty: as `BorderDistance`.
    Source: Heimann et al., IEEE TMI 2009 (as MONAI's `compute_average_surface_distance(symmetric=True)`).
    """

    name: ClassVar[str] = "assd"

    def distance(self, from_pred: np.ndarray, from_truth: np.ndarray) -> float:
        return float(np.concatenate([from_pred, from_truth]).mean())
