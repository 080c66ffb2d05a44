"""Post-processing: a step is added only if it shows a gain on folds that it was not chosen on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.decide.decision import Decision, PostStep
from pipeline.tuning.rules.nested import joined_folds, with_meta
from pipeline.tuning.scores.choice import Judge
from pipeline.tuning.scores.units import Scorer
from submissions.metrics.intervals import Interval, paired_bootstrap

RADII = {"opening": (1, 2), "closing": (1, 2, 3), "largest": (1, 2, 3)}


@dataclass(frozen=True)
class PostReport:
    """One step tried on one class: its value, the nested gain, and what was done about it."""

    step: str
    class_name: str
    value: int
    gain: Interval
    bound: float
    groups: int
    verdict: str

    @property
    def used(self) -> bool:
        """Whether the step is part of the decision."""
        return self.verdict == "added"


def choose_post(
    base: Decision, by_fold: dict[int, Decision], scorer: Scorer, judge: Judge
) -> tuple[Decision, dict[int, Decision], list[PostReport]]:
    """Post-processing for the decision `base`, and for the decisions learned without a fold.

    The steps of `settings.post` are tried class by class, one after the other, each on top of what was kept. A gain
    counts where its one-sided bound (`settings.confidence`) is above zero and there are at least `settings.min_groups`
    groups.
    """
    settings = scorer.criteria.settings
    reports: list[PostReport] = []
    for name in settings.post:
        for k in scorer.criteria.competition.scored_classes:
            if base.exclusive and base.classes[k] == "background":
                continue
            base, by_fold, report = _added(base, by_fold, name, k, scorer, judge)
            reports.append(report)
    return base, by_fold, reports


def _added(
    base: Decision, by_fold: dict[int, Decision], name: str, k: int, scorer: Scorer, judge: Judge
) -> tuple[Decision, dict[int, Decision], PostReport]:
    settings = scorer.criteria.settings
    values = [0, *(RADII[name] if name in RADII else [area for area in settings.areas if area > 1])]
    trials = [with_step(base, name, k, value) for value in values]
    scorer.score([(trial, judge.everything) for trial in trials], f"{name} of {base.classes[k]}")
    tables = [scorer.table(trial, judge.everything) for trial in trials]
    pick = {fold: _best([scorer.metric.score(table[~judge.of_fold(fold)]) for table in tables]) for fold in by_fold}
    parts = {fold: tables[index][judge.of_fold(fold)] for fold, index in pick.items()}
    nested = with_meta(judge, joined_folds(judge, parts) if parts else tables[0])
    plain = with_meta(judge, tables[0])
    gain = paired_bootstrap(scorer.metric, nested, plain, "group", rounds=judge.rounds, seed=judge.seed)
    bound = gain.lower_bound(settings.confidence)
    value = values[_best([scorer.metric.score(table) for table in tables])]
    if gain.groups < settings.min_groups:
        verdict = f"not reliable: {gain.groups} groups"
    elif value == 0 or not bound > 0:
        verdict = "not used: no clear gain"
    else:
        verdict = "added"
    report = PostReport(name, base.classes[k], value, gain, bound, gain.groups, verdict)
    if verdict != "added":
        return base, by_fold, report
    changed = {fold: with_step(own, name, k, values[pick[fold]]) for fold, own in by_fold.items()}
    return with_step(base, name, k, value), changed, report


def with_step(decision: Decision, name: str, k: int, value: int) -> Decision:
    """The decision with one more step on class k; where that is split, min_area is of its instances."""
    if value == 0:
        return decision
    update: dict[str, Any]
    if name == "min_area" and decision.instances is not None and decision.instances.plane == k:
        update = {"instances": decision.instances.model_copy(update={"min_area": value})}
    else:
        values = [value if index == k else 0 for index in range(len(decision.classes))]
        update = {"post": [*decision.post, PostStep(step=name, values=values)]}
    return decision.model_copy(update=update)


def _best(scores: Sequence[float]) -> int:
    """Index of the largest score, the first of equal ones; 0 where none is defined."""
    return int(np.argmax(np.nan_to_num(np.array(scores, float), nan=-np.inf)))
