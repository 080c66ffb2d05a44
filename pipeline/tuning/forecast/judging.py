"""How far off is a kind of map on what it never saw, and how far would cross-validation have been?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy

from inference.forecast.forecast import Episode, said_of_set, said_of_units
from inference.forecast.maps import AnyMap
from pipeline.tuning.forecast.lessons import (
    LEAST_EPISODE,
    Known,
    Left,
    Lesson,
    Target,
    features_of,
    fit_maps,
    row_weights,
    stand_ins,
    targets_of,
    way_of,
)

LEAST_TAUGHT = 6
LEAST_GAINS = 2
CONFIDENCE = 0.8
TREES_JUDGED = 10  # of a forest: a quarter of those that are kept is enough to compare it


@dataclass(frozen=True)
class Judged:
    """A kind of map and how it did on what was left out.

    own: scores minus what was said of the images as they are, (n,). every: the same of all rows that were left out.
    groups: float64 (groups,), mean squared error of the mean of what was seen minus that of the map, for the units of
    each group that are of a source or shift left out.
    """

    kind: str
    episodes: list[Episode]
    own: np.ndarray
    every: np.ndarray
    groups: np.ndarray

    @property
    def error(self) -> float:
        """Mean error of the images as they are, of sources and of shifts, each of these counted alike."""
        by_kind: dict[str, list[float]] = {}
        for one in self.episodes:
            by_kind.setdefault(one.kind, []).append(abs(one.said - one.truth))
        return float(np.mean([np.mean(errors) for errors in by_kind.values()])) if by_kind else math.inf


@dataclass(frozen=True)
class Part:
    """Half of what is left out, bool (N,) of the rows `asked`, with their features, and what is known without them.

    seen: rows that neither are of their groups nor left out, and what maps are fitted to of these. cv, plain: as in
    `Episode`; mean: of the scores of the units seen, weighed as the maps weigh them.
    """

    asked: np.ndarray
    features: dict[str, np.ndarray]
    seen: Known
    targets: dict[str, Target]
    cv: float
    plain: float
    mean: float


def judged_kinds(kinds: Sequence[str], lesson: Lesson) -> list[Judged]:
    """Ask kinds of map about all that is left out in turn, by halves of the groups; what they share is made once."""
    parts = [list(_parts(lesson, left)) for left in lesson.lefts]
    return [_judge(kind, lesson, parts) for kind in kinds]


def _parts(lesson: Lesson, left: Left) -> Iterator[Part]:
    """Each half of the groups, with what neither are these groups nor is left out."""
    known, metric = lesson.known, lesson.metric
    for half in (known.halves, ~known.halves):
        asked, taught = left.asked & half, ~half & ~left.hidden
        if asked.any() and taught.sum() >= LEAST_TAUGHT:
            seen = known.at(taught)
            weights, score = row_weights(seen), seen.rows["score"].to_numpy(float)
            there = np.isfinite(score)
            yield Part(
                asked, features_of(known.units, asked), seen, targets_of(seen, metric, lesson.classes, lesson.span),
                cv=metric.score(seen.rows[seen.own]) if seen.own.any() else math.nan,
                plain=metric.score(seen.rows, weights),
                mean=float(np.average(score[there], weights=weights[there])) if there.any() else math.nan,
            )  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What maps of a kind say of the units asked; known: rows that stand for unknown ones."""

    part: Part
    maps: dict[str, AnyMap]
    of_units: np.ndarray
    known: pd.DataFrame | None


def _judge(kind: str, lesson: Lesson, parts: Sequence[Sequence[Part]]) -> Judged:
    """parts: of each of `lesson.lefts`."""
    score = lesson.known.rows["score"].to_numpy(float)
    episodes: list[Episode] = []
    off: list[np.ndarray] = []
    gains: list[np.ndarray] = []
    group = pd.factorize(lesson.known.meta["group"].astype(str), sort=True)[0]
    for left, of_left in zip(lesson.lefts, parts, strict=True):
        told = [_told(kind, lesson, part) for part in of_left]
        off.append(np.concatenate([*(score[one.part.asked] - one.of_units for one in told), np.empty(0)]))
        gains += [np.stack([group[one.part.asked], _gain(score, one)]) for one in told if left.kind != "within"]
        for name, rows in _sets(lesson.known, left):
            episode = _episode(name, rows, left.kind, told, lesson)
            episodes += [] if episode is None else [episode]
    own, every = (values[np.isfinite(values)] for values in (off[0], np.concatenate(off)))
    of_group, gain = np.concatenate([*gains, np.empty((2, 0))], axis=1)
    known = np.isfinite(gain)
    of_groups = pd.Series(gain[known]).groupby(of_group[known]).mean().to_numpy()
    return Judged(kind, episodes, own, every, of_groups)


def _told(kind: str, lesson: Lesson, part: Part) -> Told:
    maps = fit_maps(kind, part.targets, seed=lesson.seed, trees=TREES_JUDGED)
    said = said_of_units(maps, part.features, lesson.span)
    return Told(part, maps, said, stand_ins(part.seen, maps, lesson.metric, lesson.span))


def _gain(score: np.ndarray, told: Told) -> np.ndarray:
    """Of each unit asked: squared error of the mean score of what was seen minus that of the map."""
    of_asked = score[told.part.asked]
    return (of_asked - told.part.mean) ** 2 - (of_asked - told.of_units) ** 2


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
    name: str, rows: np.ndarray, kind: Literal["within", "source", "shift"], told: Sequence[Told], lesson: Lesson
) -> Episode | None:
    """What was said of a set by the maps of both halves, and the truth; None of too few units, or without a score."""
    metric = lesson.metric
    found, sizes, asked_rows = [], [], np.zeros(len(rows), bool)
    for one in told:
        chosen = rows[one.part.asked]
        if chosen.any():
            found.append((_of_set(one, chosen, lesson), one.part.cv, one.part.plain))
            sizes.append(int(chosen.sum()))
            asked_rows |= one.part.asked & rows
    if sum(sizes) < LEAST_EPISODE:
        return None
    truth, means = metric.score(lesson.known.rows[asked_rows]), np.average(found, axis=0, weights=sizes)
    if not (math.isfinite(truth) and math.isfinite(means[0])):
        return None
    cv, plain = (float(value) if math.isfinite(value) else None for value in means[1:])
    return Episode(name=name, kind=kind, units=sum(sizes), truth=truth, said=float(means[0]), cv=cv, plain=plain)


def _of_set(told: Told, chosen: np.ndarray, lesson: Lesson) -> float:
    """The metric that is said of those units asked where bool (n,) `chosen`."""
    way = way_of(lesson.metric)
    if way == "mean":
        return float(told.of_units[chosen].mean())
    options: dict[str, Any] = {"classes": lesson.classes, "span": lesson.span, "known": told.known}
    units = lesson.known.units[told.part.asked][chosen]
    return said_of_set(way, told.maps, lesson.metric, units, **options)


def gain_over(episodes: Sequence[Episode], what: Literal["cv", "plain"]) -> tuple[float, float]:
    """How much nearer to the truth a map was on sources and shifts that it had not seen than one of two numbers.

    what: cross-validation, or the score of all that the map had seen, which is what it would say if features told it
    nothing. The mean over episodes of what that was off by minus what the map was, and its `lower_bound`.
    """
    found = [(getattr(one, what), one) for one in episodes if one.kind != "within"]
    gains = np.array([abs(other - one.truth) - abs(one.said - one.truth) for other, one in found if other is not None])
    return (float(gains.mean()) if len(gains) else math.nan), lower_bound(gains)


def rests_on_one_group(groups: np.ndarray) -> bool:
    """Whether the gains of groups (`Judged.groups`) are none on their mean without the group that gained most."""
    return len(groups) < LEAST_GAINS or float(np.sort(groups)[:-1].mean()) <= 0


def lower_bound(gains: np.ndarray) -> float:
    """Lower bound of the mean of gains (n,), one-sided at CONFIDENCE by Student's t; -inf of fewer than LEAST_GAINS."""
    if len(gains) < LEAST_GAINS:
        return -math.inf
    spread = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean() - scipy.special.stdtrit(len(gains) - 1, CONFIDENCE) * spread)
