"""Threshold rules that follow from pixel counts: learned and scored from joint histograms alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision, Gate
from inference.decide.rules import NEVER, QuantileRule, ThresholdRule
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

    hists: int64 (N, K, 2, 256) of all K classes. scored: indices of the classes the metric counts. strata:
    object (N,). base: the decision that a rule completes.
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

    def with_rule(self, rule: Any, gate: Gate | None = None) -> Decision:
        """The base with this rule."""
        return self.base.model_copy(update={"rule": rule, "gate": gate})

    def thresholds(self, values: Sequence[int], common: int) -> list[int]:
        """One a class: `values` of the scored classes, `common` for the others."""
        found = [common] * self.classes
        for index, value in zip(self.scored, values, strict=True):
            found[index] = int(value)
        return found


@dataclass
class Candidates(Learner):
    """A rule that is a choice among the candidates of one score table."""

    name: str
    coordinate: str | None
    score_table: ScoreTable
    judge: Judge
    coordinates: np.ndarray
    decisions: Any  # candidate index -> Decision
    describe: Any  # candidate index -> dict

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        choice = self.judge.choose(self.score_table, rows, self.coordinates)
        return Fit(self.describe(choice.chosen), self.decisions(choice.chosen), choice)

    def table(self, fit: Fit, rows: np.ndarray) -> pd.DataFrame:
        """See `Learner`."""
        assert fit.choice is not None
        return self.score_table.table(np.full(len(rows), fit.choice.chosen), rows)


def global_rule(evidence: Evidence, score_table: CountScoreTable) -> Candidates:
    """One threshold for all classes."""
    return Candidates(
        "global",
        "threshold",
        score_table,
        evidence.judge,
        np.arange(256)[:, None],
        lambda t: evidence.with_rule(ThresholdRule(thresholds=[int(t)] * evidence.classes)),
        lambda t: {"threshold": int(t)},
    )


def quantile_rule(evidence: Evidence) -> Candidates:
    """In every image the same share of pixels; candidates are spaced evenly in the logarithm of the share."""
    hists = evidence.hists[:, evidence.scored]
    total = hists.sum(axis=2)
    above = np.concatenate([np.cumsum(total[..., ::-1], axis=-1)[..., ::-1], np.zeros_like(total[..., :1])], axis=-1)
    levels = np.stack([(above <= share * above[..., :1]).argmax(axis=-1) for share in SHARES], axis=1)
    score_table = score_table_at(evidence.metric, hists, levels)
    return Candidates(
        "quantile",
        "share",
        score_table,
        evidence.judge,
        np.arange(len(SHARES))[:, None],
        lambda c: evidence.with_rule(QuantileRule(shares=[SHARES[c]] * evidence.classes)),
        lambda c: {"share": SHARES[c]},
    )


def gated_rule(evidence: Evidence, areas: Sequence[int]) -> Candidates:
    """A threshold together with an empty gate: a class needs `area` pixels of q >= top, or it is empty.

    All three are chosen together. A gate below its threshold is the rule of the smallest mask.
    """
    grid = [(t, 0, 0) for t in GATE_THRESHOLDS]
    grid += [(t, top, area) for t in GATE_THRESHOLDS for top in GATE_TOPS for area in areas]
    hists = evidence.hists[:, evidence.scored]
    above = np.cumsum(hists.sum(axis=2)[..., ::-1], axis=-1)[..., ::-1]
    levels = np.empty((len(hists), len(grid), hists.shape[1]), np.int64)
    for index, (threshold, top, area) in enumerate(grid):
        levels[:, index] = np.where(above[..., top] >= area, threshold, NEVER)
    k = evidence.classes
    return Candidates(
        "gated",
        None,
        score_table_at(evidence.metric, hists, levels),
        evidence.judge,
        np.array(grid, float),
        lambda c: evidence.with_rule(
            ThresholdRule(thresholds=[grid[c][0]] * k),
            Gate(top=[grid[c][1]] * k, area=[grid[c][2]] * k) if grid[c][2] else None,
        ),
        lambda c: dict(zip(("threshold", "top", "area"), grid[c], strict=True)),
    )


def score_table_at(metric: CountMetric, hists: np.ndarray, levels: np.ndarray) -> CountScoreTable:
    """Score table of candidates that cut unit n and class k at levels[n, c, k] in 0..256."""
    parts = []
    for kind, part in enumerate(counts(hists)):
        none = np.zeros_like(part[..., :1]) if kind < 2 else hists.sum(axis=-1)[:, :, 1 - (kind - 2), None]
        extended = np.concatenate([part, none], axis=-1)
        parts.append(np.take_along_axis(extended, np.moveaxis(levels, 1, 2), axis=2))
    return CountScoreTable(metric, *(np.ascontiguousarray(np.moveaxis(part, 1, 2)) for part in parts))
