"""Learning the forecast: maps are taught on known units, and the one is taken that errs least on what was left out.

Left out in turn: each kind of shift (with every copy that it has a part in), each source, and half of the groups of
the images as they are. What a map says of these is what it is judged by, and how wide the interval has to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd

from inference.forecast.features import FEATURES, OF_SEVERAL
from inference.forecast.forecast import (
    Episode,
    Forecast,
    Neighbourhood,
    Way,
    class_table,
    neighbour_distance,
    said_of_set,
    said_of_units,
)
from inference.forecast.maps import AnyMap, columns, in_deviations
from inference.predict.shifts import parse_shifts
from pipeline.tuning.forecast.fitting import KINDS, deviations, fit_map
from submissions.metrics import CountMetric, Metric
from submissions.metrics.base import MeanMetric

LEAST_UNITS, LEAST_GROUPS = 8, 3
LEAST_TAUGHT, LEAST_SPAN = 6, 1e-6
LEAST_EPISODE = 3  # units of a source, or copies under a kind of shift, that an error is taken of
COPIES_AGAINST_OWN = 1.0  # all copies together weigh so many times what the images as they are do
NEARLY_ALL = 0.98
LEVEL = 0.9
NONE = "none"


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

    @property
    def own(self) -> np.ndarray:
        """bool (N,): images as they are."""
        return (self.meta["shift"] == NONE).to_numpy()

    @property
    def halves(self) -> np.ndarray:
        """bool (N,): units of every second group, groups in order of their names."""
        code = pd.factorize(self.meta["group"].astype(str), sort=True)[0]
        return code % 2 == 0


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
    kinds = [set() if text == NONE else {kind for kind, _ in parse_shifts(text)} for text in known.meta["shift"]]
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


def row_weights(known: Known) -> np.ndarray:
    """float64 (N,): the images as they are weigh together a set share of all copies."""
    own = known.own
    weights = np.ones(len(own))
    if own.any() and not own.all():
        weights[own] = (~own).sum() / own.sum() / COPIES_AGAINST_OWN
    return weights


def soft_feature(metric: Metric) -> str:
    """The feature that stands for the metric itself."""
    return "soft_iou" if metric.name == "iou" else "soft_dice"


def span_of(known: Known) -> tuple[float, float]:
    """Least and largest score: 0 and 1, or where scores lie beyond (a distance) those that there are."""
    score = known.rows["score"].to_numpy(float)
    score = score[np.isfinite(score)]
    low, high = float(score.min(initial=0.0)), float(score.max(initial=1.0))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return float(score.min()), max(float(score.max()), float(score.min()) + LEAST_SPAN)


def fit_maps(
    kind: str, known: Known, metric: Metric, classes: Sequence[str], *, span: tuple[float, float] = (0.0, 1.0),
    seed: int = 0, correct: bool = True,
) -> dict[str, AnyMap]:  # fmt: skip
    """Maps by target: `score` of a unit, and where counts are summed `precision` and `total` of a class.

    correct: by what they are off for units that they have not seen, see `fit_map`.
    """
    weights, halves = row_weights(known), known.halves if correct else None
    features = [name for name in map(str, known.units) if name in (*FEATURES, *OF_SEVERAL)]
    score = (known.rows["score"].to_numpy(float) - span[0]) / (span[1] - span[0])
    there = np.isfinite(score)
    maps = {
        "score": fit_map(
            kind, known.units.loc[there, features], score[there], weights[there], soft=soft_feature(metric), seed=seed,
            halves=None if halves is None else halves[there],
        )
    }  # fmt: skip
    if way_of(metric) == "counts":
        maps |= _count_maps(kind, known, classes, weights, seed=seed, correct=correct)
    return maps


def _count_maps(
    kind: str, known: Known, classes: Sequence[str], weights: np.ndarray, *, seed: int, correct: bool
) -> dict[str, AnyMap]:
    table = class_table(known.units, classes)
    features = [name for name in map(str, table) if not name.endswith("_sum")]
    size = len(classes)
    tp, fn = (known.rows[[f"{name}_{k}" for k in range(size)]].to_numpy(float).reshape(-1) for name in ("tp", "fn"))
    area, soft = table["area_sum"].to_numpy(float), table["total_sum"].to_numpy(float)
    shares = {
        "precision": (tp, area, area / table["pixels_sum"].to_numpy(float)),
        "total": (tp + fn, tp + fn + soft, (tp + fn + soft) / table["pixels_sum"].to_numpy(float)),
    }
    owners, halves = np.repeat(weights, size), np.repeat(known.halves, size)
    maps: dict[str, AnyMap] = {}
    for name, (part, whole, amount) in shares.items():
        there = whole > 0
        if there.sum() < LEAST_UNITS:
            there[:] = True
        value = np.divide(part, whole, out=np.full(len(part), 0.5), where=whole > 0)
        maps[name] = fit_map(
            kind, table.loc[there, features], value[there], (owners * np.maximum(amount, 1e-6))[there],
            soft="inside" if name == "precision" else "half", seed=seed, halves=halves[there] if correct else None,
        )  # fmt: skip
    return maps


@dataclass(frozen=True)
class Judged:
    """A kind of map and how it did on what was left out.

    own: scores minus what was said of the images as they are, (n,). every: the same of all rows that were left out.
    """

    kind: str
    episodes: list[Episode]
    own: np.ndarray
    every: np.ndarray

    @property
    def error(self) -> float:
        """Mean error of the images as they are, of sources and of shifts, each of these counted alike."""
        by_kind: dict[str, list[float]] = {}
        for one in self.episodes:
            by_kind.setdefault(one.kind, []).append(abs(one.said - one.truth))
        return float(np.mean([np.mean(errors) for errors in by_kind.values()])) if by_kind else math.inf


@dataclass(frozen=True)
class Lesson:
    """What is learned from, and for which metric; classes: names of those that count; lefts: what is left out."""

    known: Known
    metric: Metric
    classes: Sequence[str]
    lefts: Sequence[Left]
    span: tuple[float, float]
    seed: int = 0


def judge_kind(kind: str, lesson: Lesson, *, correct: bool = True) -> Judged:
    """Ask a kind of map about everything that is left out in turn, by halves of the groups."""
    known, score = lesson.known, lesson.known.rows["score"].to_numpy(float)
    episodes: list[Episode] = []
    off: list[np.ndarray] = []
    for left in lesson.lefts:
        parts = list(_asked_by_half(kind, lesson, left, correct))
        said = [score[asked] - said_of_units(maps, known.units[asked], lesson.span) for asked, maps, _ in parts]
        off.append(np.concatenate([*said, np.empty(0)]))
        for name, rows in _sets(known, left):
            episode = _episode(name, rows, left.kind, parts, lesson)
            episodes += [] if episode is None else [episode]
    own, every = (values[np.isfinite(values)] for values in (off[0], np.concatenate(off)))
    return Judged(kind, episodes, own, every)


Part = tuple[np.ndarray, dict[str, AnyMap], pd.DataFrame | None]


def _asked_by_half(kind: str, lesson: Lesson, left: Left, correct: bool) -> Iterator[Part]:
    """For each half of the groups bool (N,) of its asked rows, and maps that saw neither these groups nor what is left
    out, with the rows they saw where those stand for unknown ones."""
    known = lesson.known
    for half in (known.halves, ~known.halves):
        asked, taught = left.asked & half, ~half & ~left.hidden
        if asked.any() and taught.sum() >= LEAST_TAUGHT:
            seen = known.at(taught)
            maps = fit_maps(
                kind, seen, lesson.metric, lesson.classes, span=lesson.span, seed=lesson.seed, correct=correct
            )
            yield asked, maps, stand_ins(seen, maps, lesson.metric, lesson.span)


def stand_ins(
    known: Known, maps: Mapping[str, AnyMap], metric: Metric, span: tuple[float, float]
) -> pd.DataFrame | None:
    """Known rows with what is said of them, where the metric's number is made of such; else None."""
    if way_of(metric) != "matched":
        return None
    return known.rows.assign(said=said_of_units(maps, known.units, span))


def _sets(known: Known, left: Left) -> Iterator[tuple[str, np.ndarray]]:
    """What an error is taken of: each shift of a kind by itself where they have the units, else everything asked."""
    shifts = known.meta["shift"].to_numpy()
    sizes = pd.Series(shifts[left.asked]).value_counts() if left.kind == "shift" else pd.Series(dtype=int)
    large = sorted(str(text) for text, size in sizes.items() if size >= LEAST_EPISODE)
    if not large:
        yield left.name, left.asked
    for text in large:
        yield text, left.asked & (shifts == text)


def _episode(
    name: str, rows: np.ndarray, kind: Literal["within", "source", "shift"], parts: Sequence[Part], lesson: Lesson
) -> Episode | None:
    """What was said of a set by the maps of both halves, and the truth; None of too few units, or without a score."""
    metric, units = lesson.metric, lesson.known.units
    said, sizes, asked_rows = [], [], np.zeros(len(rows), bool)
    for asked, maps, seen in parts:
        chosen = asked & rows
        if chosen.any():
            options: dict[str, Any] = {"classes": lesson.classes, "span": lesson.span, "known": seen}
            said.append(said_of_set(way_of(metric), maps, metric, units[chosen], **options))
            sizes.append(int(chosen.sum()))
            asked_rows |= chosen
    if sum(sizes) < LEAST_EPISODE:
        return None
    truth, answer = metric.score(lesson.known.rows[asked_rows]), float(np.average(said, weights=sizes))
    if not (math.isfinite(truth) and math.isfinite(answer)):
        return None
    return Episode(name=name, kind=kind, units=sum(sizes), truth=truth, said=answer)


def learn_forecast(
    known: Known, metric: Metric, classes: Sequence[str], *, fingerprint: str, cv: float,
    interval: tuple[float, float] = (math.nan, math.nan), models: int = 1, seed: int = 0,
) -> Forecast:  # fmt: skip
    """The forecast from known units; without a map, and with the reason, where there are too few of them.

    classes: names of those that the metric counts. cv: the score of the images as they are, interval: its own.
    models: how many models the predictions are a mean of. The result is the same whatever the order of the rows.
    """
    order = np.lexsort([known.meta["shift"].astype(str), known.meta["unit"].astype(str)])
    known = Known(*(one.iloc[order].reset_index(drop=True) for one in (known.units, known.rows, known.meta)))
    plain: dict[str, Any] = {
        "fingerprint": fingerprint, **named_metric(metric), "way": way_of(metric), "classes": list(classes),
        "cv": _number(cv), "interval": (_number(interval[0]), _number(interval[1])), "models": models, "level": LEVEL,
    }  # fmt: skip
    reasons = too_little(known)
    if reasons:
        return Forecast(**plain, doubts=reasons)
    lesson = Lesson(known, metric, classes, left_out(known), span_of(known), seed)
    judged = [judge_kind(kind, lesson, correct=False) for kind in KINDS]
    chosen = min(judged, key=lambda one: one.error).kind
    best = judge_kind(chosen, lesson)
    maps = fit_maps(chosen, known, metric, classes, span=lesson.span, seed=seed)
    seen = stand_ins(known, maps, metric, lesson.span)
    whole = lesson.span[1] - lesson.span[0]
    return Forecast(
        **plain, chosen=chosen, errors={one.kind: _number(one.error) for one in judged}, maps=maps, span=lesson.span,
        episodes=best.episodes, noise=float(best.own.std()) if len(best.own) else 0.0, known_units=int(known.own.sum()),
        unit_error=float(np.quantile(np.abs(best.every), LEVEL)) if len(best.every) else whole,
        known=[] if seen is None else [{str(k): v for k, v in row.items()} for row in seen.to_dict("records")],
        near=neighbourhood(known), doubts=doubts(known, lesson.lefts),
    )  # fmt: skip


def named_metric(metric: Metric) -> dict[str, Any]:
    """Name and parameters by which `build_metric` makes this metric again, as the fields of a `Forecast`."""
    params = {field.name: getattr(metric, field.name) for field in fields(metric)}
    return {"metric": metric.name, "metric_params": params}


def too_little(known: Known) -> list[str]:
    """Why nothing can be learned; nothing where it can."""
    own = known.at(known.own)
    score = own.rows["score"].to_numpy(float) if len(own.rows) else np.empty(0)
    units, groups = int(np.isfinite(score).sum()), int(own.meta["group"].nunique())
    if units >= LEAST_UNITS and groups >= LEAST_GROUPS:
        return []
    return [
        f"{units} scored out-of-fold units of {groups} groups are too few to learn from, it takes {LEAST_UNITS} of "
        f"{LEAST_GROUPS}: there is no forecast"
    ]


def doubts(known: Known, lefts: Sequence[Left]) -> list[str]:
    """What the forecast cannot know."""
    kinds = {left.kind for left in lefts}
    said = []
    if "source" not in kinds:
        said.append("no two sources with three units each are known, so no source could be left out")
    if "shift" not in kinds:
        said.append("no shifted copies were predicted (tune.copies): scores below those out of fold are unknown to it")
    return said


def neighbourhood(known: Known) -> Neighbourhood | None:
    """Where the images as they are lie among features; None of fewer than LEAST_UNITS."""
    own = known.at(known.own)
    if len(own.units) < LEAST_UNITS:
        return None
    table = own.units[[name for name in own.units if name in FEATURES]]
    names, mean, scale = deviations(table, np.ones(len(table)))
    z = in_deviations(columns(table, names), mean, scale)
    reach = float(np.quantile(neighbour_distance(z, z, itself=True), NEARLY_ALL))
    return Neighbourhood(
        features=names, mean=mean.tolist(), scale=scale.tolist(), rows=np.round(z, 5).tolist(), reach=reach
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
