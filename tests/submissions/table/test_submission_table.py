from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.host.atomic import partial_path, write_atomic
from submissions.host.competition import Competition, load_competition
from submissions.host.sample import read_sample, read_submission
from submissions.host.truth import Truth
from submissions.rle.codec import Dialect, encode
from submissions.table.findings import errors
from submissions.table.host_tables import solution_rows
from submissions.table.lint import lint_submission
from submissions.table.submission_table import decode_rows, encode_rows, read_objects, write_submission

NO_MASKS = {"kind": "none", "table": {"file": "train.csv"}, "column": "rle"}


def rows_of(competition: Any, names: list[str]) -> list[dict[str, str]]:
    return [
        row for i, name in enumerate(names) for row in encode_rows(competition, {"image_id": name}, draw_mask(i)[None])
    ]


def test_rows_are_written_in_the_order_of_the_sample_whatever_order_they_come_in(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    names = ["test02", "test00", "test01"]
    write_submission(tmp_path / "out" / "submission.csv", competition, tmp_path, rows_of(competition, names))
    table = read_submission(tmp_path / "out" / "submission.csv", competition)
    assert table["id"].tolist() == ["test00", "test01", "test02"]
    for index, name in enumerate(names):
        row = table.set_index("id", drop=False).loc[name].to_dict()
        np.testing.assert_array_equal(decode_rows(competition, [row], SHAPE)[0][0], draw_mask(index))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["submission.csv"]


def test_missing_and_surplus_ids_stop_the_writing(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    with pytest.raises(ValueError, match=r"1 id\(s\) have no prediction \(test02\), 1 predicted id.*\(other\)"):
        write_submission(tmp_path / "s.csv", competition, tmp_path, rows_of(competition, ["test00", "test01", "other"]))
    assert not (tmp_path / "s.csv").exists()


def test_without_a_sample_ids_are_sorted_and_no_image_makes_an_empty_table(tmp_path: Path) -> None:
    competition = rle_contract()
    assert read_sample(competition, tmp_path) is None
    table = write_submission(tmp_path / "s.csv", competition, tmp_path, rows_of(competition, ["b", "a"]))
    assert table["id"].tolist() == ["a", "b"]
    write_submission(tmp_path / "s.csv", competition, tmp_path, [])
    assert (tmp_path / "s.csv").read_text() == "id,rle\n"


def test_a_code_competition_shows_the_header_of_its_sample_alone_until_the_notebook_runs(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    (tmp_path / "sample_submission.csv").write_text("rle,id\n")
    rows, out = rows_of(rle_contract(), ["test02", "test00", "test01"]), tmp_path / "s.csv"
    with pytest.raises(ValueError, match=r"3 predicted id\(s\) are not in it"):
        write_submission(out, rle_contract(), tmp_path, rows)
    competition = rle_contract(submission={"code_competition": True})
    table = write_submission(out, competition, tmp_path, rows)
    assert list(table) == ["rle", "id"] and table["id"].tolist() == ["test00", "test01", "test02"]
    assert lint_submission(out, competition, tmp_path) == []
    write_submission(out, competition, tmp_path, rows[1:])
    (finding,) = lint_submission(out, competition, tmp_path)
    assert "1 id(s) of the test images have no row: test02" in str(finding)
    (tmp_path / "sample_submission.csv").write_text("rle,id\n,test00\n")
    with pytest.raises(ValueError, match="check that the test images belong to this sample"):
        write_submission(out, competition, tmp_path, rows)


def test_a_code_competition_whose_test_images_are_hidden_has_no_row_yet(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    out, competition = tmp_path / "s.csv", rle_contract(submission={"code_competition": True})
    assert len(write_submission(out, competition, tmp_path, [])) == 0 and out.read_text() == "id,rle\n"
    assert errors(lint_submission(out, competition, tmp_path)) == []
    with pytest.raises(ValueError, match=r"3 id\(s\) have no prediction"):
        write_submission(out, rle_contract(), tmp_path, [])
    out.write_text("id,rle\ntest00,\n")  # what the notebook wrote elsewhere is compared with the sample all the same
    assert "2 id(s) of the sample" in str(errors(lint_submission(out, competition, tmp_path))[0])


def test_instances_a_row_each_and_one_empty_row(tmp_path: Path) -> None:
    competition = rle_contract(submission={"rows": "instance", "overlap": False})
    label = np.zeros(SHAPE, np.int32)
    label[2:8, 2:9], label[20:30, 20:31] = 1, 2
    rows = encode_rows(competition, {"image_id": "a"}, (label > 0)[None], instances=label)
    assert len(rows) == 2
    planes, decoded = decode_rows(competition, rows, SHAPE)
    np.testing.assert_array_equal(decoded, label)
    np.testing.assert_array_equal(planes[0], label > 0)
    empty = encode_rows(
        competition, {"image_id": "b"}, np.zeros((1, *SHAPE), bool), instances=np.zeros(SHAPE, np.int32)
    )
    assert empty == [{"id": "b", "rle": ""}]
    with pytest.raises(ValueError, match="does not split masks"):
        encode_rows(competition, {"image_id": "a"}, (label > 0)[None])
    with pytest.raises(ValueError, match="share the pixel"):
        decode_rows(competition, [rows[0], rows[0]], SHAPE)


def test_rows_by_class_in_a_column_or_in_the_id() -> None:
    form = {"rows": "image_class", "class_column": "class", "mask_column": "predicted"}
    competition = rle_contract(classes=["x", "y"], submission=form)
    planes = np.stack([draw_mask(1), draw_mask(2)])
    rows = encode_rows(competition, {"image_id": "a"}, planes)
    assert [row["class"] for row in rows] == ["x", "y"]
    np.testing.assert_array_equal(decode_rows(competition, rows[::-1], SHAPE)[0], planes)
    inside = rle_contract(classes=["1", "2"], submission={"rows": "image_class", "id_template": "{id}_{class}"})
    rows = encode_rows(inside, {"image_id": "a"}, planes)
    assert [row["id"] for row in rows] == ["a_1", "a_2"]
    np.testing.assert_array_equal(decode_rows(inside, rows, SHAPE)[0], planes)


@pytest.mark.parametrize("template", ["{class}_{id}", "{id}_{class}.png", "{id}{class}", "{class}_of_{id}_{class}"])
def test_a_class_anywhere_in_the_id_brings_its_mask_back(template: str) -> None:
    form = {"rows": "image_class", "id_template": template}
    competition = rle_contract(classes=["1", "11", "(b"], submission=form)
    planes = np.stack([draw_mask(k) for k in range(3)])
    rows = encode_rows(competition, {"image_id": "a_1_2"}, planes)
    np.testing.assert_array_equal(decode_rows(competition, rows, SHAPE)[0], planes)


def test_confidences_have_the_decimals_that_the_template_says() -> None:
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}
    label = np.zeros(SHAPE, np.int32)
    label[2:8, 2:9], label[20:30, 20:31] = 1, 2
    fields, planes = {"image_id": "a"}, (label > 0)[None]
    form = {"mask_template": "0 {score:.2f} {mask}", "dialect": {"kind": "coco_zlib"}}
    listed = rle_contract(masks=masks, submission=form)
    rows = encode_rows(listed, fields, planes, instances=label, scores=[0.754, 0.5])
    assert rows[0]["rle"].split()[:2] == ["0", "0.75"] and rows[0]["rle"].split()[3:5] == ["0", "0.50"]
    np.testing.assert_array_equal(decode_rows(listed, rows, SHAPE)[1], label)
    each = rle_contract(masks=masks, submission={"rows": "instance", "extra": {"sure": "{score:.1f}", "as": "{score}"}})
    rows = encode_rows(each, fields, planes, instances=label, scores=[0.754, 0.5])
    assert [(row["sure"], row["as"]) for row in rows] == [("0.8", "0.7540"), ("0.5", "0.5000")]
    (none,) = encode_rows(each, fields, planes & False, instances=label * 0, scores=[])
    assert (none["sure"], none["as"]) == ("1.0", "1")


def test_volumes_slice_by_slice_further_columns_and_confidences() -> None:
    volume = np.stack([draw_mask(1), draw_mask(2)])[None]
    competition = rle_contract(submission={"id_template": "{id}_{z}"})
    assert [row["id"] for row in encode_rows(competition, {"image_id": "v"}, volume)] == ["v_0", "v_1"]
    form = {
        "extra": {"height": "{height}", "width": "{width}"}, "mask_template": "0 {score} {mask}",
        "dialect": {"kind": "coco_zlib"},
    }  # fmt: skip
    scored = rle_contract(submission=form)
    label = draw_mask(1).astype(np.int32)
    row = encode_rows(scored, {"image_id": "a"}, (label > 0)[None], instances=label, scores=[0.75])[0]
    assert (row["height"], row["width"]) == ("40", "56")
    assert row["rle"] == f"0 0.7500 {encode(label > 0, Dialect(kind='coco_zlib'))}"


def test_a_table_without_its_columns_or_its_file(tmp_path: Path) -> None:
    competition = rle_contract()
    pd.DataFrame({"id": ["a"]}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ValueError, match=r"no column \['rle'\]"):
        read_submission(tmp_path / "s.csv", competition)
    with pytest.raises(FileNotFoundError, match="expected a table with the columns"):
        read_submission(tmp_path / "none.csv", competition)
    with pytest.raises(ValueError, match="no submission can be written"):
        encode_rows(rle_contract(submission=None), {"image_id": "a"}, np.zeros((1, *SHAPE), bool))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_atomic(path, "old")
    partial_path(path).mkdir()
    with pytest.raises(OSError):
        write_atomic(path, "new")
    assert path.read_text() == "old"


def label_contract() -> Competition:
    """Two classes of whole images, named in a table."""
    return rle_contract(classes=["one", "two"], masks=NO_MASKS, submission={"rows": "label"}, exclusive=True)


def test_a_row_that_names_a_class_comes_back_as_that_class(tmp_path: Path) -> None:
    competition = label_contract()
    planes = np.zeros((2, *SHAPE), bool)
    planes[1, 3, 5] = True
    (row,) = encode_rows(competition, {"image_id": "test00"}, planes)
    assert row == {"id": "test00", "rle": "two"}
    found, instances = decode_rows(competition, [row], SHAPE)
    assert instances is None and found[1].all() and not found[0].any()
    assert encode_rows(competition, {"image_id": "test00"}, np.zeros_like(planes))[0]["rle"] == "one"


def test_a_label_that_is_no_class_is_refused_and_found_by_the_linter(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=2)
    competition = label_contract()
    with pytest.raises(ValueError, match=r"'three' is not a class of drawn; expected one of \['one', 'two'\]"):
        decode_rows(competition, [{"id": "test00", "rle": "three"}], SHAPE)
    (tmp_path / "s.csv").write_text("id,rle\ntest00,two\ntest01,three\n")
    findings = [str(one) for one in lint_submission(tmp_path / "s.csv", competition, tmp_path) if one.level == "error"]
    assert len(findings) == 1 and "row 2: id test01: 'three' is not a class of drawn" in findings[0]


@pytest.mark.parametrize("change", [{"submission": {"rows": "label"}}, {"masks": NO_MASKS}])
def test_labels_are_submitted_where_there_are_no_masks_and_nowhere_else(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'label' where masks\.kind is 'none', and cannot be 'label' otherwise"):
        rle_contract(**change)


def test_touching_objects_of_several_classes_stay_apart_in_the_hosts_solution() -> None:
    competition = load_competition("hpa-single-cell-2021")
    cells = np.zeros((1, 8, 12), np.int32)
    cells[0, 2:6, 1:5], cells[0, 2:6, 5:9] = 300, 301
    planes = np.zeros((len(competition.classes), 1, 8, 12), bool)
    planes[[0, 8]] = cells > 0
    truth = Truth(planes, objects={"0": cells, "8": cells})
    (row,) = solution_rows(competition, {"image_id": "a", "width": 12, "height": 8}, truth)
    listed = list(read_objects(competition, [row], (8, 12)))
    assert {one.name: len(one.scores) for one in listed if one.scores} == {"0": 2, "8": 2}
    assert {str(one.scores) for one in listed if one.scores} == {"[1.0, 1.0]"}
    (row,) = encode_rows(competition, {"image_id": "a", "width": 12, "height": 8}, planes[:, 0])
    assert len(row["PredictionString"].split()) == 2 * 3  # what is predicted is one part where cells touch
