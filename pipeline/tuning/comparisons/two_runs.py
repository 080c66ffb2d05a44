"""Is it noise? Two runs on the same images: the paired difference, group by group, and what changed most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from folds.foldfile import SOURCE, read_folds
from pipeline.stage import read_stage
from submissions.metrics import Metric, build_metric
from submissions.metrics.intervals import Interval, paired_bootstrap

MOST_CHANGED = 10
TEXT = {"image_id": str, "group": str, "stratum": str}


@dataclass(frozen=True)
class Comparison:
    """Run A against run B.

    overall: interval of score(A) - score(B) over resampled groups. by_stratum: stratum, images, a, b,
    difference, low, high. changed: the images whose own score differs most (image_id, a, b, difference).
    verdict: a sentence.
    """

    score_a: float
    score_b: float
    overall: Interval
    by_stratum: pd.DataFrame
    changed: pd.DataFrame
    verdict: str


def compare(
    scores_a: pd.DataFrame,
    scores_b: pd.DataFrame,
    metric: Metric,
    *,
    rounds: int = 1000,
    level: float = 0.95,
) -> Comparison:
    """Compare two tables of scores (image_id, group, stratum and the metric's columns, as stage 06 writes
    them).

    Groups are drawn whole, both runs alike. Images that one run lacks are left out; the verdict says how
    many. Raises ValueError where the tables have no image in common, or lack a column.
    """
    a, b = _shared_rows(scores_a, scores_b)
    options: dict[str, Any] = {"rounds": rounds, "level": level}
    overall = paired_bootstrap(metric, a, b, a["group"], **options)
    strata, rows = a["stratum"].astype(str), []
    for stratum in sorted(set(strata)):
        own = (strata == stratum).to_numpy()
        part = paired_bootstrap(metric, a[own], b[own], a["group"][own], **options)
        scores = metric.score(a[own]), metric.score(b[own])
        rows.append((stratum, int(own.sum()), *scores, part.estimate, part.low, part.high))
    by_stratum = pd.DataFrame(rows, columns=["stratum", "images", "a", "b", "difference", "low", "high"])
    changed = pd.DataFrame({"image_id": a["image_id"], "a": a["score"], "b": b["score"]})
    changed["difference"] = changed["a"] - changed["b"]
    order = np.lexsort((changed["image_id"], -changed["difference"].abs().fillna(0.0).to_numpy()))
    changed = changed.iloc[order[:MOST_CHANGED]].reset_index(drop=True)
    left_out = len(set(scores_a["image_id"]) ^ set(scores_b["image_id"]))
    return Comparison(metric.score(a), metric.score(b), overall, by_stratum, changed, _verdict(overall, left_out))


def _shared_rows(scores_a: pd.DataFrame, scores_b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the images that both tables have, in the order of their ids."""
    for name, table in (("first", scores_a), ("second", scores_b)):
        lacking = sorted({"image_id", "group", "stratum", "score"} - set(table.columns))
        if lacking:
            raise ValueError(f"the {name} table lacks the columns {lacking}; expected scores.csv of stage 06")
    common = sorted(set(scores_a["image_id"]) & set(scores_b["image_id"]))
    if not common:
        raise ValueError("the two runs have no image in common; compare runs of one competition")
    a, b = (table.set_index("image_id").loc[common].reset_index() for table in (scores_a, scores_b))
    return a, b


def _verdict(overall: Interval, left_out: int) -> str:
    if not np.isfinite(overall.low):
        said = "only one group: the difference cannot be compared with noise"
    elif overall.low > 0 or overall.high < 0:
        better = "A" if overall.estimate > 0 else "B"
        said = f"{better} is better: the interval [{overall.low:+.4f}, {overall.high:+.4f}] does not contain zero"
    else:
        said = f"within noise: the interval [{overall.low:+.4f}, {overall.high:+.4f}] contains zero"
    return f"A - B = {overall.estimate:+.4f}; {said}" + (
        f"; {left_out} image(s) that only one run has were left out" if left_out else ""
    )


def comparison_text(result: Comparison, a: str, b: str) -> str:
    """The comparison as plain text for a terminal; a and b are the runs' names."""
    lines = [f"A: {a} {result.score_a:.4f}", f"B: {b} {result.score_b:.4f}", result.verdict, ""]
    lines += [result.by_stratum.to_string(index=False, float_format="{:.4f}".format), ""]
    lines += ["changed most:", result.changed.to_string(index=False, float_format="{:.4f}".format)]
    return "\n".join(lines) + "\n"


def compare_runs(run_a: Path, run_b: Path) -> str:
    """The comparison of two experiments' folders, as text.

    Raises FileNotFoundError where one was not tuned, ValueError where they were scored by different metrics.
    """
    stages = [read_stage(run / "tuning", f"06_tune.py {run.name}")["identity"]["settings"] for run in (run_a, run_b)]
    metrics = [metric_of(settings) for settings in stages]
    if metrics[0] != metrics[1]:
        raise ValueError(f"{run_a} was scored by {metrics[0]}, {run_b} by {metrics[1]}; tune both for the same metric")
    a, b = read_scores(run_a), read_scores(run_b)
    said = comparison_text(compare(a, b, metrics[0]), str(run_a), str(run_b))
    sources = sources_of_run(run_a)
    table = across_sources(*_shared_rows(a, b), metrics[0], sources)
    return said + (f"\n{across_text(table)}\n" if len(table) > 1 else "")


def which_to_take(run_a: Path, run_b: Path, seconds: tuple[float, float]) -> str:
    """Which of two experiments' folders to submit from, by the paired difference of their nested scores.

    Where its interval contains zero, the one that predicts faster is as good; seconds: of a test image, NaN where not
    known. Raises as `compare_runs`.
    """
    metric = metric_of(read_stage(run_a / "tuning", f"06_tune.py {run_a.name}")["identity"]["settings"])
    a, b = (read_scores(run, "nested_scores.csv") for run in (run_a, run_b))
    found = compare(a, b, metric).overall
    first, second = (run_a, run_b) if not found.estimate < 0 else (run_b, run_a)
    low, high = (found.low, found.high) if first == run_a else (-found.high, -found.low)
    ahead = f"nested {abs(found.estimate):+.4f} [{low:+.4f}, {high:+.4f}] over {second.name}, {found.groups} groups"
    if not np.isfinite(low):
        return f"{first.name} or {second.name}: their difference cannot be told from noise ({found.groups} group(s))"
    if low > 0:
        return f"take {first.name}: {ahead}"
    taken, why = first, ""
    if seconds[0] != seconds[1] and np.isfinite(seconds).all():
        taken = (run_a, run_b)[int(np.argmin(seconds))]
        why = f" the faster, {min(seconds):.2f} s an image against {max(seconds):.2f} s,"
    return f"take {taken.name},{why} or the mean of both: {first.name} has {ahead}, which is noise"


def sources_of_run(run: Path) -> dict[str, str]:
    """Image -> its source, by the fold file that a run's folder notes; nothing where there is none."""
    note = run / "folds.json"
    if not note.is_file():
        return {}
    named = json.loads(note.read_text(encoding="utf-8"))["folds"]
    table = read_folds(run.parent / "folds" / str(named) / "folds.csv")
    return dict(zip(table["image_id"].astype(str), table[SOURCE].astype(str), strict=True)) if SOURCE in table else {}


def across_sources(a: pd.DataFrame, b: pd.DataFrame, metric: Metric, sources: Mapping[str, str]) -> pd.DataFrame:
    """One row per source of two tables of the same images: source, images, a, b (scores). No unknown source."""
    source = a["image_id"].astype(str).map(lambda name: sources.get(name, ""))
    rows = []
    for name in sorted(set(source) - {""}):
        own = (source == name).to_numpy()
        rows.append((name, int(own.sum()), metric.score(a[own]), metric.score(b[own])))
    return pd.DataFrame(rows, columns=["source", "images", "a", "b"])


def across_text(table: pd.DataFrame) -> str:
    """The scores by source, their mean and the least: what to choose by where the private set is another source."""
    means, least = table[["a", "b"]].mean(), table[["a", "b"]].min()
    return "\n".join(
        [
            "by source (if the test images come from another source, choose by the mean and the lowest of these):",
            table.to_string(index=False, float_format="{:.4f}".format),
            f"mean of sources: A {means['a']:.4f}, B {means['b']:.4f}; lowest: A {least['a']:.4f}, B {least['b']:.4f}",
        ]
    )


def read_scores(run: Path, name: str = "scores.csv") -> pd.DataFrame:
    """The scores that stage 06 left in a run's folder, one row per unit: scores.csv or nested_scores.csv."""
    table = pd.read_csv(run / "tuning" / name, dtype=TEXT, keep_default_na=False, na_values=[""])
    return table.assign(stratum=table["stratum"].fillna(""))


def member_names(tuned: dict[str, Any], own: str) -> list[str]:
    """Experiments whose predictions stage 06 decided: the experiment itself, or the members of an ensemble."""
    inputs = tuned["identity"]["inputs"]
    return [own] if "oof" in inputs else [str(name).removeprefix("oof of ") for name in inputs if "oof of " in name]


def metric_of(settings: dict[str, Any]) -> Metric:
    """The metric that stage 06 tuned for, from the settings in its document."""
    if settings["tune"]["metric"] is not None:
        return build_metric(settings["tune"]["metric"], **settings["tune"]["metric_params"])
    contract = settings["metric"]
    if contract.get("proxy") is not None:
        return build_metric(contract["proxy"], **contract["proxy_params"])
    return build_metric(contract["name"], **contract["params"])
