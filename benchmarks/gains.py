"""What a run gained: over another run, and by each rule, post-processing step and view of its own, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.prediction.oof import run_items
from pipeline.prediction.oof_sample import VIEWS, sample_ids
from pipeline.runs import open_runs
from pipeline.stage import read_stage
from pipeline.tuning.comparisons.paired import difference, judge_variants, mixed_items
from pipeline.tuning.comparisons.two_runs import compare, metric_of, read_scores
from pipeline.tuning.measurements import out_of_fold, stored_views
from pipeline.tuning.rules.nested import RuleReport
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.search import TuneResult, tune
from pipeline.workspace import open_workspace, stage_parser
from submissions.metrics.intervals import Interval


def gain_over(run: Path, other: Path) -> dict[str, Any]:
    """Nested score of a run minus that of another, groups resampled alike."""
    settings = read_stage(run / "tuning", f"06_tune.py {run.name}")["identity"]["settings"]
    tables = [read_scores(each, "nested_scores.csv") for each in (run, other)]
    return _kept(compare(tables[0], tables[1], metric_of(settings)).overall)


def _kept(gain: Interval) -> dict[str, Any]:
    """Four decimals; None for what a single group cannot say."""
    values = {"gain": gain.estimate, "low": gain.low, "high": gain.high}
    rounded = {key: None if np.isnan(value) else round(float(value), 4) for key, value in values.items()}
    return {**rounded, "groups": gain.groups}


def added(run: Path) -> list[dict[str, Any]]:
    """What each decision brought: rules over the simplest, post-processing steps, views on top of those before them."""
    space = open_workspace(stage_parser("").parse_args([str(run)]))
    runs = open_runs(space)
    found = out_of_fold(space, runs)
    gains = decision_gains(tune(found.criteria, found.items))
    folder = run / VIEWS
    if folder.is_dir():
        chosen = set(sample_ids(space))
        views = {one: run_items(space, runs[0], folder, only=chosen, view=one) for one in stored_views(folder)}
        gains += view_gains(found.criteria, views)
    return as_rows(gains)


def decision_gains(result: TuneResult) -> list[tuple[str, Interval]]:
    """What each rule gains over the simplest, and each post-processing step over the rule that was chosen; nested."""
    first, several = result.rules[0].name, len({post.class_name for post in result.post}) > 1
    gains = [(f"rule {rule.name} instead of {first}", rule.gain) for rule in result.rules[1:] if rule.gain]
    steps = [(f"{post.step} of {post.class_name}" if several else post.step, post.gain) for post in result.post]
    return [*gains, *steps]


def as_rows(gains: list[tuple[str, Interval]]) -> list[dict[str, Any]]:
    """Gains as they are kept: what, gain, low, high, groups."""
    return [{"what": what, **_kept(gain)} for what, gain in gains]


def view_gains(criteria: Criteria, views: dict[str, Any]) -> list[tuple[str, Interval]]:
    """What each view adds to the mean of those before it, and all of them to the first alone."""
    names = list(views)
    means = {name: mixed_items({one: views[one] for one in names[: n + 1]}) for n, name in enumerate(names)}
    judged = list(judge_variants(criteria, means).values())
    steps = [(f"view {name}", difference(criteria, *pair)) for name, pair in zip(names[1:], pairs(judged), strict=True)]
    return [*steps, ("all views instead of one", difference(criteria, judged[-1], judged[0]))]


def pairs(judged: list[RuleReport]) -> list[tuple[RuleReport, RuleReport]]:
    """Each but the first, with the one before it."""
    return list(zip(judged[1:], judged, strict=False))
