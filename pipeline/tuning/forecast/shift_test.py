"""What if the private test set comes from another source? Each source is left out of training in turn, and its score
compared with what was forecast.

Out-of-fold predictions of folds that are whole sources show every image as a foreign one. Beside the score of a source
stand the numbers known beforehand: the cross-validation of the other sources, and the forecast learned from these
alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from folds.foldfile import SOURCE
from inference.decide.decision import load_decision
from inference.forecast.forecast import apply_forecast
from pipeline.data.fold_tables import open_folds
from pipeline.prediction.prediction_stages import decision_path
from pipeline.runs import open_runs
from pipeline.stage import read_stage
from pipeline.tuning.comparisons.two_runs import read_scores
from pipeline.tuning.forecast.known_units import copied_units, joined, known_part, scored_names, source_of_images
from pipeline.tuning.forecast.learning import learn_forecast
from pipeline.tuning.forecast.lessons import LEAST_EPISODE, NONE, Known
from pipeline.tuning.measurements import out_of_fold
from pipeline.workspace import Workspace
from submissions.metrics import Metric

ACROSS = "across"
COLUMNS = ["source", "units", "CV of the others", "CV within", "truth", "forecast", "low", "high", "inside"]


def training_sources(space: Workspace) -> pd.Series:
    """Training images by source, most first.

    Raises ValueError where fewer than two sources are known.
    """
    train, _ = space.training_images()
    counts = train[SOURCE].astype(str).value_counts() if SOURCE in train else pd.Series(dtype=int)
    if len(counts) < 2:
        raise ValueError(
            f"{space.competition.name}: {len(counts)} source(s) of training images are known, and a shift test "
            f"needs two or more; name a column with --set 'folds.sources={{column: ...}}'"
        )
    return counts


def split_by_source(space: Workspace) -> bool:
    """Whether the folds that the experiment has are whole sources, as far as it has any."""
    try:
        table, _ = open_folds(space)
    except (FileNotFoundError, ValueError):
        return False
    return (
        SOURCE in table and table["fold"].nunique() > 1 and bool((table.groupby(SOURCE)["fold"].nunique() == 1).all())
    )


def across_arguments(space: Workspace, epochs: int | None) -> list[str]:
    """Further arguments of the stages for an experiment like this one whose folds are sources."""
    number = len(training_sources(space))
    wanted = [
        f"name={space.experiment.name}-{ACROSS}", "folds.method=leave_one_group_out", f"folds.group={SOURCE}",
        f"folds.n={number}", "folds.use=null",
    ]  # fmt: skip
    wanted += [] if epochs is None else [f"train.epochs={epochs}"]
    return [part for one in wanted for part in ("--set", one)]


def shift_test(across: Workspace, within: Workspace | None = None) -> pd.DataFrame:
    """A row a source (COLUMNS), from a finished experiment whose folds are sources.

    within: an experiment with other folds, whose scores of the source's images are put beside. Raises
    FileNotFoundError that names the stage which is missing.
    """
    read_stage(across.own / "tuning", f"06_tune.py {across.experiment.name}")
    runs = open_runs(across)
    found, decision = out_of_fold(across, runs), load_decision(decision_path(across))
    sources, classes = source_of_images(across, runs[0]), scored_names(across.competition)
    sums = pd.read_csv(
        across.own / "tuning" / "prediction_sums.csv",
        dtype={"image_id": str, "unit": str},
        keep_default_na=False,  # an image may be called NA
        na_values=[""],
    )
    own = known_part(read_scores(across.own), sums, classes, sources, NONE)
    known = joined([own, *copied_units(across, runs[0], found, decision, sources)])
    beside = None if within is None else _scores_by_source(within, sources)
    return leave_sources_out(known, found.criteria.metric, classes, within=beside, seed=found.criteria.settings.seed)


def _scores_by_source(space: Workspace, sources: dict[str, str]) -> pd.DataFrame | None:
    """The metric's rows of another experiment with their `source`; None where stage 06 has not finished it."""
    try:
        table = read_scores(space.own)
    except FileNotFoundError:
        return None
    return table.assign(source=[sources.get(str(name), "") for name in table["image_id"]])


def leave_sources_out(
    known: Known, metric: Metric, classes: Sequence[str], *, within: pd.DataFrame | None = None, seed: int = 0
) -> pd.DataFrame:
    """A row a source of LEAST_EPISODE units or more: what is said of it by all others alone, and its score.

    known: units predicted by models that never saw their source. within: rows of the metric with a column `source`.
    """
    source, rows = known.meta["source"].astype(str).to_numpy(), []
    for name in sorted(set(source[known.own])):
        asked = known.own & (source == name)
        others, left = known.at(source != name), known.at(asked)
        if asked.sum() < LEAST_EPISODE or not others.own.any():
            continue
        cv = metric.score(others.rows[others.own])
        found = apply_forecast(learn_forecast(others, metric, classes, fingerprint="", cv=cv, seed=seed), left.units)
        truth = metric.score(left.rows)
        beside = np.nan
        if within is not None and (within["source"] == name).any():
            beside = metric.score(within[within["source"] == name])
        rows.append((name, int(asked.sum()), cv, beside, truth, found.estimate, found.low, found.high,
                     bool(found.low <= truth <= found.high)))  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def shift_sentences(table: pd.DataFrame) -> list[str]:
    """What the table says: how far CV and forecast were off, and how many intervals held the truth."""
    if table.empty:
        return [f"no source has at least {LEAST_EPISODE} scored units"]
    off = (table["CV of the others"] - table["truth"]).abs().mean()
    lines = [f"on the mean of {len(table)} sources, CV of the other sources was off by {off:.4f}"]
    told = table[table["forecast"].notna()]
    if told.empty:
        return [*lines, "no forecast: the other sources have too few units to learn it from"]
    said = (told["forecast"] - told["truth"]).abs().mean()
    inside = int(told["inside"].sum())
    return [*lines, f"the forecast {said:.4f}; {inside} of {len(told)} scores lie in its interval"]
