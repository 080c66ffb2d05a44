"""Objects of several classes in one cell: class, score and mask each, written, read back, linted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.answers import answer_of, lint_answer
from submissions.answers.scoring import score_submission
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.truth import Truth
from submissions.rle.codec import Dialect, encode
from submissions.table.findings import errors
from submissions.table.objects import ClassObjects, objects_by_class
from submissions.table.scoring import Segmentation, check_metric, class_objects, host_metric, try_metric, unit_row
from submissions.table.submission_table import CellObject, cell_objects, decode_rows, encode_rows

FORM = {"mask_template": "{class} {score} {mask}", "dialect": {"kind": "coco_zlib"}}
LISTED = rle_contract(classes=["background", "a", "b"], submission=FORM)


def planes() -> np.ndarray:
    """bool (K, H, W): of `a` two parts, of `b` one that lies over both."""
    found = np.zeros((3, *SHAPE), bool)
    found[1, 2:9, 3:9], found[1, 20:30, 20:40], found[2, 5:25, 5:30] = True, True, True
    return found


def test_objects_are_connected_parts_scored_by_their_mean_probability() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    found = {name: (label, scores) for name, label, scores in objects_by_class(LISTED, planes(), levels)}
    assert list(found) == ["a", "b"]
    label, scores = found["a"]
    for value, part in ((1, np.s_[2:9, 3:9]), (2, np.s_[20:30, 20:40])):
        assert (label[part] == value).all() and np.count_nonzero(label == value) == label[part].size
        assert scores[value - 1] == pytest.approx(levels[1][part].mean() / 255)
    diagonal = np.zeros((3, *SHAPE), bool)
    diagonal[1, 3, 3], diagonal[1, 4, 4] = True, True
    assert [scores for _, _, scores in objects_by_class(LISTED, diagonal, None)] == [[1.0], []]


def test_a_cell_lists_classes_scores_and_masks(tmp_path: Path) -> None:
    levels = np.full((3, *SHAPE), 204, np.uint8)
    (row,) = encode_rows(LISTED, {"image_id": "x"}, planes(), levels=levels)
    form = LISTED.submission
    assert form is not None and form.lists_classes and form.wants_objects
    listed = cell_objects(form, row["rle"])
    assert [(one.class_name, one.score) for one in listed] == [("a", 0.8), ("a", 0.8), ("b", 0.8)]
    assert isinstance(listed[0], CellObject)
    read, instances = decode_rows(LISTED, [row], SHAPE)
    assert instances is None
    np.testing.assert_array_equal(read[1:], planes()[1:])
    assert cell_objects(form, encode_rows(LISTED, {"image_id": "x"}, np.zeros((3, *SHAPE), bool))[0]["rle"]) == []


def test_such_a_table_is_linted_and_scored(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    images = ListedImages(LISTED, tmp_path, list_images(LISTED, tmp_path, "test")[0])
    out = tmp_path / "submission.csv"
    with answer_of(LISTED).begin(out, images) as writer:
        for name in images.ids:
            both = np.stack([draw_mask(1) & False, draw_mask(1), draw_mask(2)])[:, None]
            writer.add(images.row(name), Segmentation(both, levels=both.astype(np.uint8) * 255))
        writer.finish()
    training = pd.DataFrame({f"area_{name}": [9] * 9 for name in LISTED.classes} | {"height": 40, "width": 56})
    assert errors(lint_answer(out, LISTED, tmp_path, training=training)) == []
    assert score_submission(LISTED, out, out, tmp_path).score == 1
    out.write_text(out.read_text().replace("b 1.0000", "c 1.0000", 1))
    assert "'c' is not a class of drawn" in str(errors(lint_answer(out, LISTED, tmp_path))[0])
    with pytest.raises(ValueError, match="'c' is not a class of drawn"):
        score_submission(LISTED, out, out, tmp_path)


def test_confidences_of_every_class_come_through_the_answer_and_are_scored() -> None:
    contract = rle_contract(
        classes=["background", "a", "b"], submission=FORM, metric={"name": "openimages_map", "params": {"iou": 0.6}}
    )
    levels = np.full((3, *SHAPE), 102, np.uint8)
    levels[1, 20:30, 20:40] = 204
    said = Segmentation(planes()[:, None], levels=levels[:, None])
    through = answer_of(contract).through({"image_id": "x"}, said)
    assert [(one.name, one.scores) for one in through.objects or ()] == [("a", [0.4, 0.8]), ("b", [0.4])]
    np.testing.assert_array_equal(through.planes[1:], said.planes[1:])
    truth = planes()[:, None]
    truth[1, 0, 2:9, 3:9] = False  # of class a the one with the lower confidence is wrong
    for one in (said, through):
        assert unit_row(check_metric(contract), contract, one, Truth(truth))["score"] == 1
    levels[1, 20:30, 20:40] = 51
    wrong = answer_of(contract).through({"image_id": "x"}, said)
    assert unit_row(check_metric(contract), contract, wrong, Truth(truth))["score"] == pytest.approx((0.5 + 1) / 2)
    none = answer_of(contract).through({"image_id": "x"}, Segmentation(np.zeros_like(said.planes)))
    assert [one.scores for one in class_objects(contract, none)] == [[], []]


def test_objects_that_the_host_names_touch_and_are_two(tmp_path: Path) -> None:
    contract = rle_contract(classes=["a", "b"], submission=FORM, metric={"name": "openimages_map"})
    label = np.zeros((1, *SHAPE), np.int32)
    label[0, 3:9, 3:9], label[0, 3:9, 9:15] = 4, 7
    both = np.stack([label > 0, np.zeros_like(label, bool)])
    truth = Truth(both, objects={"a": label})
    told = Segmentation(both, objects=[ClassObjects("a", label[0], [0.9, 0.8])])
    scores = [unit_row(check_metric(contract), contract, said, truth)["score"] for said in (told, Segmentation(both))]
    assert scores == [1, 0]  # one part of both lies on neither by 0.6
    write_rle_host(tmp_path, test=1)
    runs = [encode((label == number)[0], Dialect(kind="coco_zlib")) for number in (4, 7)]
    joined = encode(both[0, 0], Dialect(kind="coco_zlib"))
    for name, cell in (("solution", f"a 1 {runs[0]} a 1 {runs[1]}"), ("joined", f"a 1 {joined}")):
        pd.DataFrame({"id": ["test00"], "rle": [cell]}).to_csv(tmp_path / f"{name}.csv", index=False)
    for name, score in (("solution", 1), ("joined", 0)):
        found = score_submission(contract, tmp_path / f"{name}.csv", tmp_path / "solution.csv", tmp_path)
        assert found.score == score


def test_objects_are_of_single_images_and_a_metric_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="objects by class are of single images, not of 2 slices"):
        class_objects(LISTED, Segmentation(np.zeros((3, 2, *SHAPE), bool)))
    with pytest.raises(ValueError, match=r"object_f1 compares objects of one class: set masks\.instances"):
        check_metric(rle_contract(metric={"name": "object_f1"}))
    stacks = {"name": "openimages_map", "unit": "stack"}
    with pytest.raises(ValueError, match="openimages_map is of objects in single images"):
        check_metric(rle_contract(metric=stacks))
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "instances": True}
    single = rle_contract(masks=masks, metric={"name": "openimages_map"}, submission={"rows": "instance"})
    label = np.zeros((1, *SHAPE), np.int32)
    label[0, 3:9, 3:9], label[0, 3:9, 9:20] = 1, 2  # they touch, and stay two
    (one,) = class_objects(single, Segmentation(label[None] > 0, label))
    assert len(one.scores) == 2 and one.label.max() == 2


VOLUMES: dict[str, Any] = {
    "images": {"train": "train/{id}.nii", "test": "test/{id}.nii", "kind": "volumes"},
    "masks": {"kind": "images", "path": "masks/{id}.nii"}, "submission": None,
}  # fmt: skip
INSTANCES = {"kind": "rle", "table": {"file": "train.csv"}, "instances": True}
STACKS = {"train": "train/{s}_{z}.png", "test": "test/{s}_{z}.png", "id": "{s}_{z}", "stack": "{s}", "z": "{z}"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({**VOLUMES, "metric": {"name": "boundary_f1"}}, "cannot score the volumes of drawn: planes have shape"),
        ({"metric": {"name": "dice", "params": {"classes": [3]}}}, r"classes=\[3\], but there are 1 planes"),
        ({"images": STACKS, "masks": INSTANCES, "metric": {"name": "dsb2018_precision", "unit": "stack"}},
         "cannot score the stacks of drawn: dsb2018_precision needs instances"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_score_the_units_is_refused_ahead(change: dict[str, Any], words: str) -> None:
    contract = rle_contract(**change)
    with pytest.raises(ValueError, match=words):
        try_metric(host_metric(contract.metric), contract)


@pytest.mark.parametrize("name", ["hubmap-vasculature-2023", "hippocampus", "byu-motors-2025", "cassava-2021"])
def test_metrics_of_contracts_that_come_with_it_can_score_their_units(name: str) -> None:
    contract = load_competition(name)
    try_metric(check_metric(contract), contract)
