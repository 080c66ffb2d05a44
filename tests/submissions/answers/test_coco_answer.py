"""Answers of COCO objects: equal to pycocotools, read back, scored, every fault named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_answers import ONE_OBJECT_CLASS, numbered, opened, write_answer
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host
from pycocotools import mask as coco

from submissions.answers import answer_of, answer_path, check_answer, lint_answer
from submissions.answers.scoring import score_submission
from submissions.metrics import build_metric
from submissions.table.findings import errors
from submissions.table.scoring import Segmentation

NUMBERED = {"images": {"train": "train/{id}.png", "test": "test/test{number}.png", "test_id": "test{number}"}}
BOXED = {"kind": "coco", "coco": {"image_id": "{number}", "categories": {"thing": 7}, "box": True}}


def label() -> np.ndarray:
    drawn = np.zeros(SHAPE, np.int32)
    drawn[2:9, 3:9], drawn[20:30, 20:40], drawn[31:35, 2:50] = 1, 2, 3
    return drawn


def said(scores: list[float]) -> Segmentation:
    return numbered(label(), scores)


def test_objects_are_what_pycocotools_reads(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = rle_contract(**ONE_OBJECT_CLASS, **NUMBERED, submission=BOXED)
    out = answer_path(competition, tmp_path)
    write_answer(competition, tmp_path / "data", out, {"test01": said([0.9, 0.5, 0.123456789])})
    entries = json.loads(out.read_text())
    assert out.name == "submission.json" and [entry["score"] for entry in entries] == [0.9, 0.5, 0.123457]
    for value, entry in enumerate(entries, start=1):
        np.testing.assert_array_equal(coco.decode(entry["segmentation"]), label() == value)
        assert (entry["image_id"], entry["category_id"]) == (1, 7)
        assert entry["bbox"] == coco.toBbox(entry["segmentation"]).tolist()
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    through = answer_of(competition).through({"image_id": "test01", "number": "01"}, said([0.9, 0.5, 0.2]))
    np.testing.assert_array_equal(through.instances, label()[None])
    assert through.scores == [0.9, 0.5, 0.2]
    assert score_submission(competition, out, out, tmp_path / "data").score == 1


def test_score_is_the_hosts_metric_of_what_is_in_the_file(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = rle_contract(**ONE_OBJECT_CLASS, submission={"kind": "coco"})
    truth = write_answer(competition, tmp_path / "data", tmp_path / "truth.json", {"test00": said([1, 1, 1])}).path
    moved = Segmentation(said([]).planes, np.roll(label(), 3, axis=1)[None], [0.9, 0.8, 0.7])
    given = write_answer(competition, tmp_path / "data", tmp_path / "given.json", {"test00": moved}).path
    metric = build_metric("openimages_ap")
    rows = [metric.rows((np.roll(label(), 3, axis=1), np.array([0.9, 0.8, 0.7])), label())]
    rows += [metric.rows((np.zeros(SHAPE, np.int32), np.array([])), np.zeros(SHAPE, np.int32))] * 2
    expected = metric.score(pd.DataFrame(rows))
    assert 0 < expected < 1
    assert score_submission(competition, given, truth, tmp_path / "data").score == pytest.approx(expected)


def test_several_classes_have_an_object_a_part_scored_by_its_mean_probability(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = rle_contract(
        classes=["a", "b"], submission={"kind": "coco", "coco": {"categories": {"a": 5, "b": 2}}}
    )
    planes = np.stack([label() > 0, draw_mask(3)])[:, None]
    levels = np.random.default_rng(0).integers(0, 256, planes.shape, np.uint8)
    one = Segmentation(planes, levels=levels)
    out = write_answer(competition, tmp_path / "data", tmp_path / "s.json", {"test00": one}).path
    first = [entry for entry in json.loads(out.read_text()) if entry["category_id"] == 5]
    assert len(first) == 3
    for entry in first:
        inside = coco.decode(entry["segmentation"]).astype(bool)
        assert entry["score"] == pytest.approx(levels[0, 0][inside].mean() / 255, abs=1e-6)
    through = answer_of(competition).through({"image_id": "test00"}, one)
    np.testing.assert_array_equal(through.planes, planes)
    assert through.instances is None and {one.name for one in through.objects or ()} == {"a", "b"}
    (own,) = [one for one in through.objects or () if one.name == "a"]
    assert own.scores == [entry["score"] for entry in first] and len(np.unique(own.label)) == 4
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    plain = answer_of(competition).through({"image_id": "test00"}, Segmentation(planes))
    np.testing.assert_array_equal(plain.planes, planes)


def changed(entry: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {**entry, **change}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 99}, "image_id 99 is of no test image"),
        ({"image_id": [1]}, r"image_id \[1\] is of no test image"),
        ({"category_id": 3}, r"category_id 3, expected one of \[1\]"),
        ({"score": "high"}, "score 'high', expected a number"),
        ({"score": float("nan")}, "score nan, expected a number"),
        ({"segmentation": None}, "no segmentation"),
        ({"segmentation": {"size": [56, 40], "counts": "0"}}, r"its size is \[56, 40\], expected \[40, 56\]"),
        ({"segmentation": {"size": list(SHAPE), "counts": "00"}}, "image test00"),
        ({"segmentation": {"size": list(SHAPE), "counts": [SHAPE[0] * SHAPE[1]]}}, "a mask without a pixel"),
    ],
)
def test_faults_of_objects_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_rle_host(tmp_path / "data")
    competition = rle_contract(**ONE_OBJECT_CLASS, submission={"kind": "coco"})
    out = write_answer(competition, tmp_path / "data", tmp_path / "s.json", {"test00": said([1, 1, 1])}).path
    entries = json.loads(out.read_text())
    entries[1] |= change
    out.write_text(json.dumps(entries))
    (found,) = errors(lint_answer(out, competition, tmp_path / "data"))
    assert found.row == 2 and re.search(words, found.cause), found


def test_files_that_are_no_list_of_objects(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    form = {"kind": "coco", "overlap": False, "max_bytes": 10}
    competition = rle_contract(**ONE_OBJECT_CLASS, submission=form)
    path = tmp_path / "s.json"
    for text, words in (
        ("[1, 2]", "expected a list of objects"),
        ("{", "not readable as JSON"),
        ("[]", "not one object"),
    ):
        path.write_text(text)
        assert words in str(lint_answer(path, competition, tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match="expected COCO results"):
        lint_answer(tmp_path / "none.json", competition, tmp_path / "data")
    write_answer(competition, tmp_path / "data", path, {"test00": said([1, 1, 1])})
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries, entries[0]]))
    found = [str(one) for one in errors(lint_answer(path, competition, tmp_path / "data"))]
    assert any("row 4: image test00: shares a pixel with object 1" in one for one in found)
    assert any("the host accepts at most 10" in one for one in found)
    training = pd.DataFrame({"height": [40] * 30, "width": [56] * 30, "area_thing": [3] * 30})
    assert "covers 21." in str(lint_answer(path, competition, tmp_path / "data", training=training))


def test_a_solution_may_be_an_annotated_document_with_crowds_and_polygons(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = rle_contract(**ONE_OBJECT_CLASS, submission={"kind": "coco"})
    out = write_answer(competition, tmp_path / "data", tmp_path / "s.json", {"test00": said([1, 1, 1])}).path
    entries = json.loads(out.read_text())
    box = [3, 2, 8, 2, 8, 8, 3, 8]
    polygon = {"image_id": "test00", "category_id": 1, "segmentation": [box]}
    document = {"images": [], "annotations": [polygon, entries[1], changed(entries[2], iscrowd=1)]}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    assert score_submission(competition, out, tmp_path / "truth.json", tmp_path / "data").score == 1
    for change, words in (
        ({"category_id": 9}, "object 1: category_id 9"),
        ({"image_id": "x"}, "'x' is of no test image"),
    ):
        (tmp_path / "truth.json").write_text(json.dumps([changed(polygon, **change)]))
        with pytest.raises(ValueError, match=words):
            score_submission(competition, out, tmp_path / "truth.json", tmp_path / "data")


def test_images_have_the_numbers_of_the_hosts_document(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_rle_host(data)
    names = sorted(path.name for path in (data / "test").iterdir())
    listed = [{"id": 900 + k, "file_name": name} for k, name in enumerate(names)]
    (data / "test.json").write_text(json.dumps({"images": listed, "annotations": []}))
    read = {"test_tables": [{"file": "test.json", "id": "{file_name}", "strip": ".png"}]}
    for more, key in (
        ({}, "test01"),
        ({**read, "submission": {"kind": "coco", "coco": {"image_id": "{coco_id}"}}}, 901),
    ):
        competition = rle_contract(**{**ONE_OBJECT_CLASS, "submission": {"kind": "coco"}, **more})
        out = tmp_path / "answer.json"
        write_answer(competition, data, out, {"test01": said([0.9, 0.5, 0.1])})
        assert {entry["image_id"] for entry in json.loads(out.read_text())} == {key}
        warned = [str(found) for found in lint_answer(out, competition, data) if "COCO counts images" in str(found)]
        assert bool(warned) == isinstance(key, str)


def test_images_are_told_apart_before_training(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    assert check_answer(rle_contract(submission={"kind": "coco"}), tmp_path) == []
    (same,) = check_answer(rle_contract(submission={"kind": "coco", "coco": {"image_id": "1"}}), tmp_path)
    assert "1 stands for test00 and for test01" in str(same)
    (unknown,) = check_answer(rle_contract(submission={"kind": "coco", "coco": {"image_id": "{n}"}}), tmp_path)
    assert "no field ['n']" in str(unknown)


def test_an_answer_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    for form in ({"kind": "coco"}, {"kind": "images"}, {"kind": "images", "files": {"pack": "folder"}}):
        competition = rle_contract(**ONE_OBJECT_CLASS, submission=form)
        images = opened(competition, tmp_path / "data")
        out = tmp_path / "out" / "submission"
        with pytest.raises(RuntimeError, match="killed"), answer_of(competition).begin(out, images) as writer:
            writer.add(images.row("test00"), said([1, 1, 1]))
            raise RuntimeError("killed")
        assert list(out.parent.iterdir()) == []
