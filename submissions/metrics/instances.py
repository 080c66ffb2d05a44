"""Metrics over instances: truth and prediction are int32 labels (H, W) or (Z, H, W), 0 is background, 1..n are
instances.

Two labels of one image cannot overlap within themselves, so at an IoU of 0.5 or more an instance matches at
most one other, and no assignment problem has to be solved. IoU is compared with thresholds in whole numbers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from submissions.metrics.base import (
    MeanMetric,
    Needs,
    SumMetric,
    checked_choice,
    checked_valid,
    columns_of,
    empty_value,
    ratio,
    sum_and_number,
)

Instances = np.ndarray | tuple[np.ndarray, np.ndarray | None]  # labels, or (labels, confidences (n,))

IOU_STEPS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
_TABLE = 1 << 22  # pairs counted in a table
_WHOLE = 10_000  # thresholds are multiples of 1 / _WHOLE


@dataclass(frozen=True)
class Overlaps:
    """Pairs of instances that share a pixel, and the area of every instance.

    truth, pred: int64 (M,) indices from 0 of a pair's instances; inter: int64 (M,) shared pixels.
    truth_areas int64 (n,), pred_areas int64 (m,): instances in order of their labels. unit: what an area of one pixel
    is counted as.
    """

    truth: np.ndarray
    pred: np.ndarray
    inter: np.ndarray
    truth_areas: np.ndarray
    pred_areas: np.ndarray
    unit: int = 1

    def unions(self) -> np.ndarray:
        """int64 (M,) union of each pair."""
        return self.truth_areas[self.truth] + self.pred_areas[self.pred] - self.inter

    def ious(self) -> np.ndarray:
        """float64 (M,) IoU of each pair."""
        return ratio(self.inter, self.unions())

    def above(self, threshold: float, *, or_equal: bool = False) -> np.ndarray:
        """bool (M,): IoU above (or at) a threshold that is a multiple of 0.0001, with no rounding."""
        left, right = self.inter * _WHOLE, self.unions() * round(threshold * _WHOLE)
        return left >= right if or_equal else left > right


def four_decimals(threshold: float) -> bool:
    """Whether a threshold is a multiple of 0.0001, and so can be compared in whole numbers."""
    return abs(threshold * _WHOLE - round(threshold * _WHOLE)) < 1e-6


def compact_labels(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label image with its instances renumbered 1..n in order, and the labels they had (n,)."""
    top = int(label.max()) if label.size else 0
    if top <= 4 * label.size + 1024:
        present = np.bincount(label.reshape(-1), minlength=1) > 0
        present[0] = False
        names = np.flatnonzero(present)
        table = np.zeros(len(present), dtype=np.int64)
        table[names] = np.arange(1, len(names) + 1)
        return table[label], names
    names = np.unique(label)
    names = names[names != 0]
    return np.where(label == 0, 0, np.searchsorted(names, label) + 1), names


def checked_label(what: str, label: np.ndarray) -> np.ndarray:
    """A label image (H, W) or volume (Z, H, W) of whole numbers from 0; ValueError for anything else."""
    label = np.asarray(label)
    if label.ndim not in (2, 3) or not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"{what} is {label.dtype} {label.shape}, expected int32 labels ([depth,] height, width)")
    if label.size and label.min() < 0:
        raise ValueError(f"{what} holds the label {label.min()}, expected 0 for background and 1..n for instances")
    return label.astype(np.int64) if label.dtype == np.uint64 else label  # times int64, uint64 is float64


def split_confidences(pred: Instances) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels or masks, and the confidences beside them if there are any."""
    return pred if isinstance(pred, tuple) else (pred, None)


def overlaps(pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> Overlaps:
    """Overlaps of two labels (H, W) or (Z, H, W); void pixels belong to no instance, and an instance wholly void is
    dropped.

    Raises ValueError for arrays that are no labels of equal shape.
    """
    pred, truth = checked_label("prediction", pred), checked_label("truth", truth)
    if pred.shape != truth.shape:
        raise ValueError(f"prediction has shape {pred.shape}, truth {truth.shape}: expected the same")
    valid = checked_valid(valid, truth.shape)
    if valid is not None:
        pred, truth = np.where(valid, pred, 0), np.where(valid, truth, 0)
    tall, wide = (int(label.max(initial=0)) + 1 for label in (truth, pred))
    if tall * wide <= _TABLE:
        return _from_table(
            np.bincount((truth * np.int64(wide) + pred).ravel(), minlength=tall * wide).reshape(tall, wide)
        )
    p, pred_names = compact_labels(pred)
    t, truth_names = compact_labels(truth)
    wide = len(pred_names) + 1
    codes, inter = _pairs(t * wide + p, (len(truth_names) + 1) * wide)
    hit = (codes >= wide) & (codes % wide > 0)
    codes, inter = codes[hit], inter[hit]
    areas = [np.bincount(x.reshape(-1), minlength=n + 1)[1:] for x, n in ((t, len(truth_names)), (p, wide - 1))]
    return Overlaps(codes // wide - 1, codes % wide - 1, inter.astype(np.int64), areas[0], areas[1])


def _from_table(table: np.ndarray) -> Overlaps:
    """Overlaps from the number of pixels int64 (T + 1, P + 1) of every pair of labels, background first."""
    areas = table.sum(axis=1)[1:], table.sum(axis=0)[1:]
    shared = table[1:, 1:][np.ix_(areas[0] > 0, areas[1] > 0)]
    truth, pred = np.nonzero(shared)
    return Overlaps(truth, pred, shared[truth, pred], areas[0][areas[0] > 0], areas[1][areas[1] > 0])


def _pairs(codes: np.ndarray, n_codes: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes that occur, ascending, and how often: by a table where it is small, else by sorting."""
    if n_codes > _TABLE:
        return np.unique(codes, return_counts=True)
    table = np.bincount(codes.reshape(-1), minlength=n_codes)
    present = np.flatnonzero(table)
    return present, table[present]


@dataclass(frozen=True)
class InstanceSweep(MeanMetric):
    """Mean over IoU thresholds of a function of matched, unmatched and missed instances; mean over images.

    thresholds: IoUs from 0.5, multiples of 0.0001; a match is an IoU above the threshold.
    Empty: no instance in truth and prediction is 1; in one of them alone it is 0.
    """

    thresholds: tuple[float, ...] = IOU_STEPS
    needs: ClassVar[Needs] = "instances"

    def __post_init__(self) -> None:
        values = tuple(self.thresholds)
        if not values or any(not 0.5 <= t < 1 or not four_decimals(t) for t in values):
            raise ValueError(f"thresholds={values}, expected IoUs in [0.5, 1) with at most four decimals")
        object.__setattr__(self, "thresholds", values)

    @abstractmethod
    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """Scores (...) from numbers of instances (...)."""

    def rows(self, pred: Instances, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of two labels (H, W) or (Z, H, W): truths, predictions, tp_<threshold>, score. No confidences."""
        found = overlaps(split_confidences(pred)[0], truth, valid)
        truths, predictions = len(found.truth_areas), len(found.pred_areas)
        row = {"truths": float(truths), "predictions": float(predictions)}
        tp = np.array([np.count_nonzero(found.above(t)) for t in self.thresholds], dtype=np.int64)
        row |= {f"tp_{t:g}": float(n) for t, n in zip(self.thresholds, tp, strict=True)}
        void = valid is not None and not np.any(valid)
        score = math.nan if void else float(np.mean(self.value(tp, predictions - tp, truths - tp)))
        return row | {"score": score}


@dataclass(frozen=True)
class Dsb2018Precision(InstanceSweep):
    """Mean over IoU 0.5 .. 0.95 of TP / (TP + FP + FN), instances matched at IoU > t; mean over images.

    Empty: as `InstanceSweep`: both empty 1, one of them 0 (the host's images all hold nuclei).
    Source: evaluation page of Kaggle's 2018 Data Science Bowl.
    """

    name: ClassVar[str] = "dsb2018_precision"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
        return ratio(tp, tp + fp + fn, 1.0)


@dataclass(frozen=True)
class F2OverIoU(InstanceSweep):
    """Mean over IoU 0.5 .. 0.95 of F2 = 5 TP / (5 TP + 4 FN + FP), matched at IoU > t; mean over images.

    Empty: an image with no ship and none predicted is 1; any prediction on it makes it 0.
    Source: evaluation page of Kaggle's Airbus Ship Detection Challenge (2018).
    """

    name: ClassVar[str] = "f2_over_iou"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
        return ratio(5 * tp, 5 * tp + 4 * fn + fp, 1.0)


@dataclass(frozen=True)
class PanopticQuality(SumMetric):
    """PQ = sum of the matched pairs' IoU / (TP + FP / 2 + FN / 2), matched at IoU > 0.5, one class.

    over: 'dataset' (sums over images first, as the paper) or 'images' (mean of the images' PQ).
    Void: void pixels count for no IoU; an unmatched prediction more than half of which is void is no FP.
    Empty: no instance in truth and prediction is 0/0: 'skip' (left out) unless `empty` gives a number.
    Source: Kirillov et al., Panoptic Segmentation, CVPR 2019.
    """

    over: str = "dataset"
    empty: float | str | None = None
    name: ClassVar[str] = "panoptic_quality"
    needs: ClassVar[Needs] = "instances"

    def __post_init__(self) -> None:
        checked_choice("over", self.over, ("images", "dataset"))
        empty_value(self.empty, math.nan)

    def rows(self, pred: Instances, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of two labels (H, W) or (Z, H, W): iou_sum, tp, fp, fn and score. Makes no use of confidences."""
        label = split_confidences(pred)[0]
        found = overlaps(label, truth, valid)
        match = found.above(0.5)
        tp = int(np.count_nonzero(match))
        fp = len(found.pred_areas) - tp
        if valid is not None:
            fp -= _mostly_void(np.asarray(label), valid, found, match)
        row = {"iou_sum": math.fsum(found.ious()[match]), "tp": float(tp), "fp": float(fp)}
        row["fn"] = float(len(found.truth_areas) - tp)
        return row | {"score": float(self._quality(np.array(list(row.values()))))}

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        if self.over == "images":
            return sum_and_number(columns_of(table, ["score"])[:, 0])
        return columns_of(table, ["iou_sum", "tp", "fp", "fn"])

    def finish(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[..., 0], sums[..., 1]) if self.over == "images" else self._quality(sums)

    def _quality(self, sums: np.ndarray) -> np.ndarray:
        iou, tp, fp, fn = np.moveaxis(sums, -1, 0)
        return ratio(iou, tp + fp / 2 + fn / 2, empty_value(self.empty, math.nan))


def _mostly_void(pred: np.ndarray, valid: np.ndarray, found: Overlaps, match: np.ndarray) -> int:
    """Number of predictions with a valid pixel, no match, and more than half of their area void."""
    whole, names = compact_labels(pred)
    area = np.bincount(whole.reshape(-1), minlength=len(names) + 1)[1:]
    seen = np.bincount(whole[valid], minlength=len(names) + 1)[1:]
    seen, area = seen[seen > 0], area[seen > 0]
    matched = np.zeros(len(seen), dtype=bool)
    matched[found.pred[match]] = True
    return int(np.count_nonzero(~matched & (2 * (area - seen) > area)))
