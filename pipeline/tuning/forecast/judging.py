"""How far off is a kind of map on what it never saw, and how far would cross-validation have been?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import pandas as pd

from inference.forecast.forecast import Episode, said_of_set, said_of_units
from inference.forecast.maps import AnyMap
from pipeline.tuning.forecast.lessons import Lesson, fit_maps, stand_ins, way_of
from pipeline.tuning.forecast.questions import Asked, Part, Question, asked_of

LEAST_GAINS = 2
CONFIDENCE = 0.8
TREES_JUDGED = 5  # of a forest: so many of those that are kept are enough to compare it, in half the time of 10


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


def judged_kinds(kinds: Sequence[str], lesson: Lesson) -> list[Judged]:
    """Ask kinds of map about all that is left out in turn; what they have in common is made once."""
    asked = [asked_of(lesson, left) for left in lesson.lefts]
    return [_judge(kind, lesson, asked) for kind in kinds]


@dataclass(frozen=True)
class Told:
    """What maps of a kind say of the units asked; known: rows that stand for unknown ones."""

    part: Part
    maps: dict[str, AnyMap]
    of_units: np.ndarray
    known: pd.DataFrame | None


def _judge(kind: str, lesson: Lesson, asked: Sequence[Asked]) -> Judged:
    """asked: of each of `lesson.lefts`."""
    score, group = lesson.known.score, lesson.known.group
    episodes: list[Episode] = []
    off: list[np.ndarray] = []
    gains: list[np.ndarray] = []
    for one in asked:
        told = [_told(kind, lesson, part) for part in one.parts]
        off.append(np.concatenate([*(score[each.part.asked] - each.of_units for each in told), np.empty(0)]))
        gains += [np.stack([group[each.part.asked], _gain(score, each)]) for each in told if one.kind != "within"]
        for question in one.questions:
            episode = _episode(question, one.kind, told, lesson)
            episodes += [] if episode is None else [episode]
    own, every = (values[np.isfinite(values)] for values in (off[0], np.concatenate(off)))
    of_group, gain = np.concatenate([*gains, np.empty((2, 0))], axis=1)
    known = np.isfinite(gain)
    of_groups = pd.Series(gain[known]).groupby(of_group[known]).mean().to_numpy()
    return Judged(kind, episodes, own, every, of_groups)


def _told(kind: str, lesson: Lesson, part: Part) -> Told:
    maps = fit_maps(kind, part.targets, seed=lesson.seed, trees=TREES_JUDGED)
    said = said_of_units(maps, part.features, lesson.span)
    return Told(part, maps, said, stand_ins(lesson.known, maps, lesson.metric, lesson.span, taught=part.taught))


def _gain(score: np.ndarray, told: Told) -> np.ndarray:
    """Of each unit asked: squared error of the mean score of what was seen minus that of the map."""
    of_asked = score[told.part.asked]
    return (of_asked - told.part.mean) ** 2 - (of_asked - told.of_units) ** 2


def _episode(
    question: Question, kind: Literal["within", "source", "shift"], told: Sequence[Told], lesson: Lesson
) -> Episode | None:
    """What was said of a set by the maps of both halves; None without a score."""
    sizes = [int(chosen.sum()) for chosen in question.chosen]
    pairs = zip(told, question.chosen, sizes, strict=True)
    said = sum(size * _of_set(one, chosen, lesson) for one, chosen, size in pairs if size) / sum(sizes)
    if not (math.isfinite(question.truth) and math.isfinite(said)):
        return None
    return Episode(
        name=question.name, kind=kind, units=sum(sizes), truth=question.truth, said=said, cv=question.cv,
        plain=question.plain,
    )  # fmt: skip


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
    return float(gains.mean()) - student_quantile(CONFIDENCE, len(gains) - 1) * spread


def student_quantile(share: float, freedom: int) -> float:
    """Student's t below which a share of draws lies, by its expansion in 1 / freedom (Abramowitz and Stegun, 26.7.5).

    Within one per cent at CONFIDENCE; scipy.special takes longer to import than all the judging that needs it.
    """
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
