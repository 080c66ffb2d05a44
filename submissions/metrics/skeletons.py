"""Centreline Dice: whether the middle of each tube is found, and no middle is found outside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy

from submissions.metrics.base import MeanMetric, Needs, checked_planes, empty_value, mean_where_defined, ratio
from submissions.metrics.volumes import bounding_box


def skeleton(mask: np.ndarray) -> np.ndarray:
    """bool, the shape of a bool plane or volume: its middle lines (scikit-image: Zhang 1984 in 2D, Lee 1994 in 3D).

    A component that the thinning removes whole, as scikit-image's does with a bar or sheet two voxels thick, is its own
    skeleton: an empty one would say that a perfect prediction found nothing.
    """
    from skimage.morphology import skeletonize  # the one use of scikit-image here, and slow to import

    out = np.zeros_like(mask)
    if mask.any():
        box = bounding_box(mask)
        out[box] = skeletonize(mask[box]) > 0
        parts, _ = scipy.ndimage.label(mask[box], scipy.ndimage.generate_binary_structure(mask.ndim, mask.ndim))
        found = np.unique(parts[out[box]])
        out[box] |= mask[box] & ~np.isin(parts, found)
    return out


@dataclass(frozen=True)
class ClDice(MeanMetric):
    """clDice = 2 P S / (P + S): P is the share of the prediction's skeleton inside the truth, S the share of the
    truth's skeleton inside the prediction; mean over classes, then over images or volumes.

    Empty: both empty is 1 unless `empty` says otherwise ('skip' leaves it out); one of them empty is 0. Void is
    background in both.
    Source: Shit et al., clDice, CVPR 2021 (arXiv:2003.07311).
    """

    empty: float | str | None = None
    name: ClassVar[str] = "cl_dice"
    needs: ClassVar[Needs] = "planes"

    def __post_init__(self) -> None:
        empty_value(self.empty, 1.0)

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, H, W) or (K, Z, H, W): cl_dice_k (NaN where left out) and score."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(3, 4))
        if valid is not None:
            pred, truth = pred & valid, truth & valid
        void = valid is not None and not valid.any()
        empty = math.nan if void else empty_value(self.empty, 1.0)
        values = np.array([_centreline_dice(p, t, empty) for p, t in zip(pred, truth, strict=True)])
        row = {f"cl_dice_{k}": float(value) for k, value in enumerate(values)}
        return row | {"score": float(mean_where_defined(values))}


def _centreline_dice(pred: np.ndarray, truth: np.ndarray, empty: float) -> float:
    if not pred.any() and not truth.any():
        return empty
    middle_pred, middle_truth = skeleton(pred), skeleton(truth)
    precision = ratio(np.count_nonzero(middle_pred & truth), np.count_nonzero(middle_pred), 0.0)
    sensitivity = ratio(np.count_nonzero(middle_truth & pred), np.count_nonzero(middle_truth), 0.0)
    return float(ratio(2 * precision * sensitivity, precision + sensitivity, 0.0))
