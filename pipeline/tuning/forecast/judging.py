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
    fit_maps,
    row_weights,
    stand_ins,
    way_of,
)

LEAST_TAUGHT = 6
LEAST_GAINS = 2
CONFIDENCE = 0.8


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


def judge_kind(kind: str, lesson: Lesson) -> Judged:
    """Ask a kind of map about everything that is left out in turn, by halves of the groups."""
    known, score = lesson.known, lesson.known.rows["score"].to_numpy(float)
    episodes: list[Episode] = []
    off: list[np.ndarray] = []
    gains: list[pd.Series] = []
    for left in lesson.lefts:
        parts = list(_asked_by_half(kind, lesson, left))
        gains += [_gains(lesson, part) for part in parts if left.kind != "within"]
        said = [score[part.asked] - said_of_units(part.maps, known.units[part.asked], lesson.span) for part in parts]
        off.append(np.concatenate([*said, np.empty(0)]))
        for name, rows in _sets(known, left):
            episode = _episode(name, rows, left.kind, parts, lesson)
            episodes += [] if episode is None else [episode]
    own, every = (values[np.isfinite(values)] for values in (off[0], np.concatenate(off)))
    each = pd.concat(gains).dropna() if gains else pd.Series(dtype=float)
    return Judged(kind, episodes, own, every, each.groupby(level=0).mean().to_numpy())


def _gains(lesson: Lesson, part: Part) -> pd.Series:
    """By group, a row a unit asked: squared error of the mean score of what was seen minus that of the map."""
    known, score = lesson.known, lesson.known.rows["score"].to_numpy(float)[part.asked]
    said = said_of_units(part.maps, known.units[part.asked], lesson.span)
    return pd.Series((score - part.mean) ** 2 - (score - said) ** 2, index=known.meta["group"].astype(str)[part.asked])


@dataclass(frozen=True)
class Part:
    """Half of what is left out: bool (N,) of the rows asked, maps that saw none of their groups, and what these saw.

    seen: rows that stand for unknown ones, where the metric needs such. cv, plain: as in `Episode`; mean: of the
    scores of the units seen, weighed as the maps weigh them.
    """

    asked: np.ndarray
    maps: dict[str, AnyMap]
    seen: pd.DataFrame | None
    cv: float
    plain: float
    mean: float


def _asked_by_half(kind: str, lesson: Lesson, left: Left) -> Iterator[Part]:
    """Each half of the groups, and maps that saw neither these groups nor what is left out."""
    known, metric = lesson.known, lesson.metric
    for half in (known.halves, ~known.halves):
        asked, taught = left.asked & half, ~half & ~left.hidden
        if asked.any() and taught.sum() >= LEAST_TAUGHT:
            seen = known.at(taught)
            maps = fit_maps(kind, seen, metric, lesson.classes, span=lesson.span, seed=lesson.seed)
            cv = metric.score(seen.rows[seen.own]) if seen.own.any() else math.nan
            weights, score = row_weights(seen), seen.rows["score"].to_numpy(float)
            there = np.isfinite(score)
            mean = float(np.average(score[there], weights=weights[there])) if there.any() else math.nan
            plain = metric.score(seen.rows, weights)
            yield Part(asked, maps, stand_ins(seen, maps, metric, lesson.span), cv, plain, mean)


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
    told, sizes, asked_rows = [], [], np.zeros(len(rows), bool)
    for part in parts:
        chosen = part.asked & rows
        if chosen.any():
            options: dict[str, Any] = {"classes": lesson.classes, "span": lesson.span, "known": part.seen}
            said = said_of_set(way_of(metric), part.maps, metric, units[chosen], **options)
            told.append((said, part.cv, part.plain))
            sizes.append(int(chosen.sum()))
            asked_rows |= chosen
    if sum(sizes) < LEAST_EPISODE:
        return None
    truth, means = metric.score(lesson.known.rows[asked_rows]), np.average(told, axis=0, weights=sizes)
    if not (math.isfinite(truth) and math.isfinite(means[0])):
        return None
    cv, plain = (float(value) if math.isfinite(value) else None for value in means[1:])
    return Episode(name=name, kind=kind, units=sum(sizes), truth=truth, said=float(means[0]), cv=cv, plain=plain)


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
