"""What all kinds of map are asked alike: sets of units that they have not seen, the truth, what they may learn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.tuning.forecast.lessons import (
    LEAST_EPISODE,
    Known,
    Left,
    Lesson,
    Target,
    row_weights,
    targets_of,
)
from submissions.host.atomic import finite

LEAST_TAUGHT = 6


@dataclass(frozen=True)
class Part:
    """Half of what is left out, bool (N,) of the rows `asked`, with their features, and what is known without them.

    taught: bool (N,) of the rows that neither are of their groups nor left out; targets: what maps are fitted to of
    these. cv, plain: as in `Episode`; mean: of the scores of the units taught, weighed as the maps weigh them.
    """

    asked: np.ndarray
    features: dict[str, np.ndarray]
    taught: np.ndarray
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
    known = lesson.known
    halves = [(left.asked & half, ~half & ~left.hidden) for half in (known.halves, ~known.halves)]
    halves = [(asked, taught) for asked, taught in halves if asked.any() and taught.sum() >= LEAST_TAUGHT]
    if not halves:
        return Asked(left.kind, [], [])
    there = np.any([asked for asked, _ in halves], axis=0)
    sets = [(name, rows & there) for name, rows in _sets(known, left) if (rows & there).sum() >= LEAST_EPISODE]
    seen = [(taught & known.own, _weights(known, taught)) for _, taught in halves]
    wanted = [*(weights for pair in seen for weights in pair), *(rows for _, rows in sets)]
    scores = lesson.metric.bootstrap(known.rows, np.stack(wanted)).tolist()
    cv, plain, truths = scores[: 2 * len(halves) : 2], scores[1 : 2 * len(halves) : 2], scores[2 * len(halves) :]
    parts = [_part(lesson, *half, cv=one, plain=other) for half, one, other in zip(halves, cv, plain, strict=True)]
    asked = zip(sets, truths, strict=True)
    return Asked(left.kind, parts, [_question(name, rows, parts, truth) for (name, rows), truth in asked])


def _weights(known: Known, taught: np.ndarray) -> np.ndarray:
    """float64 (N,): what maps weigh the units taught, 0 for the others."""
    weights = np.zeros(len(taught))
    weights[taught] = row_weights(known.own[taught])
    return weights


def _part(lesson: Lesson, asked: np.ndarray, taught: np.ndarray, *, cv: float, plain: float) -> Part:
    """One half of the groups, with what neither are these groups nor is left out."""
    known = lesson.known
    there = np.isfinite(known.score) & taught
    return Part(
        asked, known.features.at(asked), taught, targets_of(lesson.aims, known.own, taught),
        cv=cv if (taught & known.own).any() else math.nan, plain=plain,
        mean=float(np.average(known.score[there], weights=_weights(known, taught)[there])) if there.any() else math.nan,
    )  # fmt: skip


def _sets(known: Known, left: Left) -> Iterator[tuple[str, np.ndarray]]:
    """What an error is taken of: each shift of a kind by itself where they have the units, else everything asked."""
    shifts, sizes = np.unique(known.shift[left.asked], return_counts=True)
    large = shifts[sizes >= LEAST_EPISODE].tolist() if left.kind == "shift" else []
    if not large:
        yield left.name, left.asked
    for text in large:
        yield text, left.asked & (known.shift == text)


def _question(name: str, rows: np.ndarray, parts: Sequence[Part], truth: float) -> Question:
    """rows: bool (N,) of the set, all of them asked by one of the parts."""
    chosen = [rows[part.asked] for part in parts]
    sizes = [int(one.sum()) for one in chosen]
    cv, plain = (
        sum(size * value for size, value in zip(sizes, values, strict=True) if size) / sum(sizes)
        for values in ([part.cv for part in parts], [part.plain for part in parts])
    )
    return Question(name, chosen, truth, finite(cv), finite(plain))
