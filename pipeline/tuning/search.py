"""Stage 06's work: from out-of-fold predictions to a decision, with what it is worth and why it was taken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision
from inference.forecast.forecast import image_sums
from pipeline.prediction.drift import image_features, learned_ranges
from pipeline.prediction.oof import OofItem
from pipeline.tuning.postprocessing import PostReport, choose_post
from pipeline.tuning.rules.gate_rules import without_idle_classifier
from pipeline.tuning.rules.nested import RuleReport, assess, joined_folds
from pipeline.tuning.rules.selection import base_decision, build_learners, left_out, pick_rule
from pipeline.tuning.scores.choice import Judge, selection_folds
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.units import Scorer, Unit, decided_unit, make_units
from pipeline.tuning.scores.workers import over_units, worker_pool
from submissions.host.atomic import finite
from submissions.host.competition import Competition
from submissions.metrics import Metric
from submissions.metrics.intervals import Interval, bootstrap_interval, prediction_interval


@dataclass(frozen=True)
class TuneResult:
    """A decision and everything it rests on.

    table: one row per unit (image_id, fold, group, stratum, the metric's columns) under the decision. cv: the
    score of that table, interval: its confidence interval over groups. nested: the same procedure, each
    fold decided by what was learned without it (NaN where it cannot be had). prediction: where one
    leaderboard may fall, None where the number of its groups was not given. features: one row per image, for
    `drift`; sums: the same, with its `unit`, for the forecast. reasons: sentences. apart: for each
    unit the decision learned without its fold; empty where nested estimates cannot be had.
    """

    decision: Decision
    metric: Metric
    table: pd.DataFrame
    nested_table: pd.DataFrame
    cv: float
    interval: Interval
    nested: float
    fold_scores: dict[int, float]
    prediction: Interval | None
    test_groups: int | None
    rules: list[RuleReport]
    chosen: RuleReport
    post: list[PostReport]
    features: pd.DataFrame
    sums: pd.DataFrame
    reasons: list[str]
    apart: list[Decision] = field(default_factory=list)


def tune(
    criteria: Criteria, items: Iterable[OofItem], *, fingerprint: str = "", test_groups: int | None = None
) -> TuneResult:
    """Learn the decision from out-of-fold predictions, and from nothing else.

    items: one per image, in any order; fingerprint: of the predictions, which the decision remembers; test_groups:
    number of groups behind the leaderboard, for the prediction interval. Raises ValueError where there is nothing to
    learn from, or a rule does not suit the contract or the metric.
    """
    units, meta = make_units(items, criteria.competition.metric.unit)
    nested_meta, trained_apart = selection_folds(meta)
    judge = Judge(nested_meta, criteria.settings.rounds, criteria.settings.seed)
    with worker_pool(criteria.workers) as pool:
        scorer = Scorer(criteria, units, pool)
        learners = build_learners(base_decision(criteria, fingerprint), scorer, judge)
        reports = assess(learners, scorer, judge)
        chosen, reasons = pick_rule(reports, criteria, judge)
        by_fold = {fold: fit.decision for fold, fit in chosen.fits.items()}
        decision, by_fold, post = choose_post(chosen.fit.decision, by_fold, scorer, judge)
        nested = _nested_table(chosen, by_fold, scorer, judge, changed=any(each.used for each in post))
        decision = without_idle_classifier(decision)
        rows, features, sums = final_pass(criteria, decision, units, pool)
    reasons += [f"{each.step} of {each.class_name}: {each.verdict}" for each in post]
    reasons += left_out(criteria, judge)
    if not trained_apart:
        reasons.append(
            "only one fold was predicted, so nested estimates leave out parts of its groups instead of folds"
        )
    table = pd.concat([meta, rows], axis=1)
    nested = None if nested is None else pd.concat([meta, nested], axis=1)
    result = _result(criteria, decision, table, nested, reports, chosen, post, (features, sums), reasons, test_groups)
    decision = decision.model_copy(update={"learned": _learned(result, criteria.competition)})
    apart = {index: own for fold, own in by_fold.items() for index in np.flatnonzero(judge.of_fold(fold)).tolist()}
    return replace(result, decision=decision, apart=[apart[index] for index in sorted(apart)])


def _nested_table(
    chosen: RuleReport, by_fold: dict[int, Decision], scorer: Scorer, judge: Judge, *, changed: bool
) -> pd.DataFrame | None:
    """The metric's rows of all units, each fold under the decision learned without it; None where there is none.

    changed: whether post-processing was added, so that the rule's own nested table no longer holds.
    """
    if not by_fold:
        return None
    if not changed:
        return chosen.nested_table.drop(columns=list(judge.meta.columns))
    scorer.score([(own, judge.of_fold(fold)) for fold, own in by_fold.items()], "nested decisions")
    return joined_folds(judge, {fold: scorer.table(own, judge.of_fold(fold)) for fold, own in by_fold.items()})


def _result(
    criteria: Criteria,
    decision: Decision,
    table: pd.DataFrame,
    nested: pd.DataFrame | None,
    rules: list[RuleReport],
    chosen: RuleReport,
    post: list[PostReport],
    images: tuple[pd.DataFrame, pd.DataFrame],
    reasons: list[str],
    test_groups: int | None,
) -> TuneResult:
    """The scores and intervals of the decision's table and of the nested one, None where there is none."""
    metric, settings = criteria.metric, criteria.settings
    options: dict[str, Any] = {"rounds": settings.rounds, "seed": settings.seed, "level": settings.level}
    judged = table if nested is None else nested
    return TuneResult(
        decision=decision,
        metric=metric,
        table=table,
        nested_table=judged,
        cv=metric.score(table),
        interval=bootstrap_interval(metric, table, "group", **options),
        nested=math.nan if nested is None else metric.score(nested),
        fold_scores={fold: metric.score(table[table["fold"] == fold]) for fold in sorted(set(table["fold"]))},
        prediction=prediction_interval(metric, judged, test_groups, "group", **options) if test_groups else None,
        test_groups=test_groups,
        rules=rules,
        chosen=chosen,
        post=post,
        features=images[0],
        sums=images[1],
        reasons=reasons,
    )


def final_pass(
    criteria: Criteria, decision: Decision, units: Sequence[Unit], pool: Executor | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The metric's rows of all units under the decision; of all images the features, and the sums with their `unit`."""
    measures = (image_features, image_sums)
    function = partial(decided_unit, criteria.competition, criteria.metric, decision, measures)
    made = list(over_units(function, units, "decision", pool=pool, progress=criteria.progress))
    rows = pd.DataFrame([row for row, _ in made])
    features = pd.DataFrame([one for _, (of_unit, _) in made for one in of_unit])
    sums = [
        {"image_id": one["image_id"], "unit": unit.name, **one}
        for unit, (_, (_, of_unit)) in zip(units, made, strict=True)
        for one in of_unit
    ]
    return rows, features, pd.DataFrame(sums)


def _learned(result: TuneResult, competition: Competition) -> dict[str, Any]:
    """What the decision remembers of how it came about; numbers that are undefined are None."""
    plain = {
        "rule": result.chosen.name,
        "values": result.chosen.fit.values,
        "metric": result.metric.name,
        "images": len(result.features),
        "groups": int(result.table["group"].nunique()),
        "cv": finite(result.cv),
        "interval": finite([result.interval.low, result.interval.high]),
        "nested": finite(result.nested),
        "fold_scores": {str(fold): finite(score) for fold, score in result.fold_scores.items()},
        "ranges": learned_ranges(result.features),
        "reasons": result.reasons,
        "scored_as": competition.metric.unit,
    }
    if result.prediction is not None:
        plain["prediction_interval"] = finite([result.prediction.low, result.prediction.high])
    return plain
