"""Average precision of objects with confidences, at one IoU, of one class or as the mean over several."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from submissions.metrics.base import (
    Metric,
    Needs,
    checked_multiplicities,
    checked_valid,
    columns_of,
    mean_where_defined,
    number_of_classes,
)
from submissions.metrics.instances import (
    Instances,
    Overlaps,
    checked_label,
    compact_labels,
    four_decimals,
    overlaps,
    split_confidences,
)

_CELLS = 1 << 22  # resampled rounds × detections held at once


@dataclass(frozen=True)
class _OfDetections(Metric):
    """What both share: the IoU, and a score that is a bootstrap of one round."""

    iou: float = 0.6

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1 or not four_decimals(self.iou):
            raise ValueError(f"iou={self.iou!r}, expected a number in (0, 1] with at most four decimals")

    def score(self, table: pd.DataFrame, weights: np.ndarray | None = None) -> float:
        weights = np.ones(len(table)) if weights is None else weights
        return float(self.bootstrap(table, checked_multiplicities(weights, len(table), dimensions=1)[None])[0])


@dataclass(frozen=True)
class AveragePrecision(_OfDetections):
    """Area under the precision-recall curve over all images' detections, at one IoU.

    Detections of an image are taken by falling confidence; each is compared with the truth it overlaps most,
    and is a true positive when that IoU is at least `iou` and the truth is not taken yet. Precision is
    replaced by its maximum at equal or higher recall, and summed over the steps of recall. Equal confidences
    are one point of the curve (the host's code leaves their order open).
    Empty: an image with no truth only adds false positives; with no truth at all the score is NaN.
    Source: OpenImages instance segmentation challenge 2019 with one class, as HuBMAP - Hacking the Human
    Vasculature (Kaggle 2023) uses it with IoU 0.6.
    """

    name: ClassVar[str] = "openimages_ap"
    needs: ClassVar[Needs] = "instances"

    def rows(self, pred: Instances, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of one image: truths, conf_i and tp_i of each detection by falling confidence, and score.

        `pred` is (detections, confidences), or detections alone, which are then all of confidence 1.
        Detections are labels (H, W) or (Z, H, W) or, where they overlap, bool masks (n, H, W) or (n, Z, H, W);
        confidences (n,) come in order of the labels or masks; `truth` are labels. A detection with no valid pixel
        is left out.
        Raises ValueError where there are not as many confidences as detections, or one is not finite.
        """
        return _detections(pred, truth, valid, self.iou)

    def bootstrap(self, table: pd.DataFrame, multiplicities: np.ndarray) -> np.ndarray:
        return _precisions(table, checked_multiplicities(multiplicities, len(table)))


@dataclass(frozen=True)
class MeanAveragePrecision(_OfDetections):
    """Mean over classes of `openimages_ap`: of each class the area under the curve of its objects in all images.

    Empty: a class with no truth in any image is left out of the mean, whatever was found of it; NaN where that is all.
    Source: OpenImages instance segmentation challenge 2019, as Human Protein Atlas - Single Cell Classification (Kaggle
    2021) uses it with 19 classes and IoU 0.6.
    """

    name: ClassVar[str] = "openimages_map"
    needs: ClassVar[Needs] = "objects"

    def rows(
        self, pred: Sequence[Instances], truth: Sequence[np.ndarray], valid: np.ndarray | None = None
    ) -> dict[str, float]:
        """Row of one image: truths_k, conf_k_i and tp_k_i of each class k as `AveragePrecision.rows`, and score.

        `pred` and `truth`: for each class what `AveragePrecision.rows` takes, in the same order.
        Raises as that, and where there are not as many classes in both.
        """
        if len(pred) != len(truth):
            raise ValueError(f"objects of {len(pred)} classes were found, and the truth has {len(truth)}")
        row: dict[str, float] = {}
        scores = []
        for k, (found, there) in enumerate(zip(pred, truth, strict=True)):
            own = _detections(found, there, valid, self.iou)
            scores.append(own.pop("score"))
            row |= {name.replace("_", f"_{k}_") if "_" in name else f"{name}_{k}": value for name, value in own.items()}
        return row | {"score": float(mean_where_defined(np.array(scores)))}

    def bootstrap(self, table: pd.DataFrame, multiplicities: np.ndarray) -> np.ndarray:
        weights = checked_multiplicities(multiplicities, len(table))
        classes = range(number_of_classes(table, "truths"))
        return mean_where_defined(np.stack([_precisions(table, weights, f"_{k}") for k in classes]), axis=0)


def _detections(pred: Instances, truth: np.ndarray, valid: np.ndarray | None, iou: float) -> dict[str, float]:
    """See `AveragePrecision.rows`."""
    pred, confidences = split_confidences(pred)
    pred = np.asarray(pred)
    if pred.dtype == np.bool_:
        n, found, kept = len(pred), *_mask_overlaps(pred, truth, valid)
    else:
        names = compact_labels(checked_label("prediction", pred))[1]
        n, found = len(names), overlaps(pred, truth, valid)
        kept = np.arange(n) if valid is None else np.flatnonzero(np.isin(names, pred[valid]))
    scores = np.ones(n) if confidences is None else np.asarray(confidences, dtype=np.float64)
    if scores.shape != (n,) or not np.isfinite(scores).all():
        raise ValueError(f"confidences have shape {scores.shape}, expected {n} finite numbers: one per instance")
    order, hit = _match(found, scores[kept], iou)
    row = {"truths": float(len(found.truth_areas))}
    for i, (confidence, tp) in enumerate(zip(scores[kept][order], hit, strict=True)):
        row |= {f"conf_{i}": float(confidence), f"tp_{i}": float(tp)}
    one = np.ones((1, 1))
    where = np.zeros(len(hit), dtype=np.int64)
    return row | {"score": float(_areas(scores[kept][order], hit, where, one, one[0] * row["truths"])[0])}


def _precisions(table: pd.DataFrame, weights: np.ndarray, of: str = "") -> np.ndarray:
    """AP (B,) of a table whose rows count `weights` (B, N) times; `of`: what the class's columns bear, such as '_3'."""
    truths = weights @ columns_of(table, [f"truths{of}"])[:, 0]
    pattern = re.compile(rf"conf{of}_([0-9]+)")
    numbers = sorted(int(match[1]) for match in map(pattern.fullmatch, map(str, table.columns)) if match)
    if not numbers:
        return np.where(truths > 0, 0.0, math.nan)
    confidence = columns_of(table, [f"conf{of}_{i}" for i in numbers])
    tp = columns_of(table, [f"tp{of}_{i}" for i in numbers])
    row, column = np.nonzero(~np.isnan(confidence))
    order = np.argsort(-confidence[row, column], kind="stable")
    row, column = row[order], column[order]
    step = max(1, _CELLS // max(1, len(row)))
    parts = [
        _areas(confidence[row, column], tp[row, column], row, weights[i : i + step], truths[i : i + step])
        for i in range(0, len(weights), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _mask_overlaps(masks: np.ndarray, truth: np.ndarray, valid: np.ndarray | None) -> tuple[Overlaps, np.ndarray]:
    """Overlaps of bool masks (n, ...) with labels (...), and the indices of masks with a valid pixel."""
    truth = checked_label("truth", truth)
    if masks.dtype != np.bool_ or masks.shape[1:] != truth.shape:
        raise ValueError(
            f"masks are {masks.dtype} {masks.shape}, expected bool (n, {', '.join(map(str, truth.shape))})"
        )
    valid = checked_valid(valid, truth.shape)
    if valid is not None:
        masks, truth = masks & valid, np.where(valid, truth, 0)
    label, names = compact_labels(truth)
    areas = masks.sum(axis=tuple(range(1, masks.ndim)), dtype=np.int64)
    kept = np.flatnonzero(areas) if valid is not None else np.arange(len(masks))
    table = np.zeros((len(kept), len(names) + 1), dtype=np.int64)
    for i, k in enumerate(kept):
        table[i] = np.bincount(label[masks[k]], minlength=len(names) + 1)
    p, t = np.nonzero(table[:, 1:])
    truth_areas = np.bincount(label.reshape(-1), minlength=len(names) + 1)[1:]
    return Overlaps(t, p, table[p, t + 1], truth_areas, areas[kept]), kept


def _match(found: Overlaps, scores: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Order of the detections by falling confidence (ties: larger IoU first), and hit bool in that order."""
    best, partner, good = np.zeros(len(scores)), np.full(len(scores), -1), np.zeros(len(scores), dtype=bool)
    ious, enough = found.ious(), found.above(iou, or_equal=True)
    for pair in np.lexsort((-found.truth, ious)):  # the last one to write has the largest IoU
        k = found.pred[pair]
        best[k], partner[k], good[k] = ious[pair], found.truth[pair], enough[pair]
    order = np.lexsort((-best, -scores))
    taken, hit = set(), np.zeros(len(scores), dtype=bool)
    for i, detection in enumerate(order):
        if good[detection] and partner[detection] not in taken:
            taken.add(partner[detection])
            hit[i] = True
    return order, hit


def _areas(
    confidence: np.ndarray, tp: np.ndarray, row: np.ndarray, weights: np.ndarray, truths: np.ndarray
) -> np.ndarray:
    """AP (B,) of detections (D,) in falling order, whose image `row` counts `weights` (B, N) times."""
    if len(confidence) == 0:
        return np.where(truths > 0, 0.0, math.nan)
    drawn = weights[:, row]
    last = np.append(confidence[1:] != confidence[:-1], True)
    true = np.cumsum(drawn * tp, axis=1)[:, last]
    every = np.cumsum(drawn, axis=1)[:, last]
    precision = np.divide(true, every, out=np.zeros_like(true), where=every > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    steps = np.diff(true, axis=1, prepend=0.0)
    return np.divide((steps * precision).sum(axis=1), truths, out=np.full(len(truths), math.nan), where=truths > 0)
