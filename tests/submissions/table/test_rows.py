"""Which image, slice and class a row speaks of, which masks stand in its cell, and the linter on such tables."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.sample import submission_format
from submissions.table.findings import Finding, errors, rows_findings
from submissions.table.lint import lint_submission
from submissions.table.rows import Place, answer_shape, assumed_shape, empty_rows, row_places, sample_rows
from submissions.table.submission_table import cell_masks, encode_rows

INSTANCES = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}


def opened(folder: Path, competition: object) -> ListedImages:
    listing, _ = list_images(competition, folder, "test")  # type: ignore[arg-type]
    return ListedImages(competition, folder, listing)  # type: ignore[arg-type]


def test_places_of_rows(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=2)
    images = opened(tmp_path, rle_contract())
    assert answer_shape(images, "test01") == (1, *SHAPE)
    shapes = {"test00": (1, *SHAPE), "test01": (2, *SHAPE)}
    classes = ["a", "b"]
    plain = rle_contract(submission={"id_template": "{id}_{z}"})
    assert row_places(plain, images, shapes) == {
        ("test00_0",): Place("test00", 0, None),
        ("test01_0",): Place("test01", 0, None),
        ("test01_1",): Place("test01", 1, None),
    }
    named = rle_contract(classes=classes, submission={"rows": "image_class", "class_column": "kind"})
    assert row_places(named, images, {"test00": (1, *SHAPE)}) == {
        ("test00", "a"): Place("test00", 0, 0),
        ("test00", "b"): Place("test00", 0, 1),
    }
    inside = rle_contract(classes=classes, submission={"rows": "image_class", "id_template": "{class}_{id}"})
    assert set(row_places(inside, images, {"test00": (1, *SHAPE)})) == {("a_test00",), ("b_test00",)}
    with pytest.raises(
        ValueError, match=r"test01 has 2 slices, and submission.id_template '{id}' no {z}: images.frame"
    ):
        row_places(rle_contract(submission={}), images, shapes)
    alike = rle_contract(submission={"id_template": "all"})
    with pytest.raises(ValueError, match="add fields that differ"):
        row_places(alike, images, dict.fromkeys(("test00", "test01"), (1, *SHAPE)))


def test_masks_of_a_cell() -> None:
    whole = submission_format(rle_contract())
    assert cell_masks(whole, "1 2 5 1") == [("1 2 5 1", 1.0)] and not whole.wants_objects
    listed = submission_format(rle_contract(masks=INSTANCES, submission={"mask_template": "0 {score} {mask}"}))
    assert cell_masks(listed, "0 0.9 abc 0 1e-1 d,e") == [("abc", 0.9), ("d,e", 0.1)]
    assert cell_masks(listed, "  ") == [] and listed.wants_objects
    single = submission_format(
        rle_contract(masks=INSTANCES, submission={"rows": "instance", "mask_template": "{score}: {mask}"})
    )
    assert cell_masks(single, "0.5: 1 2 5 1") == [("1 2 5 1", 0.5)]


@pytest.mark.parametrize("cell", ["0 0.9", "1 0.9 abc", "0 0.9 abc 0", "0 0.9 abc x"])
def test_cells_that_do_not_fit_the_template(cell: str) -> None:
    form = submission_format(rle_contract(masks=INSTANCES, submission={"mask_template": "0 {score} {mask}"}))
    with pytest.raises(ValueError, match=r"does not match the contract's mask_template '0 \{score\} \{mask\}'"):
        cell_masks(form, cell)


@pytest.mark.parametrize("score", ["high", "nan", "inf"])
def test_confidences_are_finite_numbers(score: str) -> None:
    form = submission_format(rle_contract(masks=INSTANCES, submission={"mask_template": "0 {score} {mask}"}))
    with pytest.raises(ValueError, match=f"confidence '{score}', expected a number"):
        cell_masks(form, f"0 {score} abc")


def lint(folder: Path, competition: object, frame: pd.DataFrame) -> list[Finding]:
    path = folder / "submission.csv"
    frame.to_csv(path, index=False)
    return lint_submission(path, competition, folder)  # type: ignore[arg-type]


def test_the_linter_reads_lists_of_instances(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=2)
    form = {
        "mask_template": "0 {score} {mask}",
        "dialect": {"kind": "coco_zlib"},
        "extra": {"height": "{height}", "width": "{width}"},
        "overlap": False,
    }
    competition = rle_contract(masks=INSTANCES, submission=form)
    label = np.zeros(SHAPE, np.int32)
    label[2:9, 3:9], label[20:30, 20:40] = 1, 2
    rows = [
        row
        for name in ("test00", "test01")
        for row in encode_rows(competition, {"image_id": name}, (label > 0)[None], instances=label, scores=[0.9, 0.4])
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "sample_submission.csv", index=False)
    assert lint(tmp_path, competition, frame) == []
    wrong = frame.copy()
    wrong.loc[0, "rle"] += " 0 0.3 " + wrong.loc[0, "rle"].split()[2]
    wrong.loc[1, ["height", "rle"]] = ["56", "0 sure abc"]
    found = {finding.row: finding.cause for finding in errors(lint(tmp_path, competition, wrong)) if finding.row == 1}
    assert "pixel (row 2, col 3) is also in row 1" in found[1]
    causes = " | ".join(str(finding) for finding in lint(tmp_path, competition, wrong))
    assert "row 2: id test01: column height is '56', expected '40'" in causes
    assert "row 2: id test01: confidence 'sure'" in causes
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    assert "they are not read" in str(lint(tmp_path, competition, frame)[0])


def test_the_linter_compares_classes_of_an_image(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=2)
    form = {"rows": "image_class", "class_column": "kind", "overlap": False}
    competition = rle_contract(classes=["a", "b"], submission=form)
    masks = np.stack([draw_mask(1), ~draw_mask(1)])
    rows = [row for name in ("test00", "test01") for row in encode_rows(competition, {"image_id": name}, masks)]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "sample_submission.csv", index=False)
    assert errors(lint(tmp_path, competition, frame)) == []
    frame.loc[3, "rle"] = frame.loc[2, "rle"]
    assert [finding.row for finding in errors(lint(tmp_path, competition, frame))] == [4]
    assert "have no row: test01/b" in str(errors(lint(tmp_path, competition, frame[:3]))[0])


def test_a_dialect_of_missing_rows_misses_none(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=2)
    form = {"rows": "image_class", "id_template": "{id}_{class}", "dialect": {"empty": "missing"}}
    competition = rle_contract(submission=form)
    row = encode_rows(competition, {"image_id": "test00"}, draw_mask(100)[None])
    (tmp_path / "sample_submission.csv").unlink()
    assert lint(tmp_path, competition, pd.DataFrame(row)) == []


def test_many_faults_of_a_kind_are_counted() -> None:
    found = rows_findings("error", "wrong rows", ((index, "cause") for index in range(30)), shown=3)
    assert [finding.row for finding in found] == [1, 2, 3, None]
    assert found[-1].cause == "wrong rows: 30 rows in all, the first 3 are named"


SIZED = {
    "mask_template": "0 {score} {mask}",
    "dialect": {"kind": "coco_zlib"},
    "extra": {"height": "{height}", "width": "{width}"},
}


def write_sample(folder: Path, competition: object, sizes: dict[str, tuple[int, int]]) -> None:
    rows = [{"id": name, "height": size[0], "width": size[1], "rle": ""} for name, size in sizes.items()]
    pd.DataFrame(rows).to_csv(folder / submission_format(competition).sample, index=False)  # type: ignore[arg-type]


def test_the_size_of_an_image_is_that_of_its_header_else_the_samples_else_its_neighbours(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=3)
    competition = rle_contract(masks=INSTANCES, submission=SIZED)
    write_sample(tmp_path, competition, {"test00": (1, 1), "test01": (33, 70)})
    images, sample = opened(tmp_path, competition), sample_rows(competition, tmp_path)
    assert assumed_shape(images, "test00", sample) == (1, *SHAPE)
    for path in (tmp_path / "test").iterdir():
        path.write_bytes(b"no picture" if path.stem != "test02" else path.read_bytes())
    assert assumed_shape(images, "test01", sample) == (1, 33, 70)
    assert assumed_shape(images, "test01", {}) == (1, *SHAPE)
    (tmp_path / "test" / "test02.png").write_bytes(b"")
    assert assumed_shape(images, "test01", {}) == (1, 1, 1)


def test_a_table_of_the_test_images_says_their_size(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=2)
    pd.DataFrame({"id": ["test00", "test01"], "height": ["20", "?"], "width": "30"}).to_csv(tmp_path / "t.csv")
    competition = rle_contract(test_tables=[{"file": "t.csv"}])
    for path in (tmp_path / "test").iterdir():
        path.write_bytes(b"no picture")
    images = opened(tmp_path, competition)
    assert [assumed_shape(images, name, {}) for name in images.ids] == [(1, 20, 30), (1, 1, 30)]


def test_empty_rows_of_a_large_image_take_no_memory(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=1)
    (tmp_path / "test" / "test00.png").write_bytes(b"no picture")
    counts = {**SIZED, "mask_template": "{mask}", "dialect": {"kind": "coco"}}
    for masks, form, cell in ((INSTANCES, SIZED, ""), ({**INSTANCES, "instances": False}, counts, "[400000000]")):
        competition = rle_contract(masks=masks, submission=form)
        write_sample(tmp_path, competition, {"test00": (20_000, 20_000)})
        tracemalloc.start()
        (row,) = empty_rows(opened(tmp_path, competition), ["test00"], sample_rows(competition, tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (row["height"], row["width"], row["rle"]) == ("20000", "20000", cell)
        assert peak < 150e6
