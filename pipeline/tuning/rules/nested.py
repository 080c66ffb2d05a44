"""What a rule is worth on images that it was not learned from: learned on all folds but one, scored on that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tuning.rules.histogram_rules import Fit, Learner
from pipeline.tuning.scores.choice import Judge
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.units import Scorer
from submissions.metrics.intervals import Interval, bootstrap_interval, paired_bootstrap


@dataclass(frozen=True)
class RuleReport:
    """One rule, learned and judged.

    score: of what was learned from all units, on all units. optimum: of the best candidate there. nested:
    chosen without a fold, scored on it. optimism: optimum - nested. interval: of the nested estimate, over
    groups. gain: nested difference to the first rule, paired; None for the first. fits: by the fold left
    out.
    """

    name: str
    fit: Fit
    fits: dict[int, Fit]
    table: pd.DataFrame
    nested_table: pd.DataFrame
    score: float
    optimum: float
    nested: float
    interval: Interval
    gain: Interval | None
    coordinate: str | None

    @property
    def optimism(self) -> float:
        """How much the best score on the units that were searched promises too much."""
        return self.optimum - self.nested


def assess(learners: Sequence[Learner], scorer: Scorer, judge: Judge) -> list[RuleReport]:
    """Learn each rule from all units and from all folds but one; two passes over pixels for all rules."""
    scorer.score([request for learner in learners for request in learner.requests()], "candidates")
    full = [learner.fit(judge.everything) for learner in learners]
    held = [{fold: learner.fit(~judge.of_fold(fold)) for fold in _left_out(judge)} for learner in learners]
    wanted = []
    for learner, fit, fits in zip(learners, full, held, strict=True):
        wanted += learner.pixels(fit, judge.everything)
        for fold, own in fits.items():
            wanted += learner.pixels(own, judge.of_fold(fold))
    scorer.score(wanted, "learned rules")
    reports: list[RuleReport] = []
    for learner, fit, fits in zip(learners, full, held, strict=True):
        reports.append(_report(learner, fit, fits, scorer.criteria, judge, reports[:1]))
    return reports


def _left_out(judge: Judge) -> list[int]:
    return judge.folds if len(judge.folds) > 1 else []


def _report(
    learner: Learner, fit: Fit, fits: dict[int, Fit], criteria: Criteria, judge: Judge, first: Sequence[RuleReport]
) -> RuleReport:
    metric = criteria.metric
    table = with_meta(judge, learner.table(fit, judge.everything))
    parts = {fold: learner.table(own, judge.of_fold(fold)) for fold, own in fits.items()}
    nested = with_meta(judge, joined_folds(judge, parts)) if parts else table
    options: dict[str, Any] = {"rounds": judge.rounds, "seed": judge.seed, "level": criteria.settings.level}
    score = metric.score(table)
    return RuleReport(
        learner.name,
        fit,
        fits,
        table,
        nested,
        score,
        float(fit.choice.scores[fit.choice.best]) if fit.choice else score,
        metric.score(nested) if parts else float("nan"),
        bootstrap_interval(metric, nested, "group", **options),
        paired_bootstrap(metric, nested, first[0].nested_table, nested["group"], **options) if first else None,
        learner.coordinate,
    )


def joined_folds(judge: Judge, parts: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """Rows of the folds, each made under its own decision, in the order of the units."""
    places = np.concatenate([np.flatnonzero(judge.of_fold(fold)) for fold in parts])
    joined = pd.concat(list(parts.values()), ignore_index=True)
    return joined.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)


def with_meta(judge: Judge, table: pd.DataFrame) -> pd.DataFrame:
    """The metric's rows of all units beside who they are."""
    return pd.concat([judge.meta.reset_index(drop=True), table.reset_index(drop=True)], axis=1)
