"""Two divisions of an image or volume into parts: how much one splits or merges what the other has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from submissions.metrics.base import MeanMetric, Needs, checked_valid, empty_value, ratio
from submissions.metrics.instances import Instances, checked_label, compact_labels, split_confidences


def contingency(pred: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of pixels shared by each pair of labels that meet (M,), and what each belongs to: of the truth's and of
    the prediction's label (M,) the whole number of pixels. `pred`, `truth`: int (N,); 0 is a label like any other."""
    p, t = compact_labels(pred)[0], compact_labels(truth)[0]
    codes, shared = np.unique(t * (int(p.max(initial=0)) + 1) + p, return_counts=True)
    of_truth, of_pred = np.divmod(codes, int(p.max(initial=0)) + 1)
    return shared, np.bincount(t, minlength=1)[of_truth], np.bincount(p, minlength=1)[of_pred]


def variation_of_information(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(split, merge) in bits of labels (N,): H(pred | truth), what the prediction cuts apart, and H(truth | pred),
    what it joins. Meilă 2007; as scikit-image's function of the name. (0, 0) of no pixel."""
    shared, in_truth, in_pred = contingency(pred, truth)
    shares = shared / max(1, len(truth))
    return float(-(shares * np.log2(shared / in_truth)).sum()), float(-(shares * np.log2(shared / in_pred)).sum())


def rand_sums(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Ordered pairs of different pixels that are together in both, in the truth, in the prediction; labels (N,)."""
    shared = contingency(pred, truth)[0].astype(np.float64)
    together = [np.bincount(compact_labels(label)[0]).astype(np.float64) for label in (truth, pred)]
    return tuple(float(count @ count - count.sum()) for count in (shared, *together))  # type: ignore[return-value]


@dataclass(frozen=True)
class VariationOfInformation(MeanMetric):
    """1 / (1 + alpha VOI), VOI = H(pred | truth) + H(truth | pred) in bits over the pixels that are foreground in
    either; mean over images or volumes.

    background: 'ignored' (CREMI: only pixels that are foreground in the truth count) or 'union' (the Vesuvius surface
    host's rule: those of either, background being a part).
    Empty: no foreground in either is VOI 0, a score of 1, unless `empty` says otherwise. Void pixels do not count.
    Source: Meilă 2007, doi:10.1016/j.jmva.2006.11.013; Nunez-Iglesias et al. 2013 for split and merge.
    """

    alpha: float = 1.0
    background: str = "union"
    empty: float | str | None = None
    name: ClassVar[str] = "voi"
    needs: ClassVar[Needs] = "instances"

    def __post_init__(self) -> None:
        if self.background not in ("ignored", "union"):
            raise ValueError(f"background={self.background!r}, expected 'ignored' or 'union'")
        if not self.alpha > 0:
            raise ValueError(f"alpha={self.alpha!r}, expected a number above 0")
        empty_value(self.empty, 1.0)

    def rows(self, pred: Instances, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of labels (H, W) or (Z, H, W): split and merge in bits, and score. Makes no use of confidences."""
        p, t, valid = _checked(pred, truth, valid)
        counted = t > 0 if self.background == "ignored" else (t > 0) | (p > 0)
        counted = counted if valid is None else counted & valid
        if not counted.any():
            void = valid is not None and not valid.any()
            return {"split": 0.0, "merge": 0.0, "score": math.nan if void else empty_value(self.empty, 1.0)}
        split, merge = variation_of_information(p[counted], t[counted])
        return {"split": split, "merge": merge, "score": 1 / (1 + self.alpha * (split + merge))}


@dataclass(frozen=True)
class AdaptedRand(MeanMetric):
    """F = 2 sum p_ij² / (sum t_i² + sum s_j²) over pairs of pixels that are foreground in the truth; mean over images
    or volumes. 1 - F is SNEMI3D's and CREMI's adapted Rand error.

    Empty: no foreground in the truth, or no pair of pixels together in either, is 1 unless `empty` says otherwise.
    Void pixels do not count.
    Source: Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142, as scikit-image's `adapted_rand_error`.
    """

    empty: float | str | None = None
    name: ClassVar[str] = "adapted_rand"
    needs: ClassVar[Needs] = "instances"

    def __post_init__(self) -> None:
        empty_value(self.empty, 1.0)

    def rows(self, pred: Instances, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of labels (H, W) or (Z, H, W): precision, the share of pairs together in the prediction that are together
        in the truth, recall, the other way round (scikit-image 0.26 exchanges the two), and score. Makes no use of
        confidences."""
        p, t, valid = _checked(pred, truth, valid)
        counted = t > 0 if valid is None else (t > 0) & valid
        both, in_truth, in_pred = rand_sums(p[counted], t[counted])
        void = valid is not None and not valid.any()
        empty = math.nan if void else empty_value(self.empty, 1.0)
        row = {"precision": float(ratio(both, in_pred, 1.0)), "recall": float(ratio(both, in_truth, 1.0))}
        return row | {"score": float(ratio(2 * both, in_truth + in_pred, empty))}


def _checked(
    pred: Instances, truth: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    p, t = checked_label("prediction", split_confidences(pred)[0]), checked_label("truth", truth)
    if p.shape != t.shape:
        raise ValueError(f"prediction has shape {p.shape}, truth {t.shape}: expected the same")
    return p, t, checked_valid(valid, t.shape)
