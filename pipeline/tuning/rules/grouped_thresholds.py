"""Threshold rules with more than one number: by class, by group, and the folds' own thresholds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from inference.decide.rules import ThresholdRule
from pipeline.tuning.rules.histogram_rules import Evidence, Fit, Learner, score_table_at
from pipeline.tuning.scores.choice import Choice
from pipeline.tuning.scores.score_tables import CountScoreTable, table_of_counts


@dataclass
class _OfLevels(Learner):
    """What they share: every unit and class is cut at a level of its own, 0..256."""

    evidence: Evidence
    score_table: CountScoreTable
    name: str = ""
    coordinate: str | None = None

    def table(self, fit: Fit, rows: np.ndarray) -> pd.DataFrame:
        """See `Learner`; `fit.inner` are the levels int (N, K scored)."""
        levels = fit.inner[rows]
        made = score_table_at(self.evidence.metric, self.evidence.counted[rows], levels[:, None])
        return table_of_counts(self.evidence.metric, [p[:, 0] for p in (made.tp, made.fp, made.fn, made.tn)])

    def _common(self, rows: np.ndarray) -> Choice:
        return self.evidence.judge.choose(self.score_table, rows, np.arange(256)[:, None])

    def _everywhere(self, values: Sequence[int]) -> np.ndarray:
        return np.tile(np.asarray(values, np.int64), (len(self.evidence.hists), 1))


@dataclass
class PerClass(_OfLevels):
    """A threshold a class: in turn, the others fixed; twice round, in the end the plateau's middle."""

    name: str = "per_class"
    rounds: int = field(default=2)

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        evidence = self.evidence
        common = self._common(rows).chosen
        values = [common] * len(evidence.scored)
        weights = rows[None].astype(np.float64)
        for last in [False] * (self.rounds - 1) + [True]:
            for k in range(len(values)):
                score_table = self._along(values, k)
                if last:
                    values[k] = evidence.judge.choose(score_table, rows, np.arange(256)[:, None]).chosen
                else:
                    values[k] = int(np.nanargmax(score_table.scores(weights)[0]))
        rule = ThresholdRule(thresholds=evidence.thresholds(values, common))
        names = [evidence.base.classes[index] for index in evidence.scored]
        shown = {f"threshold of {name}": value for name, value in zip(names, values, strict=True)}
        return Fit(shown, evidence.with_rule(rule), None, self._everywhere(values))

    def _along(self, values: Sequence[int], k: int) -> CountScoreTable:
        """Score table of 256 thresholds of class k, the other classes cut at `values`."""
        levels = np.tile(np.asarray(values, np.int64), (len(self.evidence.hists), 256, 1))
        levels[:, :, k] = np.arange(256)
        return score_table_at(self.evidence.metric, self.evidence.counted, levels)


@dataclass
class PerGroup(_OfLevels):
    """A threshold a stratum (organ); strata with fewer than `least` groups take the common one."""

    name: str = "per_group"
    least: int = 3

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        evidence = self.evidence
        common = self._common(rows).chosen
        levels = self._everywhere([common] * len(evidence.scored))
        groups, shown = {}, {"threshold": common}
        owners = evidence.judge.meta["group"].to_numpy()
        for stratum in sorted(set(evidence.strata[rows])):
            own = rows & (evidence.strata == stratum)
            if len(set(owners[own])) < self.least:
                continue
            value = self._common(own).chosen
            groups[str(stratum)] = [value] * evidence.classes
            shown[f"threshold of {stratum}"] = value
            levels[evidence.strata == stratum] = value
        rule = ThresholdRule(thresholds=[common] * evidence.classes, groups=groups)
        return Fit(shown, evidence.with_rule(rule), None, levels)


@dataclass
class FoldThresholds(_OfLevels):
    """The mean or the median of the thresholds that each fold chooses alone."""

    name: str = "fold_mean"

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        judge = self.evidence.judge
        folds = [fold for fold in judge.folds if (rows & judge.of_fold(fold)).any()]
        each = {fold: self._common(rows & judge.of_fold(fold)).chosen for fold in folds}
        middle = np.mean if self.name == "fold_mean" else np.median
        value = round(float(middle(list(each.values()))))
        rule = ThresholdRule(thresholds=[value] * self.evidence.classes)
        shown = {"threshold": value, "of the folds": ", ".join(map(str, each.values()))}
        levels = self._everywhere([value] * len(self.evidence.scored))
        return Fit(shown, self.evidence.with_rule(rule), None, levels)
