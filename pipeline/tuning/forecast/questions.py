"""What all kinds of map are asked alike: sets of units that they have not seen, the truth, what they may learn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.tuning.forecast.lessons import (
    LEAST_EPISODE,
    Known,
    Left,
    Lesson,
    Target,
    features_of,
    row_weights,
    targets_of,
)
from submissions.host.atomic import finite

LEAST_TAUGHT = 6


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


@dataclass(frozen=True)
class Question:
    """A set of units; chosen: of each part, bool of the rows asked; truth, cv, plain: as in `Episode`."""

    name: str
    chosen: list[np.ndarray]
    truth: float
    cv: float | None
    plain: float | None


@dataclass(frozen=True)
class Asked:
    """All about what is left out at once."""

    kind: Literal["within", "source", "shift"]
    parts: list[Part]
    questions: list[Question]


def asked_of(lesson: Lesson, left: Left) -> Asked:
    """Halves of the groups of what is left out, and the sets that an error is taken of, LEAST_EPISODE units or more."""
    parts, known = list(_parts(lesson, left)), lesson.known
    there = np.any([np.zeros(len(known.own), bool), *(part.asked for part in parts)], axis=0)
    sets = [(name, rows & there) for name, rows in _sets(known, left) if (rows & there).sum() >= LEAST_EPISODE]
    truths = lesson.metric.bootstrap(known.rows, np.stack([rows for _, rows in sets])) if sets else np.empty(0)
    asked = zip(sets, truths, strict=True)
    return Asked(left.kind, parts, [_question(name, rows, parts, float(truth)) for (name, rows), truth in asked])


def _parts(lesson: Lesson, left: Left) -> Iterator[Part]:
    """Each half of the groups, with what neither are these groups nor is left out."""
    known, metric = lesson.known, lesson.metric
    for half in (known.halves, ~known.halves):
        asked, taught = left.asked & half, ~half & ~left.hidden
        if asked.any() and taught.sum() >= LEAST_TAUGHT:
            seen, weights = known.at(taught), np.zeros(len(taught))
            weights[taught] = row_weights(seen)
            cv, plain = metric.bootstrap(known.rows, np.stack([taught & known.own, weights]))
            score = known.rows["score"].to_numpy(float)
            there = np.isfinite(score) & taught
            yield Part(
                asked, features_of(known.units, asked), seen, targets_of(seen, metric, lesson.classes, lesson.span),
                cv=float(cv) if (taught & known.own).any() else math.nan, plain=float(plain),
                mean=float(np.average(score[there], weights=weights[there])) if there.any() else math.nan,
            )  # fmt: skip


def _sets(known: Known, left: Left) -> Iterator[tuple[str, np.ndarray]]:
    """What an error is taken of: each shift of a kind by itself where they have the units, else everything asked."""
    shifts = known.meta["shift"].to_numpy()
    sizes = pd.Series(shifts[left.asked]).value_counts() if left.kind == "shift" else pd.Series(dtype=int)
    large = sorted(str(text) for text, size in sizes.items() if size >= LEAST_EPISODE)
    if not large:
        yield left.name, left.asked
    for text in large:
        yield text, left.asked & (shifts == text)


def _question(name: str, rows: np.ndarray, parts: Sequence[Part], truth: float) -> Question:
    """rows: bool (N,) of the set, all of them asked by one of the parts."""
    chosen = [rows[part.asked] for part in parts]
    sizes = [int(one.sum()) for one in chosen]
    cv, plain = (
        sum(size * value for size, value in zip(sizes, values, strict=True) if size) / sum(sizes)
        for values in ([part.cv for part in parts], [part.plain for part in parts])
    )
    return Question(name, chosen, truth, finite(cv), finite(plain))
