"""Boundary F1: how well contours agree, within a distance that grows with the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy

from submissions.metrics.base import MeanMetric, Needs, checked_planes, mean_where_defined


def contour(plane: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """bool (H, W): foreground pixels with a background pixel above, below, left or right of them.

    The frame of the image is no contour. A void pixel is neither contour nor the background that makes one.
    """
    inside = plane if valid is None else plane & valid
    outside = ~plane if valid is None else ~plane & valid
    near = np.zeros_like(outside)
    near[1:] |= outside[:-1]
    near[:-1] |= outside[1:]
    near[:, 1:] |= outside[:, :-1]
    near[:, :-1] |= outside[:, 1:]
    return inside & near


@dataclass(frozen=True)
class BoundaryF1(MeanMetric):
    """BF = 2 P R / (P + R): P is the share of predicted contour pixels nearer than the tolerance to a true
    contour pixel, R the share of true ones near a predicted one.

    tolerance: distance as a share of the image's diagonal (0.0075 in the papers); nearer means strictly less.
    Mean over the classes present in the image's truth, then over images (Badrinarayanan et al., SegNet, PAMI
    2017, which gives CamVid's numbers).
    Empty: a class absent from the truth is left out; a present class with a contour on one side only is 0, on
    no side (it fills the image in both) is left out.
    Source: Csurka, Larlus, Perronnin, What is a good evaluation measure for semantic segmentation?, BMVC
    2013.
    """

    tolerance: float = 0.0075
    name: ClassVar[str] = "boundary_f1"
    needs: ClassVar[Needs] = "planes"

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance={self.tolerance!r}, expected a share of the image's diagonal above 0")

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, H, W): bf_k (NaN where left out) and score."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(3,))
        distance = self.tolerance * math.hypot(*truth.shape[1:])
        values = np.array([_agreement(p, t, valid, distance) for p, t in zip(pred, truth, strict=True)])
        return {f"bf_{k}": float(v) for k, v in enumerate(values)} | {"score": float(mean_where_defined(values))}


def _agreement(pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None, distance: float) -> float:
    if not np.any(truth if valid is None else truth & valid):
        return math.nan
    edge_pred, edge_truth = contour(pred, valid), contour(truth, valid)
    if not edge_pred.any() or not edge_truth.any():
        return 0.0 if edge_pred.any() or edge_truth.any() else math.nan
    precision = np.mean(scipy.ndimage.distance_transform_edt(~edge_truth)[edge_pred] < distance)
    recall = np.mean(scipy.ndimage.distance_transform_edt(~edge_pred)[edge_truth] < distance)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
