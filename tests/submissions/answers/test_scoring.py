"""Scoring a submission against a solution: equal to a written-out Dice, by part, for every form of table."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.answers import answer_of
from submissions.answers.scoring import score_parts, score_submission
from submissions.host.masks import Truth
from submissions.host.problems import ProblemsError
from submissions.rle.codec import Dialect, decode, encode
from submissions.table.scoring import Segmentation, host_metric, unit_row
from submissions.table.submission_table import encode_rows


def dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def table(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


def shifted(folder: Path, count: int = 3) -> tuple[pd.DataFrame, list[float]]:
    """A submission of masks moved by a pixel more each, and the Dice of each."""
    masks = [draw_mask(100 + index) for index in range(count)]
    moved = [np.roll(mask, index, axis=1) for index, mask in enumerate(masks)]
    frame = pd.read_csv(folder / "solution.csv", dtype=str).assign(rle=[encode(m, Dialect()) for m in moved])
    return frame, [dice(a, b) for a, b in zip(moved, masks, strict=True)]


def test_the_score_is_the_mean_of_the_images_whatever_the_order(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    frame, expected = shifted(tmp_path)
    submission = table(tmp_path / "submission.csv", frame[::-1])
    scored = score_submission(competition, submission, tmp_path / "solution.csv", tmp_path)
    assert scored.score == pytest.approx(np.mean(expected), abs=1e-12)
    assert scored.table["score"].tolist() == pytest.approx(expected, abs=1e-12)


def test_public_private_and_groups(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=5)
    frame, expected = shifted(tmp_path, 5)
    truth = pd.read_csv(tmp_path / "solution.csv", dtype=str)
    usage = ["Public", "Private", "Private", "Ignored", "Public"]
    solution = table(tmp_path / "truth.csv", truth.assign(Usage=usage, stain=["a", "a", "b", "b", "b"]))
    pd.DataFrame({"id": truth["id"], "patient": ["p0", "p1", "p0", "p1", "p1"]}).to_csv(
        tmp_path / "test.csv", index=False
    )
    competition = rle_contract(strata=["stain", "area_thing"], test_tables=[{"file": "test.csv"}])
    frame.loc[3, "rle"] = "no mask"
    found = score_parts(competition, table(tmp_path / "submission.csv", frame), solution, tmp_path)
    assert found.overall.score == pytest.approx(np.mean([expected[i] for i in (0, 1, 2, 4)]), abs=1e-12)
    parts = {(row["part"], row["value"]): (row["units"], row["score"]) for row in found.parts.to_dict("records")}
    members = {
        ("Usage", "Public"): [0, 4], ("Usage", "Private"): [1, 2], ("patient", "p0"): [0, 2],
        ("patient", "p1"): [1, 4], ("stain", "a"): [0, 1], ("stain", "b"): [2, 4],
    }  # fmt: skip
    assert set(parts) == set(members)
    for key, rows in members.items():
        assert parts[key][0] == len(rows)
        assert parts[key][1] == pytest.approx(np.mean([expected[i] for i in rows]), abs=1e-12)


def test_missing_and_unknown_ids_are_errors(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    frame, _ = shifted(tmp_path)
    path, solution = tmp_path / "submission.csv", tmp_path / "solution.csv"
    with pytest.raises(ValueError, match=r"1 id\(s\) of the solution are missing.*test02"):
        score_submission(competition, table(path, frame[:2]), solution, tmp_path)
    extra = pd.concat([frame, pd.DataFrame({"id": ["other"], "rle": [""]})])
    with pytest.raises(ValueError, match="id 'other': no test image"):
        score_submission(competition, table(path, extra), solution, tmp_path)


def test_all_unreadable_images_are_named_and_the_others_scored(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    frame, expected = shifted(tmp_path)
    path, solution = table(tmp_path / "submission.csv", frame), tmp_path / "solution.csv"
    for name in ("test00", "test02"):
        (tmp_path / f"test/{name}.png").write_bytes(b"no picture")
    with pytest.raises(ProblemsError, match=r"2 problem(.|\n)*test00\.png(.|\n)*test02\.png.*leave the image out"):
        score_submission(competition, path, solution, tmp_path)
    table(solution, pd.read_csv(solution, dtype=str).query("id == 'test01'"))
    assert score_submission(competition, path, solution, tmp_path).score == pytest.approx(expected[1], abs=1e-12)


def stack_host(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two stacks of two slices as files; truth and prediction of each slice."""
    (folder / "test").mkdir()
    true = [draw_mask(seed) for seed in range(4)]
    said = [np.roll(mask, 2, axis=0) for mask in true]
    names = ["s0_z0", "s0_z1", "s1_z0", "s1_z1"]
    for name in names:
        cv2.imwrite(str(folder / "test" / f"{name}.png"), np.zeros(SHAPE, np.uint8))
    for file, masks in (("solution.csv", true), ("submission.csv", said)):
        table(folder / file, pd.DataFrame({"id": names, "rle": [encode(mask, Dialect()) for mask in masks]}))
    return true, said


def stack_contract() -> dict[str, object]:
    fields = {"test": "test/{stack}_z{z}.png", "id": "{stack}_z{z}", "stack": "{stack}", "z": "{z}"}
    return {
        "images": {"train": "train/{stack}_z{z}.png", **fields},
        "metric": {"name": "dice", "unit": "stack"},
    }


def test_a_stack_is_scored_as_one(tmp_path: Path) -> None:
    true, said = stack_host(tmp_path)
    competition = rle_contract(**stack_contract())
    scored = score_submission(competition, tmp_path / "submission.csv", tmp_path / "solution.csv", tmp_path)
    expected = [dice(np.stack(said[i : i + 2]), np.stack(true[i : i + 2])) for i in (0, 2)]
    assert scored.table["unit"].tolist() == ["s0", "s1"]
    assert scored.score == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_stack_in_both_parts_is_an_error(tmp_path: Path) -> None:
    stack_host(tmp_path)
    solution = pd.read_csv(tmp_path / "solution.csv").assign(Usage=["Public", "Private"] * 2)
    table(tmp_path / "solution.csv", solution)
    with pytest.raises(ValueError, match="s0: its rows in the solution have the Usage"):
        score_parts(rle_contract(**stack_contract()), tmp_path / "submission.csv", tmp_path / "solution.csv", tmp_path)


def test_volumes_come_slice_by_slice(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    truth = np.stack([np.stack([draw_mask(seed) for seed in range(3)])])  # (1, Z, H, W)
    image = np.zeros((SHAPE[1], SHAPE[0], 3), np.uint8)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "test" / "v.nii.gz")
    images = {"kind": "volumes", "train": "train/{id}.nii.gz", "test": "test/{id}.nii.gz"}
    competition = rle_contract(images=images, submission={"id_template": "{id}_{z}"})
    said = np.roll(truth, 3, axis=3)
    for file, planes in (("solution.csv", truth), ("submission.csv", said)):
        rows = encode_rows(competition, {"image_id": "v"}, planes)
        table(tmp_path / file, pd.DataFrame(rows).sort_values("id", ascending=False))
    scored = score_submission(competition, tmp_path / "submission.csv", tmp_path / "solution.csv", tmp_path)
    assert scored.score == pytest.approx(dice(said, truth), abs=1e-12)


def test_instances_with_confidences_in_one_cell(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=1)
    label = np.zeros(SHAPE, np.int32)
    label[2:12, 3:9], label[20:30, 20:40] = 1, 2
    form = {"mask_template": "0 {score} {mask}", "dialect": {"kind": "coco_zlib"}}
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}
    competition = rle_contract(masks=masks, metric={"name": "openimages_ap", "params": {"iou": 0.6}}, submission=form)
    planes = (label > 0)[None]
    fields = {"image_id": "test00"}
    right = encode_rows(competition, fields, planes, instances=label, scores=[0.9, 0.8])
    table(tmp_path / "solution.csv", pd.DataFrame(right))
    wrong = label.copy()
    wrong[33:39, 44:54] = 3
    for scores, expected in (([0.9, 0.8, 0.1], 1.0), ([0.5, 0.8, 0.9], 0.6666667)):
        rows = encode_rows(competition, fields, (wrong > 0)[None], instances=wrong, scores=scores)
        path = table(tmp_path / "submission.csv", pd.DataFrame(rows))
        scored = score_submission(competition, path, tmp_path / "solution.csv", tmp_path)
        assert scored.score == pytest.approx(expected, abs=1e-6)


def test_class_names_that_end_alike_stay_apart(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=1)
    names = ["1", "11"]
    competition = rle_contract(
        classes=names,
        submission={"rows": "image_class", "id_template": "{id}_{class}"},
        metric={"name": "dice"},
    )
    planes = np.stack([draw_mask(1), draw_mask(2)])
    rows = encode_rows(competition, {"image_id": "test00"}, planes)
    for file in ("solution.csv", "submission.csv"):
        table(tmp_path / file, pd.DataFrame(rows))
    assert decode(rows[0]["rle"], SHAPE, Dialect()).any()
    scored = score_submission(competition, tmp_path / "submission.csv", tmp_path / "solution.csv", tmp_path)
    assert scored.score == 1.0


def test_a_volume_is_scored_in_its_own_millimetres_and_with_its_own_instances() -> None:
    truth = np.zeros((1, 4, 5, 6), bool)
    truth[0, :3, 1:4, 1:5] = True
    moved = np.roll(truth, 1, axis=1)
    competition = rle_contract(metric={"name": "assd", "params": {"spacing": "image"}})
    metric = host_metric(competition.metric)
    row = unit_row(metric, competition, Segmentation(moved), Truth(truth, spacing=(3.0, 1.0, 1.0)))
    plain = metric.at((3.0, 1.0, 1.0)).rows(moved, truth)
    assert row == plain and row["distance_0"] > 0
    labels = truth[0].astype(np.int32) * 4
    quality = host_metric(rle_contract(metric={"name": "panoptic_quality"}).metric)
    said = Segmentation(moved, moved[0].astype(np.int32))
    assert unit_row(quality, competition, said, Truth(truth, instances=labels))["iou_sum"] == 0
    again = unit_row(quality, competition, Segmentation(truth, labels), Truth(truth, instances=labels))
    assert again["score"] == 1


@pytest.mark.parametrize("form", [{"extra": {"sure": "{score}"}}, {"mask_template": "{score} {mask}"}])
def test_confidences_of_rows_of_objects_rank_them(tmp_path: Path, form: dict[str, object]) -> None:
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}
    label = np.zeros((1, *SHAPE), np.int32)
    label[0, 2:8, 2:9], label[0, 20:30, 20:31] = 1, 2
    competition = rle_contract(masks=masks, metric={"name": "openimages_ap"}, submission={"rows": "instance", **form})
    metric, truth = host_metric(competition.metric), Truth((label > 1)[None], None, (label[0] > 1).astype(np.int32))
    said = Segmentation((label > 0)[None], label, [0.1, 0.9])
    read = answer_of(competition).through({"image_id": "test00"}, said)
    for one in (said, read):  # the wrong object comes last
        assert metric.score(pd.DataFrame([unit_row(metric, competition, one, truth)])) == 1.0
    write_rle_host(tmp_path, test=1)
    rows = encode_rows(competition, {"image_id": "test00"}, said.planes[:, 0], instances=label[0], scores=[0.1, 0.9])
    submission, solution = (table(tmp_path / f"{k}.csv", pd.DataFrame(rows[k:])) for k in range(2))
    assert score_submission(competition, submission, solution, tmp_path).score == 1.0
    if "extra" in form:  # a solution need not have any
        table(solution, pd.DataFrame([{**rows[1], "sure": ""}]))
        assert score_submission(competition, submission, solution, tmp_path).score == 1.0
