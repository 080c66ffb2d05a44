from __future__ import annotations

from typing import Any

import pytest

from submissions.host.competition import Competition, list_competitions, load_competition
from submissions.host.settings import validate
from submissions.metrics import build_metric

MINIMAL: dict[str, Any] = {
    "name": "own",
    "images": {"train": "train/{id}.png", "test": "test/{id}.png"},
    "masks": {"kind": "images", "path": "masks/{id}.png"},
    "classes": ["thing"],
    "metric": {"name": "dice"},
    "submission": {},
}


@pytest.mark.parametrize("name", list_competitions())
def test_every_contract_loads_and_names_a_known_metric(name: str) -> None:
    competition = load_competition(name)
    assert competition.name == name
    assert competition.verified and competition.download
    build_metric(competition.metric.name, **competition.metric.params)


def test_unknown_contract_lists_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="tgs-salt"):
        load_competition("no-such")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["a", "a"]}, "repeat"),
        ({"images": {"train": "a/{id}.png"}}, "needs images.test"),
        ({"images": {"train": "a/{id}.png", "test": "b/{id}.png", "stack": "{id}"}}, "come together"),
        ({"masks": {"kind": "rle"}}, "needs masks.table"),
        ({"masks": {"kind": "images", "path": "m/{id}.png", "values": {1: "other"}}}, "does not list"),
        ({"masks": {"kind": "images", "path": "m/{id}.png", "instances": True}, "classes": ["a", "b"]}, "one class"),
        ({"metric": {"name": "dice", "classes": ["nothing"]}}, "does not list"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validate(Competition, {**MINIMAL, **change}, "own.yaml")


def test_scored_classes_and_dialect_follow_the_contract() -> None:
    document = {**MINIMAL, "classes": ["background", "a", "b"], "metric": {"name": "dice", "classes": ["b", "a"]}}
    competition = validate(Competition, document, "own.yaml")
    assert competition.scored_classes == [2, 1]
    assert competition.dialect == competition.masks.dialect
    other = {**document, "submission": {"dialect": {"order": "row"}}}
    assert validate(Competition, other, "own.yaml").dialect.order == "row"


def test_masks_that_cannot_be_meant() -> None:
    soft = {"kind": "images", "path": "{id}.png", "threshold": 128, "values": {0: [], 255: "thing"}}
    with pytest.raises(ValueError, match=r"masks\.threshold is for one soft mask"):
        validate(Competition, {**MINIMAL, "masks": soft}, "own")
    named = {"kind": "polygons", "file": "a.json", "polygon_classes": {"x": "other"}}
    with pytest.raises(ValueError, match="name \\['other'\\], which classes does not list"):
        validate(Competition, {**MINIMAL, "masks": named}, "own")
