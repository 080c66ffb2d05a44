"""Gates by what is said of an image as a whole: found where they help, with counts, with pixels, with argmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_oof import DrawnItem, draw_exclusive, draw_items, drawn_contract, drawn_criteria

from inference.decide.decision import apply
from pipeline.tuning.search import TuneResult, tune
from pipeline.tuning.submission_score import score_through_submission
from submissions.host.competition import Competition


def with_answers(items: list[DrawnItem], planes: list[int], *, noise: float = 0.0) -> list[DrawnItem]:
    """The items with a channel more for each of these planes: large where the image shows the class."""
    rng = np.random.default_rng(7)
    for item in items:
        shape = (len(planes), *item.given.shape[1:])
        shown = item.true.planes[planes].any(axis=(1, 2, 3)) ^ (rng.random(len(planes)) < noise)
        said = np.where(shown, rng.integers(150, 250, len(planes)), rng.integers(5, 60, len(planes)))
        answers = np.broadcast_to(said[:, None, None], shape).astype(np.uint8)
        item.given = np.concatenate([item.given, answers])
    return items


def speckled(items: list[DrawnItem]) -> list[DrawnItem]:
    """The items with sure false alarms on empty images, that no threshold and no area tells from a disc."""
    for item in items:
        if not item.true.planes[0].any():
            item.given[0, 3:14, 5:15] = 230
    return items


def learn(contract: Competition, items: list[DrawnItem], sources: list[str], **settings: Any) -> TuneResult:
    channels = [*contract.classes, *(f"{source}:{name}" for source in sources for name in contract.classes)]
    criteria = drawn_criteria(contract, channels, rounds=200, **settings)
    result = tune(criteria, items)
    assert score_through_submission(criteria, items, result.decision)[1] == result.cv
    return result


CONTRACTS = {
    "counts": (lambda: drawn_contract("tgs_precision"), {}),
    "instances": (
        lambda: drawn_contract("dsb2018_precision", instances=True, rows="instance"),
        {"thresholds": [0.4], "depths": [0.2]},
    ),
}


@pytest.mark.parametrize("kind", CONTRACTS)
def test_an_image_level_gate_is_chosen_with_its_threshold_where_it_helps(kind: str) -> None:
    contract, settings = CONTRACTS[kind][0](), CONTRACTS[kind][1]
    items = with_answers(speckled(draw_items(40, empty_every=3, instances=kind == "instances")), [0])
    result = learn(contract, items, ["present"], **settings)
    assert result.chosen.name == "gated_present"
    gate = result.decision.gate
    assert gate is not None and gate.channel == "present:{class}" and 60 < gate.top[0] <= 150
    empty = next(item for item in items if not item.true.planes.any())
    assert not apply(empty.given, result.decision).planes.any()
    plain = next(report for report in result.rules if report.name in ("global", "grid"))
    assert result.nested > plain.nested + 0.1
    assert result.chosen.score == pytest.approx(result.cv)
    assert any(reason.startswith("rule 'gated_present' is chosen") for reason in result.reasons)


def test_a_gate_that_says_nothing_is_not_used() -> None:
    items = with_answers(draw_items(40, empty_every=0), [0], noise=0.5)
    result = learn(drawn_contract(), items, ["present"], rules=["global", "gated_present"])
    assert result.chosen.name == "global" and result.decision.gate is None
    assert any("gated_present" in reason and "no clear gain" in reason for reason in result.reasons)


def test_few_groups_get_no_gate() -> None:
    items = with_answers(speckled(draw_items(20, empty_every=3)), [0])
    result = learn(drawn_contract(), items, ["present"], rules=["global", "gated_present"])
    assert result.chosen.name == "global"
    assert any("not reliable: 10 groups" in reason for reason in result.reasons if "gated_present" in reason)


def test_classes_are_gated_apart_by_their_own_channels() -> None:
    contract = drawn_contract(classes=["a", "b"], rows="image_class")
    items = draw_items(40, classes=2, empty_every=0)
    for number, item in enumerate(items):
        item.true.planes[number % 2] = number % 3 > 0 and item.true.planes[number % 2]
        if number % 3 == 0:
            item.given[number % 2, 3:14, 5:15] = 230
    result = learn(contract, with_answers(items, [0, 1]), ["classifier"], gate="other")
    assert result.chosen.name == "gated_classifier" and result.decision.classifier == "other"
    planes = apply(items[3].given, result.decision).planes
    assert not planes[1].any() and planes[0].any()


def test_exclusive_classes_give_their_pixels_to_background() -> None:
    contract = drawn_contract("dice", classes=["background", "a", "b"], exclusive=True, rows=None)
    items = draw_exclusive(36)
    for item in items[::2]:
        item.true.planes[0] |= item.true.planes[1]
        item.true.planes[1] = False
        item.given[1, 4:20, 5:25] = 255
        item.given[0, 4:20, 5:25] = 0
    result = learn(contract, with_answers(items, [0, 1, 2]), ["present"], rules=["argmax", "gated_present"])
    assert result.chosen.name == "gated_present"
    assert result.decision.gate is not None and result.decision.gate.area == [0, 1, 1]
    planes = apply(items[0].given, result.decision).planes
    assert not planes[1].any() and (planes.sum(axis=0) == 1).all()


@pytest.mark.parametrize(
    ("contract", "items", "settings", "message"),
    [
        (drawn_contract(), draw_items(4), {"gate": "other"}, "an image-level gate cannot be used for drawn"),
        (drawn_contract(), draw_items(4), {"rules": ["gated_present"]}, "'gated_present' does not suit drawn"),
    ],
)
def test_gates_without_their_channels_are_refused(
    contract: Competition, items: list[DrawnItem], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tune(drawn_criteria(contract, **settings), items)
