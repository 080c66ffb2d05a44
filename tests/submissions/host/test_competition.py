from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from submissions.host.competition import (
    Competition,
    fill,
    find_files,
    list_competitions,
    load_competition,
    pattern_regex,
)
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


def test_pattern_fields_repeat_as_the_same_text() -> None:
    regex = pattern_regex("train/{case}/{case}_{day}/slice_{z}.png")
    match = regex.match("train/case1/case1_day20/slice_0007.png")
    assert match is not None
    assert match.groupdict() == {"case": "case1", "day": "day20", "z": "0007"}
    assert regex.match("train/case1/case2_day20/slice_0007.png") is None


def test_files_are_found_in_sorted_order_whatever_the_disk_says(tmp_path: Path) -> None:
    for name in ("b_z2", "a_z1", "a_z0"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    (tmp_path / "a_z9.png").mkdir()
    assert find_files(tmp_path, "{stack}_z{z}.png") == [
        ("a_z0.png", {"stack": "a", "z": "0"}),
        ("a_z1.png", {"stack": "a", "z": "1"}),
        ("b_z2.png", {"stack": "b", "z": "2"}),
    ]


def test_a_template_that_cannot_be_filled_names_the_fields_at_hand() -> None:
    assert fill("{a}_{b:02d}", {"a": "x", "b": 3}, "images.id") == "x_03"
    with pytest.raises(ValueError, match=r"images.id.*no field \['c'\].*known fields: a"):
        fill("{a}{c}", {"a": 1}, "images.id")
    with pytest.raises(ValueError, match="cannot be filled"):
        fill("{a:02d}", {"a": "x"}, "images.id")


def test_fields_of_digits_and_fields_that_may_be_empty(tmp_path: Path) -> None:
    for name in ("1_10.tif", "1_10_mask.tif", "2_3.tif"):
        (tmp_path / name).touch()
    found = find_files(tmp_path, "{subject:d}_{img:d}.tif")
    assert found == [("1_10.tif", {"subject": "1", "img": "10"}), ("2_3.tif", {"subject": "2", "img": "3"})]
    whole = pattern_regex("kidney_{n:d}{part:*}/{z}.tif")
    assert [match.groupdict() for match in map(whole.match, ("kidney_2/7.tif", "kidney_1_voi/7.tif")) if match] == [
        {"n": "2", "part": "", "z": "7"},
        {"n": "1", "part": "_voi", "z": "7"},
    ]
    with pytest.raises(ValueError, match=r"field '{z:04d}', expected {z}, :d or :\*"):
        pattern_regex("slice_{z:04d}.png")


def test_masks_that_cannot_be_meant() -> None:
    soft = {"kind": "images", "path": "{id}.png", "threshold": 128, "values": {0: [], 255: "thing"}}
    with pytest.raises(ValueError, match=r"masks\.threshold is for one soft mask"):
        validate(Competition, {**MINIMAL, "masks": soft}, "own")
    named = {"kind": "polygons", "file": "a.json", "polygon_classes": {"x": "other"}}
    with pytest.raises(ValueError, match="name \\['other'\\], which classes does not list"):
        validate(Competition, {**MINIMAL, "masks": named}, "own")
