"""Means of predictions: weights of experiments, the worth of views, and what a mean does to the threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy

from pipeline.prediction.oof import OofItem
from pipeline.tuning.comparisons.paired import Mixed, difference, is_clear, judge_variants, mixed, mixed_items
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.workers import over_units, worker_pool
from submissions.metrics.intervals import Interval


@dataclass(frozen=True)
class Weights:
    """Weights of experiments: to use, as fitted on all folds and without each, and the nested gain."""

    weights: dict[str, float]
    fitted: dict[str, float]
    by_fold: dict[int, dict[str, float]]
    scores: dict[str, float]
    gain: Interval
    reason: str


def fit_weights(criteria: Criteria, members: Mapping[str, Iterable[OofItem]]) -> Weights:
    """Weights of experiments from their out-of-fold predictions: non-negative, sum 1.

    They minimise the squared error of the mean probability against the truth over the scored classes, each
    image counting alike: a convex problem with one solution (Breiman, Stacked Regressions, 1996). The
    images of a fold are mixed by weights fitted without it; equal weights stay unless the nested gain of
    the host's metric is clear; folds are the first member's. Raises ValueError where the members do not have the
    same images.
    """
    given = {name: list(items) for name, items in members.items()}
    equal = mixed_items(given)
    competition, channels = criteria.competition, list(criteria.channels)
    function = partial(_moments, competition.scored_classes, [channels.index(c) for c in competition.classes])
    with worker_pool(criteria.workers) as pool:
        made = list(over_units(function, equal, "weights", pool=pool, progress=criteria.progress))
        gram, cross = np.stack([one for one, _ in made]), np.stack([other for _, other in made])
        folds = np.array([item.fold for item in equal])
        fitted = _simplex(gram.sum(axis=0), cross.sum(axis=0))
        rest = {int(fold): folds != fold for fold in sorted(set(folds))}
        held = {fold: _simplex(gram[rows].sum(axis=0), cross[rows].sum(axis=0)) for fold, rows in rest.items()}
        nested = [mixed(item.parts, held[item.fold].tolist()) for item in equal]
        variants = judge_variants(criteria, {"equal": equal, "fitted": nested}, pool)
    gain = difference(criteria, variants["fitted"], variants["equal"])
    clear = is_clear(gain, criteria.settings) and len(held) > 1
    why = "clear" if clear else f"the gain is not clear over {gain.groups} groups: equal weights stay"
    shares = {fold: dict(zip(given, values.tolist(), strict=True)) for fold, values in held.items()}
    best = dict(zip(given, fitted.tolist(), strict=True))
    return Weights(
        best if clear else dict.fromkeys(given, 1 / len(given)), best, shares,
        {name: variant.nested for name, variant in variants.items()}, gain,
        f"nested gain of fitted weights {gain.estimate:+.4f}, {why}",
    )  # fmt: skip


def _moments(scored: Sequence[int], channels: Sequence[int], item: Mixed) -> tuple[np.ndarray, np.ndarray]:
    """(M, M) mean products of the members' probabilities, and (M,) with the truth, over pixels."""
    truth, probs = item.truth(), [part.probs() for part in item.parts]
    gram, cross = np.zeros((len(probs),) * 2), np.zeros(len(probs))
    for k in scored:
        shape = truth.planes[k].shape
        valid = np.ones(shape, bool) if truth.valid is None else truth.valid
        stacked = np.stack([p[channels[k]].reshape(shape)[valid] for p in probs]).astype(np.float32) / 255
        pixels = max(stacked.shape[1], 1)
        gram += (stacked @ stacked.T).astype(float) / pixels
        cross += (stacked @ truth.planes[k][valid].astype(np.float32)).astype(float) / pixels
    return gram, cross


def _simplex(gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Weights (M,) that minimise w gram w - 2 cross w over w >= 0, sum 1; rounded to four decimals."""
    size = len(cross)
    if size == 1:
        return np.ones(1)
    scale = max(float(np.trace(gram)) / size, 1e-12)
    gram = gram / scale + 1e-9 * np.eye(size)
    found = scipy.optimize.minimize(
        lambda w: w @ gram @ w - 2 * (cross / scale) @ w,
        np.full(size, 1 / size),
        jac=lambda w: 2 * (gram @ w - cross / scale),
        bounds=[(0, 1)] * size,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(size)},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    ).x
    weights = np.round(np.clip(found, 0, 1), 4)
    weights[np.argmax(weights)] += 1 - weights.sum()
    return weights


@dataclass(frozen=True)
class ViewWorth:
    """What each view is worth: one row per view (view, alone, gain, low, high, verdict), and those kept."""

    table: pd.DataFrame
    kept: list[str]


def view_worth(criteria: Criteria, views: Mapping[str, Iterable[OofItem]]) -> ViewWorth:
    """Gain of keeping each view: score of the mean of all views minus that without it, paired over groups.

    The view whose absence gains most, clearly, is dropped, and so on with those that are left; views that
    do no harm stay, as they were declared. The table compares with all views; a single view has no gain to
    show.
    """
    given = {name: list(items) for name, items in views.items()}
    with worker_pool(criteria.workers) as pool:
        alone = judge_variants(criteria, {name: mixed_items({name: items}) for name, items in given.items()}, pool)
        kept, gains = list(given), dict.fromkeys(given, (math.nan,) * 3)
        while len(kept) > 1:
            losses = _losses_without(criteria, {name: given[name] for name in kept}, pool)
            if len(kept) == len(given):
                gains = {name: (-loss.estimate, -loss.high, -loss.low) for name, loss in losses.items()}
            harmful = [name for name in kept if is_clear(losses[name], criteria.settings)]
            if not harmful:
                break
            kept.remove(max(harmful, key=lambda name: losses[name].estimate))
    verdicts = {name: "kept" if name in kept else "dropped: it lowers the score" for name in given}
    rows = [(name, alone[name].nested, *gains[name], verdicts[name]) for name in given]
    return ViewWorth(pd.DataFrame(rows, columns=["view", "alone", "gain", "low", "high", "verdict"]), kept)


def _losses_without(
    criteria: Criteria, views: Mapping[str, Sequence[OofItem]], pool: Executor | None
) -> dict[str, Interval]:
    """What the mean gains without each of the views."""
    variants = {name: mixed_items({other: views[other] for other in views if other != name}) for name in views}
    judged = judge_variants(criteria, {"": mixed_items(views), **variants}, pool)
    return {name: difference(criteria, judged[name], judged[""]) for name in views}


@dataclass(frozen=True)
class EnsembleShift:
    """What the mean of models changes against one of them, on the same held-out images.

    threshold: best candidate of one model, of the mean; moved: their difference with its interval over
    resampled groups; gain: nested score of the mean minus that of one model; lost: score of the mean at its
    own threshold minus that at the single model's, which is what a threshold learned on one model costs.
    """

    single: int
    mean: int
    moved: int
    moved_low: int
    moved_high: int
    gain: Interval
    lost: float

    @property
    def learned(self) -> dict[str, Any]:
        """What the decision remembers of it."""
        return {
            "threshold_single": self.single,
            "threshold_mean": self.mean,
            "moved": self.moved,
            "moved_interval": [self.moved_low, self.moved_high],
            "gain": self.gain.estimate,
            "gain_interval": [self.gain.low, self.gain.high],
            "lost": self.lost,
        }


def ensemble_shift(criteria: Criteria, singles: Iterable[OofItem], means: Iterable[OofItem]) -> EnsembleShift:
    """Measure the shift from one model's probabilities to those of a mean (another seed, repeated splits).

    Candidates are thresholds 0..255, or places in the grid. Raises ValueError where the rule has no threshold
    (argmax), or the images differ.
    """
    with worker_pool(criteria.workers) as pool:
        variants = judge_variants(criteria, {"single": singles, "mean": means}, pool)
    one, mean = variants["single"].fit.choice, variants["mean"].fit.choice
    if one is None or mean is None or len(one.scores) < 2:
        raise ValueError("ensemble shift: argmax has no threshold that could move")
    outside = (1 - criteria.settings.level) / 2
    low, high = np.quantile(mean.tops - one.tops, [outside, 1 - outside])
    return EnsembleShift(
        one.chosen,
        mean.chosen,
        mean.chosen - one.chosen,
        int(np.floor(low)),
        int(np.ceil(high)),
        difference(criteria, variants["mean"], variants["single"]),
        float(mean.scores[mean.chosen] - mean.scores[one.chosen]),
    )
