"""Several runs of one competition side by side: paired differences, and what the mean of any two is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from pipeline.prediction.oof import oof_channels, run_items
from pipeline.report.finished_run import FinishedRun
from pipeline.tuning.comparisons.paired import difference, judge_variants, mixed_items
from pipeline.tuning.comparisons.two_runs import compare
from pipeline.tuning.measurements import shared_images
from pipeline.tuning.scores.criteria import Criteria
from submissions.metrics import Metric


def overview(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per run, the best first: run, estimate (CV), low, high, nested, rule."""
    rows = [
        (run.name, run.tuned["score"], *run.tuned["interval"], run.tuned["nested"], run.decision.learned["rule"])
        for run in runs
    ]
    made = pd.DataFrame(rows, columns=["run", "estimate", "low", "high", "nested", "rule"])
    return made.sort_values(["estimate", "run"], ascending=[False, True]).reset_index(drop=True)


def paired_table(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per pair of runs: a, b, estimate (score of a minus b), low, high over resampled groups, verdict.

    Raises ValueError where there are fewer than two runs, or they were tuned for different metrics.
    """
    metric = common_metric(runs)
    rows = []
    for one, other in combinations(runs, 2):
        found = compare(one.scores, other.scores, metric, rounds=one.settings.rounds, level=one.settings.level)
        rows.append(
            (one.name, other.name, found.overall.estimate, found.overall.low, found.overall.high, found.verdict)
        )
    return pd.DataFrame(rows, columns=["a", "b", "estimate", "low", "high", "verdict"])


def difference_matrix(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """Score of the row's run minus that of the column's, on the images both have; zero with itself. Raises as
    `paired_table` does."""
    names = [run.name for run in runs]
    matrix = pd.DataFrame(0.0, index=names, columns=names)
    for row in paired_table(runs).to_dict("records"):
        matrix.loc[row["a"], row["b"]], matrix.loc[row["b"], row["a"]] = row["estimate"], -row["estimate"]
    return matrix


def image_scores(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """Scores of the images that all runs have: image_id, then one column per run."""
    tables = [run.scores.set_index("image_id")["score"].rename(run.name) for run in runs]
    return pd.concat(tables, axis=1, join="inner").reset_index()


def ensemble_matrix(runs: Sequence[FinishedRun]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the mean of two runs' probabilities scores, at its own threshold, nested.

    Returns the square of scores (a run alone on the diagonal), and one row per pair: pair, estimate (gain over the
    better of the two), low, high. Reads the predictions of all; left out are ensembles among the runs, and runs that
    predict other channels than most, which have no mean with these. Raises ValueError where fewer than two runs are
    left, their metrics differ, or they have no image in common.
    """
    single = [run for run in runs if len(run.runs) == 1]
    given = {run.name: run_items(run.space, run.runs[0]) for run in single}
    channels = {name: tuple(oof_channels(items)) for name, items in given.items()}
    usual = max(channels.values(), key=list(channels.values()).count, default=())
    single = [run for run in single if channels[run.name] == usual]
    metric, first = common_metric(single), single[0]
    given = {run.name: given[run.name] for run in single}
    members, _ = shared_images([run.runs[0] for run in single], given)
    variants = {name: mixed_items({name: items}) for name, items in members.items()}
    for one, other in combinations(members, 2):
        variants[f"{one} + {other}"] = mixed_items({one: members[one], other: members[other]})
    criteria = Criteria(first.space.competition, metric, first.settings, first.decision.channels)
    judged = judge_variants(criteria, variants)
    matrix = pd.DataFrame(index=list(members), columns=list(members), dtype=float)
    rows = []
    for name in members:
        matrix.loc[name, name] = judged[name].nested
    for one, other in combinations(members, 2):
        mean, better = judged[f"{one} + {other}"], max((judged[one], judged[other]), key=lambda variant: variant.nested)
        matrix.loc[one, other] = matrix.loc[other, one] = mean.nested
        gain = difference(criteria, mean, better)
        rows.append((f"{one} + {other}", gain.estimate, gain.low, gain.high))
    return matrix, pd.DataFrame(rows, columns=["pair", "estimate", "low", "high"])


def common_metric(runs: Sequence[FinishedRun]) -> Metric:
    """The metric all runs were tuned for; raises ValueError where it differs, or fewer than two runs are given."""
    if len(runs) < 2:
        raise ValueError(f"found {[run.name for run in runs]}, expected two experiments or more; tune another one")
    differ = [run.name for run in runs if run.metric != runs[0].metric]
    if differ:
        raise ValueError(
            f"{runs[0].name} was tuned for {runs[0].metric}, {differ} for others; compare runs of one metric"
        )
    return runs[0].metric
