"""Metrics that follow from pixel counts: Dice, IoU, F-beta, recall, precision, accuracy, MCC, TGS precision.

A predicted plane is compared with its truth over the valid pixels: tp, fp, fn, tn are counted. An image without a
valid pixel has no score (NaN) and is left out. Where a metric's ratio is 0/0 its parameter `empty` decides: a number
to score, or 'skip' (left out).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from submissions.metrics.base import (
    Needs,
    SumMetric,
    checked_choice,
    checked_multiplicities,
    checked_planes,
    columns_of,
    empty_value,
    exact_sum,
    mean_where_defined,
    number_of_classes,
    ratio,
    sum_and_number,
)

COUNTS = ("tp", "fp", "fn", "tn")
_STRIP = 1 << 22  # pixels that are compared at once


def pixel_counts(pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """int64 (4, K): tp, fp, fn, tn of bool planes (K, ...) over the valid pixels of spatial shape (...)."""
    total = int(np.prod(truth.shape[1:])) if valid is None else int(np.count_nonzero(valid))
    out = np.empty((4, len(truth)), dtype=np.int64)
    for k, (p, t) in enumerate(zip(pred, truth, strict=True)):
        tp, said, true = _counted(p, t, valid)
        out[:, k] = tp, said - tp, true - tp, total - said - true + tp
    return out


def _counted(pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """int64 (3,): valid pixels set in both, in `pred` and in `truth`; large planes strip by strip."""
    found = np.zeros(3, np.int64)
    step = max(1, _STRIP // max(1, math.prod(truth.shape[1:])))
    for rows in (slice(top, top + step) for top in range(0, len(truth), step)):
        p, t = pred[rows], truth[rows]
        if valid is not None:
            p, t = p & valid[rows], t & valid[rows]
        found += [np.count_nonzero(p & t), np.count_nonzero(p), np.count_nonzero(t)]
    return found


@dataclass(frozen=True)
class CountMetric(SumMetric):
    """A metric that follows from tp, fp, fn, tn of each class.

    over: 'images' (mean of the images' scores) or 'dataset' (counts are summed over all images first).
    """

    over: str = "images"
    needs: ClassVar[Needs] = "planes"

    def __post_init__(self) -> None:
        checked_choice("over", self.over, ("images", "dataset"))

    @abstractmethod
    def from_counts(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        """Scores (...) from counts (..., K) of K classes; each score follows from its own counts only."""

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, H, W) or (K, Z, H, W): tp_k, fp_k, fn_k, tn_k and score.

        Raises ValueError for another dtype, unequal shapes, or a `valid` that is not bool of the spatial
        shape.
        """
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(3, 4))
        counts = pixel_counts(pred, truth, valid)
        row = {f"{name}_{k}": float(n) for name, per in zip(COUNTS, counts, strict=True) for k, n in enumerate(per)}
        return row | {"score": float(self.from_counts(*counts))}

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        k = number_of_classes(table, "tp")
        counts = columns_of(table, [f"{name}_{i}" for name in COUNTS for i in range(k)])
        if self.over == "dataset":
            return counts
        return sum_and_number(self.from_counts(*np.moveaxis(counts.reshape(-1, 4, k), 1, 0)))

    def finish(self, sums: np.ndarray) -> np.ndarray:
        if self.over == "images":
            return ratio(sums[..., 0], sums[..., 1])
        counts = sums.reshape(*sums.shape[:-1], 4, -1)
        return self.from_counts(*np.moveaxis(counts, -2, 0))

    def curve(
        self,
        tp: np.ndarray,
        fp: np.ndarray,
        fn: np.ndarray,
        tn: np.ndarray,
        multiplicities: np.ndarray | None = None,
    ) -> np.ndarray:
        """Scores (...) of N images from counts (N, ..., K), such as one score for each threshold in between.

        With multiplicities (B, N), how often each image counts in B resamples, scores (B, ...).

        Without multiplicities each score equals `score` of the table made at that point, bit for bit.
        """
        if self.over == "images":
            parts = sum_and_number(self.from_counts(tp, fp, fn, tn))
        else:
            parts = np.stack([tp, fp, fn, tn], axis=-2).astype(np.float64)
            parts = parts.reshape(*parts.shape[:-2], -1)
        if multiplicities is None:
            whole = self.over == "dataset"  # counts are whole numbers: their plain sum is exact
            return self.finish(parts.sum(axis=0) if whole else exact_sum(parts))
        weights = checked_multiplicities(multiplicities, len(parts))
        return self.finish((weights @ parts.reshape(len(parts), -1)).reshape(len(weights), *parts.shape[1:]))


@dataclass(frozen=True)
class ClassMetric(CountMetric):
    """A count metric with a value for each class.

    average: 'macro' (mean over classes, those without a value left out) or 'micro' (counts summed over
    classes).
    classes: indices of the planes that count, or one index for a single class; None is all of them.
    empty: score where the ratio is 0/0: a number, 'skip', or None: 1 over images, 'skip' over the data set.
    """

    average: str = "macro"
    classes: tuple[int, ...] | int | None = None
    empty: float | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_choice("average", self.average, ("macro", "micro"))
        empty_value(self.empty, 1.0)
        if self.classes is not None:
            chosen = (self.classes,) if isinstance(self.classes, int) else tuple(self.classes)
            if not chosen or any(not isinstance(k, int) or isinstance(k, bool) or k < 0 for k in chosen):
                raise ValueError(f"classes={self.classes!r}, expected indices of planes, such as 1 or [0, 2]")
            object.__setattr__(self, "classes", chosen)

    @abstractmethod
    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        """The metric of one plane from its counts, elementwise; `empty` where it is 0/0."""

    def class_values(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        """Values (..., K) of the chosen classes from counts (..., K); NaN: no valid pixel, or 0/0 skipped."""
        tp, fp, fn, tn = (self._chosen(count) for count in (tp, fp, fn, tn))
        return self._defined(tp, fp, fn, tn)

    def from_counts(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        """Scores (...) from counts (..., K): mean of the classes, or the value of their summed counts."""
        if self.average == "macro":
            return mean_where_defined(self.class_values(tp, fp, fn, tn))
        tp, fp, fn, tn = (self._chosen(count).sum(axis=-1) for count in (tp, fp, fn, tn))
        return self._defined(tp, fp, fn, tn)

    def _defined(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        empty = empty_value(self.empty, 1.0 if self.over == "images" else math.nan)
        return np.where(tp + fp + fn + tn == 0, math.nan, self.value(tp, fp, fn, tn, empty))

    def _chosen(self, count: np.ndarray) -> np.ndarray:
        count = np.asarray(count)
        if not isinstance(self.classes, tuple):
            return count
        if max(self.classes) >= count.shape[-1]:
            raise ValueError(f"classes={list(self.classes)}, but there are {count.shape[-1]} planes (0-based)")
        return count[..., list(self.classes)]


@dataclass(frozen=True)
class Dice(ClassMetric):
    """Dice = 2 tp / (2 tp + fp + fn), the F1 of pixels (Dice 1945).

    Empty: truth and prediction both empty is 1 over images, as at ultrasound nerve, SIIM, Severstal, HuBMAP
    2021/22 (Kaggle's evaluation pages); 'skip' over the data set. One of them empty is 0.
    """

    name: ClassVar[str] = "dice"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        return ratio(2 * tp, 2 * tp + fp + fn, empty)


@dataclass(frozen=True)
class IoU(ClassMetric):
    """IoU = tp / (tp + fp + fn) (Jaccard 1912); over the data set, macro, it is VOC's and CamVid's mean IoU.

    Empty: both empty is 1 over images; over the data set a class that is in neither is left out of the mean.
    """

    name: ClassVar[str] = "iou"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        return ratio(tp, tp + fp + fn, empty)


@dataclass(frozen=True)
class Recall(ClassMetric):
    """Recall = tp / (tp + fn); macro over the data set it is the mean class accuracy of CamVid tables.

    Empty: a truth with no pixel is 0/0, whatever is predicted: 1 over images, left out over the data set.
    """

    name: ClassVar[str] = "recall"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        return ratio(tp, tp + fn, empty)


@dataclass(frozen=True)
class Precision(ClassMetric):
    """Precision = tp / (tp + fp).

    Empty: a prediction with no pixel is 0/0, whatever the truth: 1 over images, left out over the data set.
    """

    name: ClassVar[str] = "precision"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        return ratio(tp, tp + fp, empty)


@dataclass(frozen=True)
class FBeta(ClassMetric):
    """F-beta = (1 + b²) tp / ((1 + b²) tp + b² fn + fp) (van Rijsbergen 1979).

    Vesuvius ink detection: beta 0.5 over the data set (its evaluation page). beta 1 is Dice.
    Empty: truth and prediction both empty is 1 over images, left out over the data set.
    """

    beta: float = 0.5
    name: ClassVar[str] = "f_beta"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta > 0:
            raise ValueError(f"beta={self.beta!r}, expected a number above 0")

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        square = self.beta**2
        return ratio((1 + square) * tp, (1 + square) * tp + square * fn + fp, empty)


@dataclass(frozen=True)
class PixelAccuracy(CountMetric):
    """Share of valid pixels that are right; over the data set it is CamVid's global accuracy.

    One plane: (tp + tn) / n. Several exclusive planes (one-hot): sum of tp over the planes / n. With
    exclusive=False the planes are independent: mean over planes of (tp + tn) / n.
    Empty masks need no rule; a unit with no valid pixel has no score.
    """

    exclusive: bool = True
    name: ClassVar[str] = "pixel_accuracy"

    def from_counts(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        tp, fp, fn, tn = (np.asarray(count) for count in (tp, fp, fn, tn))
        pixels = tp + fp + fn + tn
        if self.exclusive and tp.shape[-1] > 1:
            return ratio(tp.sum(axis=-1), pixels[..., 0])
        return mean_where_defined(ratio(tp + tn, pixels))


@dataclass(frozen=True)
class TgsPrecision(ClassMetric):
    """Share of the thresholds 0.5, 0.55 .. 0.95 that the IoU of an image's one mask exceeds, mean over images.

    With one mask for truth and one for prediction the page's TP / (TP + FP + FN) at a threshold is 1 or 0.
    Empty: both empty is 1; empty truth under a non-empty prediction is 0, and the other way round.
    Thresholds are compared in whole numbers, so an IoU of exactly 0.55 does not pass 0.55.
    Source: evaluation page of Kaggle's TGS Salt Identification Challenge (2018).
    """

    name: ClassVar[str] = "tgs_precision"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_choice("over", self.over, ("images",))
        checked_choice("average", self.average, ("macro",))

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        union = tp + fp + fn
        passed = np.zeros(np.shape(union), dtype=np.int64)
        for twentieths in range(10, 20):
            passed += 20 * tp > twentieths * union
        return np.where(union == 0, empty, passed / 10)


@dataclass(frozen=True)
class Mcc(ClassMetric):
    """Matthews correlation (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)), from -1 to 1.

    Where truth or prediction is all foreground or all background the correlation is 0/0 and scored 0, as scikit-learn
    does; where both are, and the same, the prediction is right and `empty` holds: 1 over images, left out over the
    data set.
    Source: Matthews 1975; Chicco and Jurman 2020, doi:10.1186/s12864-019-6413-7.
    """

    name: ClassVar[str] = "mcc"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        tp, fp, fn, tn = (np.asarray(count, dtype=np.float64) for count in (tp, fp, fn, tn))
        # square roots first: the product of four counts of a large volume leaves the range of exact numbers
        norm = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
        same = (fp + fn == 0) & ((tp == 0) | (tn == 0))
        return np.where(same, empty, ratio(tp * tn - fp * fn, norm, 0.0))


@dataclass(frozen=True)
class BalancedAccuracy(ClassMetric):
    """Mean of sensitivity tp / (tp + fn) and specificity tn / (tn + fp) of each class.

    Empty: where the truth is all foreground only sensitivity is defined, where it is all background only specificity,
    and that one is the value, as in scikit-learn's `balanced_accuracy_score`; `empty` is not needed.
    """

    name: ClassVar[str] = "balanced_accuracy"

    def value(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float) -> np.ndarray:
        halves = np.stack([ratio(tp, tp + fn), ratio(tn, tn + fp)], axis=-1)
        return mean_where_defined(halves)
