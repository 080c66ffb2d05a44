"""Threshold rules that follow from pixel counts: learned and scored from joint histograms alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision, Gate
from inference.decide.rules import NEVER, QuantileRule, ThresholdRule, quantile_threshold
from pipeline.tuning.scores.choice import Choice, Judge
from pipeline.tuning.scores.score_tables import CountScoreTable, ScoreTable
from pipeline.tuning.scores.units import Request
from submissions.metrics import CountMetric, counts

GATE_TOPS = tuple(range(28, 256, 28))
GATE_THRESHOLDS = tuple(range(12, 256, 12))
SHARES = tuple(float(share) for share in np.round(np.geomspace(0.001, 0.9, 64), 6))


@dataclass(frozen=True)
class Fit:
    """What a rule learned: values to show, how to decide, the choice behind it, and what the rule keeps."""

    values: dict[str, Any]
    decision: Decision
    choice: Choice | None = None
    inner: Any = None


class Learner(ABC):
    """A rule that learns from the units it is given.

    coordinate: what its candidates lie along, for the curve; None where there is no single one.
    """

    name: str
    coordinate: str | None

    def requests(self) -> list[Request]:
        """What must be scored on pixels before the first `fit`; nothing of a rule that needs counts alone."""
        return []

    @abstractmethod
    def fit(self, rows: np.ndarray) -> Fit:
        """Learn from the units bool (N,)."""

    def pixels(self, fit: Fit, rows: np.ndarray) -> list[Request]:
        """What must be scored on pixels before `table` of this fit, more than `requests`."""
        return []

    @abstractmethod
    def table(self, fit: Fit, rows: np.ndarray) -> pd.DataFrame:
        """The metric's rows of the units bool (N,) under what was learned."""


@dataclass(frozen=True)
class Evidence:
    """Everything count rules learn from.

    hists: int64 (N, K, 3, 256) of all K classes, as `unit_histograms` gives them. scored: indices of the classes the
    metric counts. strata: object (N,). base: the decision that a rule completes.
    """

    metric: CountMetric
    judge: Judge
    hists: np.ndarray
    scored: Sequence[int]
    strata: np.ndarray
    base: Decision

    @property
    def classes(self) -> int:
        """K, with those that are not scored."""
        return self.hists.shape[1]

    @cached_property
    def counted(self) -> np.ndarray:
        """int64 (N, K scored, 2, 256): joint histograms of the pixels that are scored."""
        return self.hists[:, self.scored, :2]

    @cached_property
    def shown(self) -> np.ndarray:
        """int64 (N, K scored, 256) of all pixels, those that are not scored too: what a gate and a share look at."""
        return np.asarray(self.hists[:, self.scored].sum(axis=2))

    def with_rule(self, rule: Any, gate: Gate | None = None) -> Decision:
        """The base with this rule."""
        return self.base.model_copy(update={"rule": rule, "gate": gate})

    def thresholds(self, values: Sequence[int], common: int) -> list[int]:
        """One a class: `values` of the scored classes, `common` for the others."""
        found = [common] * self.classes
        for index, value in zip(self.scored, values, strict=True):
            found[index] = int(value)
        return found

    def at_levels(
        self, name: str, candidates: Sequence[tuple[dict[str, Any], Decision]], levels: np.ndarray
    ) -> Candidates:
        """The choice among candidates that cut unit n and scored class k at levels[n, c, k], see `score_table_at`."""
        score_table = score_table_at(self.metric, self.counted, levels)
        return Candidates(name, self.judge, candidates, lambda: score_table)


@dataclass
class Candidates(Learner):
    """A rule that is a choice among candidates: what is shown of each, numbers by name, and its decision.

    scored: gives their score table. Where one number alone varies, the candidates lie along it.
    """

    name: str
    judge: Judge
    candidates: Sequence[tuple[dict[str, Any], Decision]]
    scored: Callable[[], ScoreTable]

    def __post_init__(self) -> None:
        names = list(self.candidates[0][0])
        self.coordinates = np.array([list(shown.values()) for shown, _ in self.candidates], float)
        varying = [k for k, column in enumerate(self.coordinates.T) if len(set(column)) > 1]
        self.coordinate = names[varying[0]] if len(varying) == 1 else None
        if self.coordinate is not None:
            self.coordinates = self.coordinates[:, varying]

    @cached_property
    def score_table(self) -> ScoreTable:
        """What `scored` gives, made once for all fits."""
        return self.scored()

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        choice = self.judge.choose(self.score_table, rows, self.coordinates)
        return Fit(*self.candidates[choice.chosen], choice)

    def table(self, fit: Fit, rows: np.ndarray) -> pd.DataFrame:
        """See `Learner`."""
        assert fit.choice is not None
        return self.score_table.table(fit.choice.chosen, rows)


def global_rule(evidence: Evidence, score_table: CountScoreTable) -> Candidates:
    """One threshold for all classes."""
    rules = [ThresholdRule(thresholds=[t] * evidence.classes) for t in range(256)]
    candidates = [({"threshold": t}, evidence.with_rule(rule)) for t, rule in enumerate(rules)]
    return Candidates("global", evidence.judge, candidates, lambda: score_table)


def quantile_rule(evidence: Evidence) -> Candidates:
    """In every image the same share of pixels; candidates are spaced evenly in the logarithm of the share."""
    levels = np.stack([quantile_threshold(evidence.shown, share) for share in SHARES], axis=1)
    rules = [QuantileRule(shares=[share] * evidence.classes) for share in SHARES]
    candidates = [({"share": share}, evidence.with_rule(rule)) for share, rule in zip(SHARES, rules, strict=True)]
    return evidence.at_levels("quantile", candidates, levels)


def gated_rule(evidence: Evidence, areas: Sequence[int]) -> Candidates:
    """A threshold together with an empty gate: a class needs `area` pixels of q >= top, or it is empty.

    All three are chosen together. A gate below its threshold is the rule of the smallest mask.
    """
    grid = [(t, 0, 0) for t in GATE_THRESHOLDS]
    grid += [(t, top, area) for t in GATE_THRESHOLDS for top in GATE_TOPS for area in areas]
    above = np.cumsum(evidence.shown[..., ::-1], axis=-1)[..., ::-1]
    levels = [np.where(above[..., top] >= area, threshold, NEVER) for threshold, top, area in grid]
    k, candidates = evidence.classes, []
    for threshold, top, area in grid:
        gate = Gate(top=[top] * k, area=[area] * k) if area else None
        decision = evidence.with_rule(ThresholdRule(thresholds=[threshold] * k), gate)
        candidates.append(({"threshold": threshold, "top": top, "area": area}, decision))
    return evidence.at_levels("gated", candidates, np.stack(levels, axis=1))


def score_table_at(metric: CountMetric, hists: np.ndarray, levels: np.ndarray) -> CountScoreTable:
    """Score table of candidates that cut unit n and class k at levels[n, c, k] in 0..256."""
    parts = []
    for kind, part in enumerate(counts(hists)):
        none = np.zeros_like(part[..., :1]) if kind < 2 else hists.sum(axis=-1)[:, :, 1 - (kind - 2), None]
        extended = np.concatenate([part, none], axis=-1)
        parts.append(np.take_along_axis(extended, np.moveaxis(levels, 1, 2), axis=2))
    return CountScoreTable(metric, *(np.ascontiguousarray(np.moveaxis(part, 1, 2)) for part in parts))
