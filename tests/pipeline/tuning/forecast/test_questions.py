"""What kinds of map are asked: halves of the groups, sets with enough units, their truth and what is known without."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_forecast import drawn_units, with_copies

from pipeline.tuning.forecast.lessons import LEAST_EPISODE, NONE, Known, Left, Lesson, left_out, row_weights, span_of
from pipeline.tuning.forecast.questions import Asked, asked_of
from submissions.metrics import build_metric

DICE = build_metric("dice")


def lesson_of(known: Known) -> Lesson:
    return Lesson(known, DICE, ["disc"], left_out(known), span_of(known))


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return lesson_of(with_copies(DICE, drawn_units(DICE, 24, 0.1, sources=("a", "b"))))


def asked(lesson: Lesson, name: str) -> tuple[Left, Asked]:
    left = next(left for left in lesson.lefts if left.name == name)
    return left, asked_of(lesson, left)


def test_of_the_images_as_they_are_every_one_is_asked_once(lesson: Lesson) -> None:
    _, found = asked(lesson, "these images")
    known = lesson.known
    assert found.kind == "within" and len(found.parts) == 2
    assert (sum(part.asked.astype(int) for part in found.parts) == known.own).all()
    groups = known.meta["group"]
    for part in found.parts:
        assert not set(groups[part.asked]) & set(groups[part.taught])
    question = found.questions[0]
    assert question.truth == pytest.approx(DICE.score(known.rows[known.own])) and len(found.questions) == 1
    sizes = [part.asked.sum() for part in found.parts]
    seen = [known.at(part.taught) for part in found.parts]
    cvs = [DICE.score(one.rows[one.own]) for one in seen]
    assert question.cv == pytest.approx(np.average(cvs, weights=sizes))
    plain = [DICE.score(one.rows, row_weights(one.own)) for one in seen]
    assert question.plain == pytest.approx(np.average(plain, weights=sizes))


def test_nothing_of_a_kind_of_shift_or_of_a_source_is_seen(lesson: Lesson) -> None:
    for left in lesson.lefts[1:]:
        found = asked_of(lesson, left)
        assert found.kind == left.kind and found.questions
        for part in found.parts:
            seen = lesson.known.meta[part.taught]
            if left.kind == "source":
                assert left.name not in set(seen["source"])
            else:
                assert not any(left.name in text for text in seen["shift"])
            assert part.features["soft_dice"].shape == (part.asked.sum(),)
            assert part.mean == pytest.approx(part.plain)


def test_each_shift_of_a_kind_with_enough_units_is_a_set_by_itself(lesson: Lesson) -> None:
    sizes = lesson.known.meta["shift"].value_counts().drop(NONE)
    kinds = [left for left in lesson.lefts if left.kind == "shift"]
    names = {question.name for left in kinds for question in asked_of(lesson, left).questions}
    assert names == set(sizes[sizes >= LEAST_EPISODE].index)


def test_too_few_units_are_no_set_and_too_few_seen_are_no_part(lesson: Lesson) -> None:
    rows = np.arange(len(lesson.known.meta))
    few = Left("few", "source", rows < LEAST_EPISODE - 1, rows < LEAST_EPISODE - 1)
    assert asked_of(lesson, few).parts and not asked_of(lesson, few).questions
    rest = Left("rest", "source", rows > 3, rows > 3)
    assert asked_of(lesson, rest) == Asked("source", [], [])
