"""Every threshold at once: score, noise, precision and recall, by fold and by image, from one pass over the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from inference.decide.rules import ThresholdRule
from pipeline.report.finished_run import FinishedRun
from pipeline.tuning.scores.choice import widest_run
from pipeline.tuning.scores.units import unit_histograms
from pipeline.tuning.scores.workers import Progress, over_units, quiet
from submissions.metrics import CountMetric, counts, threshold_curve, threshold_values
from submissions.metrics.overlap import COUNTS, Dice


@dataclass(frozen=True)
class Thresholds:
    """One threshold q = 0..255 for all classes, before gate, post-processing and instances.

    measure: what score is called. score, precision, recall: float64 (256,). noise: (256,) standard error of the
    difference to the best, and within: bool (256,), as stage 06 left them; None where it compared no such curve.
    by_fold, by_stratum: (256,) each. by_unit: (N, 256), in the order of `names`. precision and recall count the
    pixels of all units together.
    """

    measure: str
    score: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    noise: np.ndarray | None
    within: np.ndarray | None
    by_fold: dict[int, np.ndarray]
    by_stratum: dict[str, np.ndarray]
    names: list[str]
    by_unit: np.ndarray

    @property
    def best(self) -> int:
        """The threshold of the highest score."""
        return int(np.nanargmax(self.score))


def explore_thresholds(run: FinishedRun, *, progress: Progress = quiet) -> Thresholds | None:
    """Scores of the run's out-of-fold predictions at all thresholds; None where classes exclude each other.

    A metric that does not follow from pixel counts (of instances, of surfaces) cannot be had at 256 thresholds:
    then the Dice of all pixels stands in, and `measure` says so.
    """
    competition = run.space.competition
    if competition.exclusive:
        return None
    function = partial(unit_histograms, [run.decision.channels.index(name) for name in competition.classes])
    made = over_units(function, run.units, "thresholds", progress=progress)
    hists = np.stack(list(made))[:, competition.scored_classes, :2]
    own = run.metric if isinstance(run.metric, CountMetric) else None
    metric: CountMetric = own or Dice(over="dataset")
    curve = _curve(run) if own else None
    folds = np.array([unit.fold for unit in run.units])
    strata = np.array([str(unit.items[0].stratum) for unit in run.units], dtype=object)
    tp, fp, fn, _ = (part.sum(axis=(0, 1)).astype(float) for part in counts(hists))
    with np.errstate(invalid="ignore"):
        precision, recall = tp / (tp + fp), tp / (tp + fn)
    return Thresholds(
        own.name if own else "Dice of all pixels", threshold_curve(metric, hists), precision, recall,
        None if curve is None else curve["noise"].to_numpy(), None if curve is None else curve["within"].to_numpy(bool),
        {int(fold): threshold_curve(metric, hists[folds == fold]) for fold in np.unique(folds)},
        {str(name): threshold_curve(metric, hists[strata == name]) for name in np.unique(strata) if name},
        [unit.name for unit in run.units], threshold_values(metric, hists),
    )  # fmt: skip


def unexplored(run: FinishedRun) -> str:
    """Why there is no curve over thresholds, as a sentence; '' where there is one."""
    exclusive = run.space.competition.exclusive
    return "Classes exclude each other: the most probable one is taken, no threshold decides." if exclusive else ""


def class_scores(run: FinishedRun) -> pd.DataFrame:
    """One row per scored class: class, score of it alone under the decision; none of a metric that keeps no counts."""
    competition = run.space.competition
    names = [competition.classes[index] for index in competition.scored_classes]
    rows = []
    for k, name in enumerate(names):
        own = {f"{part}_{k}": f"{part}_0" for part in COUNTS}
        if isinstance(run.metric, CountMetric) and set(own) <= set(run.scores):
            rows.append((name, run.metric.score(run.scores[list(own)].rename(columns=own))))
    return pd.DataFrame(rows, columns=["class", "score"])


def candidate_scores(run: FinishedRun) -> pd.DataFrame:
    """One row per candidate of the rules that stage 06 compared along one value: candidate (rule and number), score."""
    table = run.table("curves.csv")
    if table is None:
        return pd.DataFrame(columns=["candidate", "score"])
    names = table["rule"].astype(str) + " " + table["candidate"].astype(str)
    return pd.DataFrame({"candidate": names, "score": table["score"]})


def _curve(run: FinishedRun) -> pd.DataFrame | None:
    """The curve of rule 'global' as stage 06 left it, one row per threshold."""
    table = run.table("curves.csv")
    found = None if table is None else table[table["rule"] == "global"]
    return found if found is not None and len(found) == 256 else None


def worst_units(run: FinishedRun, number: int) -> pd.DataFrame:
    """The rows of `scores` that score lowest, those without a score last."""
    return run.scores.sort_values(["score", "image_id"], na_position="last").head(number).reset_index(drop=True)


def start_threshold(run: FinishedRun, found: Thresholds) -> int:
    """The decision's threshold where it has one for all; else the best."""
    rule = run.decision.rule
    own = {rule.thresholds[index] for index in run.foreground} if isinstance(rule, ThresholdRule) else set()
    return min(own.pop(), 255) if len(own) == 1 else found.best


def plateau_of_run(run: FinishedRun) -> tuple[int, int] | None:
    """First and last threshold of the decision's plateau, from stage 06's curve; None where there is none."""
    curve = _curve(run)
    if curve is None or run.decision.learned["rule"] != "global":
        return None
    return widest_run(curve["within"].to_numpy(bool), int(curve["score"].to_numpy(float).argmax()))


def worth_table(run: FinishedRun) -> pd.DataFrame:
    """What the decision is worth: measure, score, low, high (NaN where there is no interval)."""
    nan = float("nan")
    known = {"CV": (run.tuned["score"], *run.tuned["interval"]), "nested": (run.tuned["nested"], nan, nan)}
    known["CV minus nested"] = (run.tuned["score"] - run.tuned["nested"], nan, nan)
    if run.tuned["prediction"]:
        known["one leaderboard"] = (run.tuned["nested"], *run.tuned["prediction"])
    return pd.DataFrame.from_dict(known, orient="index", columns=["score", "low", "high"]).rename_axis("measure")


def group_scores(run: FinishedRun) -> pd.DataFrame:
    """One row per group of images: group, units, score under the decision; the lowest first."""
    rows = [(str(name), len(own), run.metric.score(own)) for name, own in run.scores.groupby("group", sort=True)]
    made = pd.DataFrame(rows, columns=["group", "units", "score"])
    return made.sort_values(["score", "group"], na_position="last").reset_index(drop=True)
