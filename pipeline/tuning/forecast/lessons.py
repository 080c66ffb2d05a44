"""What a forecast is learned from, what of it is left out in turn, and maps from it to the metric's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from inference.forecast.features import FEATURES, OF_SEVERAL
from inference.forecast.forecast import Way, class_table, said_of_units
from inference.forecast.maps import AnyMap, Table, columns
from inference.predict.shifts import parse_shifts
from pipeline.tuning.forecast.fitting import TREES, fit_map
from submissions.metrics import CountMetric, Metric
from submissions.metrics.base import MeanMetric

LEAST_UNITS = 8
LEAST_SPAN = 1e-6
LEAST_EPISODE = 3  # units of a source, or copies under a kind of shift, that an error is taken of
COPIES_AGAINST_OWN = 0.5  # all copies together weigh so many times what the images as they are do
NONE = "none"


@dataclass(frozen=True)
class Columns:
    """Columns of a table as arrays, which are divided and asked by the hundred; values: float64 (N, columns)."""

    names: list[str]
    values: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, names: list[str]) -> Columns:
        """Some columns of a table."""
        return cls(names, columns(table, names))

    def at(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """The rows where bool (N,) `chosen`, by name."""
        return dict(zip(self.names, self.values[chosen].T, strict=True))


@dataclass(frozen=True)
class Known:
    """Units whose truth is known, a row each in all three tables.

    units: as `unit_table` makes it. rows: the metric's. meta: `unit`, `group`, `source` ('' where unknown) and `shift`,
    'none' of the images as they are.
    """

    units: pd.DataFrame
    rows: pd.DataFrame
    meta: pd.DataFrame

    def at(self, chosen: np.ndarray) -> Known:
        """The rows where bool (N,) `chosen`."""
        return Known(*(one[chosen].reset_index(drop=True) for one in (self.units, self.rows, self.meta)))

    def ordered(self) -> Known:
        """The same by unit and shift, so that what is learned does not depend on the order in which they came."""
        order = np.lexsort([self.meta["shift"].astype(str), self.meta["unit"].astype(str)])
        return Known(*(one.iloc[order].reset_index(drop=True) for one in (self.units, self.rows, self.meta)))

    @cached_property
    def own(self) -> np.ndarray:
        """bool (N,): images as they are."""
        return np.asarray(self.shift == NONE)

    @cached_property
    def shift(self) -> np.ndarray:
        """str objects (N,): what each image was changed by."""
        return self.meta["shift"].to_numpy(object)

    @cached_property
    def group(self) -> np.ndarray:
        """int (N,): number of each unit's group, in order of their names."""
        return np.asarray(pd.factorize(self.meta["group"].astype(str), sort=True)[0])

    @cached_property
    def halves(self) -> np.ndarray:
        """bool (N,): units of every second group."""
        return self.group % 2 == 0

    @cached_property
    def score(self) -> np.ndarray:
        """float64 (N,): score of each unit alone."""
        return self.rows["score"].to_numpy(float)

    @cached_property
    def features(self) -> Columns:
        """The features of the units."""
        return Columns.of(self.units, [name for name in map(str, self.units) if name in (*FEATURES, *OF_SEVERAL)])


def way_of(metric: Metric) -> Way:
    """How units of a metric make one number."""
    if isinstance(metric, CountMetric):
        return "counts" if metric.over == "dataset" else "mean"
    over = getattr(metric, "over", "images")
    return "mean" if isinstance(metric, MeanMetric) or (over == "images" and hasattr(metric, "over")) else "matched"


@dataclass(frozen=True)
class Left:
    """What is left out at once: bool (N,) of the rows that are not learned from, and of those that are asked."""

    name: str
    kind: Literal["within", "source", "shift"]
    hidden: np.ndarray
    asked: np.ndarray


def left_out(known: Known) -> list[Left]:
    """Everything that is left out in turn; sources only where two of them have LEAST_EPISODE units."""
    kinds = [set() if text == NONE else {kind for kind, _ in parse_shifts(text)} for text in known.shift]
    own = known.own
    found = [Left("these images", "within", np.zeros(len(own), bool), own)]
    for kind in sorted(set().union(*kinds)):
        of_kind = np.array([kind in one for one in kinds])
        if of_kind.sum() >= LEAST_EPISODE:
            found.append(Left(kind, "shift", of_kind, of_kind))
    sources = known.meta["source"].astype(str).to_numpy()
    counts = pd.Series(sources[own]).value_counts()
    names = [str(name) for name, number in counts.items() if number >= LEAST_EPISODE and name != ""]
    if len(names) > 1:
        found += [Left(name, "source", sources == name, (sources == name) & own) for name in sorted(names)]
    return found


def row_weights(own: np.ndarray) -> np.ndarray:
    """float64 (N,): the images as they are, bool (N,) `own`, weigh together a set share of all copies."""
    weights = np.ones(len(own))
    if own.any() and not own.all():
        weights[own] = (~own).sum() / own.sum() / COPIES_AGAINST_OWN
    return weights


def soft_feature(metric: Metric) -> str:
    """The feature that stands for the metric itself."""
    return "soft_iou" if metric.name == "iou" else "soft_dice"


def span_of(known: Known) -> tuple[float, float]:
    """Least and largest score: 0 and 1, or where scores lie beyond (a distance) those that there are."""
    score = known.score[np.isfinite(known.score)]
    low, high = float(score.min(initial=0.0)), float(score.max(initial=1.0))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return float(score.min()), max(float(score.max()), float(score.min()) + LEAST_SPAN)


@dataclass(frozen=True)
class Target:
    """What a map is fitted to: value (N,) from 0 to 1 by the features of a table, weighed by weights (N,).

    soft: the feature that stands for the value itself.
    """

    table: Table
    value: np.ndarray
    weights: np.ndarray
    soft: str


@dataclass(frozen=True)
class Aim:
    """What maps are fitted to, of all known rows before some are left out: unit after unit, each as often as it has
    classes where these are counted.

    there: bool (M,), rows that have a value; counted: whether all are taken where those are too few.
    amount: float64 (M,), what a row weighs beside its unit's weight.
    """

    features: Columns
    value: np.ndarray
    there: np.ndarray
    amount: np.ndarray
    soft: str
    counted: bool = False

    def target(self, taught: np.ndarray, weights: np.ndarray) -> Target:
        """Of the units bool (N,) `taught`, which weigh float64 `weights` (as many as are taught)."""
        classes = len(self.value) // len(taught)
        chosen = np.repeat(taught, classes)
        there = self.there[chosen]
        if self.counted and there.sum() < LEAST_UNITS:
            there[:] = True
        chosen[chosen] = there
        weighed = np.repeat(weights, classes)[there] * self.amount[chosen]
        return Target(self.features.at(chosen), self.value[chosen], weighed, self.soft)


def aims_of(
    known: Known, metric: Metric, classes: Sequence[str], span: tuple[float, float] = (0.0, 1.0)
) -> dict[str, Aim]:
    """By name: `score` of a unit, and where counts are summed `precision` and `total` of a class."""
    score = (known.score - span[0]) / (span[1] - span[0])
    found = {"score": Aim(known.features, score, np.isfinite(score), np.ones(len(score)), soft_feature(metric))}
    return found | (_count_aims(known, classes) if way_of(metric) == "counts" else {})


def _count_aims(known: Known, classes: Sequence[str]) -> dict[str, Aim]:
    table = class_table(known.units, classes)
    features = Columns.of(table, [name for name in map(str, table) if not name.endswith("_sum")])
    tp, fn = (
        known.rows[[f"{name}_{k}" for k in range(len(classes))]].to_numpy(float).reshape(-1) for name in ("tp", "fn")
    )
    area, soft, pixels = (table[f"{name}_sum"].to_numpy(float) for name in ("area", "total", "pixels"))
    found: dict[str, Aim] = {}
    for name, part, whole, word in (("precision", tp, area, "inside"), ("total", tp + fn, tp + fn + soft, "half")):
        value = np.divide(part, whole, out=np.full(len(part), 0.5), where=whole > 0)
        found[name] = Aim(features, value, whole > 0, np.maximum(whole / pixels, 1e-6), word, counted=True)
    return found


def targets_of(aims: Mapping[str, Aim], own: np.ndarray, taught: np.ndarray | None = None) -> dict[str, Target]:
    """What maps are fitted to of the units bool (N,) `taught` (all where not given); own: as `Known.own`."""
    taught = np.ones(len(own), bool) if taught is None else taught
    weights = row_weights(own[taught])
    return {name: aim.target(taught, weights) for name, aim in aims.items()}


def fit_maps(kind: str, targets: Mapping[str, Target], *, seed: int = 0, trees: int = TREES) -> dict[str, AnyMap]:
    """A map of one kind for each of `targets_of`."""
    return {
        name: fit_map(kind, one.table, one.value, one.weights, soft=one.soft, seed=seed, trees=trees)
        for name, one in targets.items()
    }


def stand_ins(
    known: Known,
    maps: Mapping[str, AnyMap],
    metric: Metric,
    span: tuple[float, float],
    *,
    taught: np.ndarray | None = None,
) -> pd.DataFrame | None:
    """Known rows (where bool (N,) `taught`) with what is said of them, where the metric's number is made of such; else
    None.
    """
    if way_of(metric) != "matched":
        return None
    taught = np.ones(len(known.own), bool) if taught is None else taught
    return known.rows[taught].assign(said=said_of_units(maps, known.features.at(taught), span))


@dataclass(frozen=True)
class Lesson:
    """What is learned from, and for which metric; classes: names of those that count; lefts: what is left out."""

    known: Known
    metric: Metric
    classes: Sequence[str]
    lefts: Sequence[Left]
    span: tuple[float, float]
    seed: int = 0

    @cached_property
    def aims(self) -> dict[str, Aim]:
        """What maps are fitted to."""
        return aims_of(self.known, self.metric, self.classes, self.span)
