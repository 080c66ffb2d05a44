"""Rows and intervals of a host's metric: is it a mean over images, over groups, or neither?

Nothing says so but numbers: the metric is called on the rows of each image alone, and where the mean of these is what
it says of the whole table, and of halves of it, each image has a score of its own. Else the same is asked of groups.
Where that fails too, whole tables of half of the groups are scored: their scores spread like those of as many groups
drawn with replacement (half-sampling; McCarthy, Review of the International Statistical Institute 37, 1969; Efron, The
Jackknife, the Bootstrap and Other Resampling Plans, 1982, ch. 8), and no id is in a table twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from submissions.host_metric.host_file import HostFile, HostMetricError
from submissions.metrics.base import MeanMetric, Needs
from submissions.metrics.intervals import Interval, bootstrap_interval, interval_of, prediction_interval

LEAST_TABLES = 40  # resampled tables below which there is no interval
HALVES = 4  # tables of half of the parts on which a mean has to hold as well
SHIFTED = 0.6  # standard deviations of halves between their mean and the whole, above which an interval says little
CLOSE = 1e-6  # relative: what rounding may change


@dataclass(frozen=True)
class HostMean(MeanMetric):
    """Rows that the host's file scored, whose mean is its score."""

    name: ClassVar[str] = "host"
    needs: ClassVar[Needs] = "planes"
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    def rows(self, pred: Any, truth: Any, valid: np.ndarray | None = None) -> dict[str, float]:
        """Arrays have no score of the host's, only tables: ValueError."""
        raise ValueError("the host's metric scores tables, see HostFile.score")


@dataclass(frozen=True)
class UnitRows:
    """Which rows of both tables belong to which unit: `meta` has one row per unit (image_id, fold, group), the lists
    hold positions in the solution and in the submission."""

    meta: pd.DataFrame
    solution: Sequence[np.ndarray]
    submission: Sequence[np.ndarray]

    def of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the units at these positions, in the tables' order."""
        parts = [[rows[int(index)] for index in chosen] for rows in (self.solution, self.submission)]
        solution, submission = (np.sort(np.concatenate(part)) if part else np.array([], np.intp) for part in parts)
        return solution, submission


@dataclass(frozen=True)
class HostScore:
    """A host's metric over a table.

    mean_over: 'image' or 'group' where the score is the mean of `table`'s rows (image_id, group, score); '' where it
    is no such mean and `draws` are the scores of tables of half of the groups. notes: sentences.
    """

    score: float
    mean_over: str
    table: pd.DataFrame
    draws: np.ndarray
    groups: int
    notes: list[str] = field(default_factory=list)

    def interval(self, *, level: float, rounds: int, seed: int) -> Interval:
        """Where the metric lies over all images like these."""
        if self.mean_over:
            return bootstrap_interval(HostMean(), self.table, "group", level=level, rounds=rounds, seed=seed)
        return self._spread(1.0, level)

    def prediction(self, n_groups: int, *, level: float, rounds: int, seed: int) -> Interval:
        """Where the score of one leaderboard of so many groups may fall."""
        if self.mean_over:
            return prediction_interval(HostMean(), self.table, n_groups, "group", level=level, rounds=rounds, seed=seed)
        return self._spread(float(np.sqrt(1 + self.groups / n_groups)), level)

    def _spread(self, factor: float, level: float) -> Interval:
        """`factor`: how much wider than the doubt about all images. Halves spread as far as means of the groups do,
        where tables drawn with replacement, which `interval_of` widens, spread sqrt(n / (n - 1)) less.
        """
        narrowed = factor * np.sqrt((self.groups - 1) / self.groups)
        samples = self.score + narrowed * (self.draws - self.score)
        told = samples if len(samples) >= LEAST_TABLES else np.array([])
        return interval_of(self.score, told, level, self.groups, (-np.inf, np.inf))


def score_parts_of(host: HostFile, units: UnitRows, *, rounds: int, seed: int, budget: float) -> HostScore:
    """The metric over the whole table, and over parts of it as far as `budget` seconds and the metric allow.

    Raises HostMetricError where the whole table has no score.
    """
    score = host.score()
    rng = np.random.default_rng(seed)
    groups = units.meta["group"].astype(str)
    names = sorted(set(groups))
    by_group = [np.flatnonzero((groups == name).to_numpy()) for name in names]
    kinds: dict[str, Sequence[np.ndarray]] = {"image": [np.array([index]) for index in range(len(units.meta))]}
    if 1 < len(names) < len(units.meta):
        kinds["group"] = by_group
    notes: list[str] = []
    limit = host.spent + budget
    for kind, parts in kinds.items():
        found, why = _scores_alone(host, units, parts, limit - budget / 2)
        why = why or _no_mean(host, units, parts, np.array(found), score, rng)
        if not why:
            return HostScore(score, kind, _table(units.meta, parts, kind, found), np.array([]), len(names), notes)
        notes.append(f"{host.file.name} has no score of a single {kind}: {why}")
    draws = _halves(host, units, by_group, rounds, limit, rng) if len(names) > 1 else []
    notes.append(_said_of(draws, len(names), score))
    return HostScore(
        score, "", pd.DataFrame(columns=["image_id", "group", "score"]), np.array(draws), len(names), notes
    )


def _scores_alone(
    host: HostFile, units: UnitRows, parts: Sequence[np.ndarray], limit: float
) -> tuple[list[float], str]:
    """The score of each part alone, or why there is none."""
    if len(parts) < 2:
        return [], "there is only one"
    found: list[float] = []
    for part in parts:
        if host.spent > limit:
            return [], f"the time allowed was over after {len(found)} of {len(parts)}; raise metric.seconds"
        try:
            found.append(host.score(*units.of(part)))
        except HostMetricError as error:
            return [], str(error)
    return found, ""


def _no_mean(
    host: HostFile,
    units: UnitRows,
    parts: Sequence[np.ndarray],
    found: np.ndarray,
    score: float,
    rng: np.random.Generator,
) -> str:
    """Why the whole is not the mean of its parts; '' where it is, on halves as well."""
    if not _equal(found, score):
        return f"the mean of their scores is {_mean(found):.6f}, that of the table {score:.6f}"
    for _ in range(HALVES):
        half = np.sort(rng.permutation(len(parts))[: max(2, len(parts) // 2)])
        try:
            whole = host.score(*units.of(np.concatenate([parts[index] for index in half])))
        except HostMetricError as error:
            return str(error)
        if not _equal(found[half], whole):
            return f"of half of them the mean is {_mean(found[half]):.6f}, the score of that table {whole:.6f}"
    return ""


def _mean(found: np.ndarray) -> float:
    known = found[~np.isnan(found)]
    return float(known.mean()) if len(known) else float("nan")


def _equal(found: np.ndarray, score: float) -> bool:
    return bool(np.isclose(_mean(found), score, rtol=CLOSE, atol=1e-9, equal_nan=True))


def _table(meta: pd.DataFrame, parts: Sequence[np.ndarray], kind: str, found: Sequence[float]) -> pd.DataFrame:
    """One row per part: its name, its group, its score."""
    firsts = meta.iloc[[int(part[0]) for part in parts]].reset_index(drop=True)
    names = firsts["image_id"] if kind == "image" else firsts["group"]
    return pd.DataFrame({"image_id": names.astype(str), "group": firsts["group"].astype(str), "score": found})


def _halves(
    host: HostFile,
    units: UnitRows,
    by_group: Sequence[np.ndarray],
    rounds: int,
    limit: float,
    rng: np.random.Generator,
) -> list[float]:
    """Scores of tables of half of the groups, as many as time allows; those without a score are left out."""
    draws: list[float] = []
    for number in range(rounds):
        if host.spent > limit:
            break
        size = (len(by_group) + number % 2) // 2  # of an odd number the two halves in turn
        chosen = rng.permutation(len(by_group))[: max(1, size)]
        try:
            draws.append(host.score(*units.of(np.concatenate([by_group[index] for index in chosen]))))
        except HostMetricError:
            continue
    return [score for score in draws if not np.isnan(score)]


def _said_of(draws: Sequence[float], groups: int, score: float) -> str:
    if groups < 2:
        return "there is one group only: no interval"
    if len(draws) < LEAST_TABLES:
        return f"only {len(draws)} whole tables of half of the groups had a score in time: no interval"
    said = f"it is no mean over images: the interval is of {len(draws)} whole tables, each of half of the groups"
    if abs(np.mean(draws) - score) <= SHIFTED * np.std(draws):
        return said
    return (
        f"{said}; these score {np.mean(draws):.4f} on average, all {groups} groups {score:.4f}: the score depends on "
        "how many there are, so the interval holds less often than it says"
    )


def scored_part(host: HostFile, solution: np.ndarray, submission: np.ndarray) -> float:
    """The score of these rows of both tables; NaN where they have none."""
    try:
        return host.score(solution, submission)
    except HostMetricError:
        return float("nan")
