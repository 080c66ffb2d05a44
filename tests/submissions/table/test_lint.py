"""The linter on drawn competitions: a right file has no finding, each fault is found with its row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_image, draw_mask, rle_contract, write_rle_host

from submissions.host.competition import Competition
from submissions.rle.codec import encode
from submissions.table import plausible
from submissions.table.alignment import Alignment
from submissions.table.findings import Finding, errors
from submissions.table.lint import lint_submission, summary
from submissions.table.plausible import sample_training, training_shares
from submissions.table.submission_table import encode_rows


def truth(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "solution.csv", dtype=str, keep_default_na=False)


def lint(folder: Path, competition: Competition, frame: pd.DataFrame, **options: object) -> list[Finding]:
    path = folder / "submission.csv"
    frame.to_csv(path, index=False)
    return lint_submission(path, competition, folder, **options)  # type: ignore[arg-type]


def causes(findings: list[Finding], level: str) -> str:
    return " | ".join(str(finding) for finding in findings if finding.level == level)


def test_a_right_submission_has_no_finding(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    training = sample_training(competition, tmp_path)
    assert training is not None and len(training) == 8
    assert lint(tmp_path, competition, truth(tmp_path), training=training) == []


def test_ids_missing_extra_twice_and_out_of_order(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    frame = truth(tmp_path)
    changed = pd.concat([frame.iloc[[1, 0, 0]], pd.DataFrame([{"id": " test02", "rle": ""}])])
    findings = lint(tmp_path, competition, changed)
    text = causes(findings, "error")
    assert "1 id(s) of the sample sample_submission.csv have no row: test02" in text
    assert "row 4: id ' test02' is not in the sample sample_submission.csv; without the blanks" in text
    assert "row 3: id test00 already has row 2" in text
    assert "row 2: id test00 comes before the previous row's id" in causes(findings, "warning")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5 3 2", "3 numbers"),
        ("9 2 3 1", "sorted"),
        (f"{SHAPE[0] * SHAPE[1]} 2", "beyond the 2240 pixels"),
        ("1 2241", "beyond the 2240 pixels"),
        ("4 0", "length 0"),
        ("0 4", "before the first pixel"),
        ("nan", "whole number"),
    ],
)
def test_masks_that_do_not_decode_are_named(tmp_path: Path, text: str, said: str) -> None:
    competition = write_rle_host(tmp_path)
    frame = truth(tmp_path)
    frame.loc[1, "rle"] = text
    findings = errors(lint(tmp_path, competition, frame))
    assert len(findings) == 1 and findings[0].row == 2
    assert "id test01: " in findings[0].cause and said in findings[0].cause


def test_without_a_sample_the_test_images_say_which_ids(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    (tmp_path / "sample_submission.csv").unlink()
    assert lint(tmp_path, competition, truth(tmp_path)) == []
    assert "1 id(s) of the test images have no row: test02" in causes(
        lint(tmp_path, competition, truth(tmp_path)[:2]), "error"
    )


def test_without_sizes_masks_are_read_as_far_as_it_goes(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    frame = truth(tmp_path)
    frame.loc[0, "rle"] = "3 4 2 1"
    findings = lint(tmp_path, competition, frame)
    assert "row 1" in causes(findings, "error")
    assert "3 row(s) belong to no image in the data folder" in causes(findings, "warning")
    (tmp_path / "sample_submission.csv").unlink()
    assert "ids are not checked" in causes(lint(tmp_path, competition, frame), "warning")


def test_a_damaged_test_image_is_a_warning(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    (tmp_path / "test" / "test01.png").write_bytes(b"no picture")
    findings = lint(tmp_path, competition, truth(tmp_path))
    assert not errors(findings)
    assert "size of test01 is not known" in causes(findings, "warning")


def test_an_image_of_unknown_size_has_its_row(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    (tmp_path / "sample_submission.csv").unlink()
    (tmp_path / "test" / "test01.png").write_bytes(b"no picture")
    assert not errors(lint(tmp_path, competition, truth(tmp_path)))
    assert "have no row: test01" in causes(lint(tmp_path, competition, truth(tmp_path).drop(index=1)), "error")


def test_columns_and_the_file_itself(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    frame = truth(tmp_path)
    assert "no column ['rle']" in causes(lint(tmp_path, competition, frame[["id"]]), "error")
    assert "['more'] are not in the sample" in causes(lint(tmp_path, competition, frame.assign(more="1")), "error")
    assert "order" in causes(lint(tmp_path, competition, frame[["rle", "id"]]), "warning")
    small = rle_contract(submission={"max_bytes": 10})
    assert "the host accepts at most 10" in causes(lint(tmp_path, small, frame), "error")
    path = tmp_path / "submission.csv"
    for content in (
        b"",
        b"id,rle\ntest00,1 2,3,4\n",
        b"id,rle\ntest00,1 2\ntest01,1 2,5\n",
        b"id,rle\n\xff\xfe,1\n",
    ):
        path.write_bytes(content)
        assert "not readable as a CSV table" in causes(lint_submission(path, competition, tmp_path), "error")


def test_a_missing_file_and_a_host_without_submissions_raise(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file; expected a submission"):
        lint_submission(tmp_path / "none.csv", competition, tmp_path)
    with pytest.raises(ValueError, match="no section `submission`"):
        lint_submission(tmp_path / "none.csv", rle_contract(submission=None), tmp_path)


def test_the_sample_handed_in_is_noticed(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    assert "is this the sample?" in causes(lint(tmp_path, competition, truth(tmp_path).assign(rle="1 1")), "warning")


def test_masks_turned_against_their_images_are_an_error(tmp_path: Path) -> None:
    competition, shape = rle_contract(), (120, 160)
    masks = [np.kron(draw_mask(100 + index, (40, 56)), np.ones((3, 3), bool))[:, :160] for index in range(12)]
    (tmp_path / "test").mkdir()
    for index, mask in enumerate(masks):
        cv2.imwrite(str(tmp_path / "test" / f"test{index:02d}.png"), draw_image(mask, index))
    frame = pd.DataFrame({"id": [f"test{index:02d}" for index in range(12)]})
    right = frame.assign(rle=[encode(mask, competition.dialect) for mask in masks])
    turned = frame.assign(rle=[encode(mask[::-1, ::-1], competition.dialect) for mask in masks])
    assert masks[0].shape == shape
    assert lint(tmp_path, competition, right) == []
    assert "rotated by 180 degrees" in causes(lint(tmp_path, competition, turned), "error")
    assert [finding.doubt for finding in errors(lint(tmp_path, competition, turned))] == [True]
    (tmp_path / "test" / "test11.png").unlink()
    few = lint(tmp_path, competition, turned[:11])
    assert not errors(few) and "on 11 image(s): masks do not fit" in causes(few, "warning")


def test_slices_of_one_volume_are_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rle_host(tmp_path, test=0)
    (tmp_path / "sample_submission.csv").unlink()
    voxels = np.random.default_rng(0).integers(0, 255, (SHAPE[1], SHAPE[0], 14), np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "test" / "v.nii")
    images = {"kind": "volumes", "train": "train/{id}.nii", "test": "test/{id}.nii"}
    competition = rle_contract(images=images, submission={"id_template": "{id}_{z}"})
    frame = pd.DataFrame(encode_rows(competition, {"image_id": "v"}, np.stack([draw_mask(z) for z in range(14)])[None]))

    def misaligned(pairs: Iterable[object]) -> Alignment:
        return Alignment("misaligned", "flipud", 1.0, {}, len(list(pairs)), "upside down")

    monkeypatch.setattr(plausible, "check_alignment", misaligned)
    (found,) = lint(tmp_path, competition, frame)
    assert (found.level, found.cause) == ("warning", "on 1 image(s): upside down")


def test_overlap_is_an_error_only_where_the_host_forbids_it(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}
    frame = pd.DataFrame({"id": ["test00", "test00", "test01", "test02"], "rle": ["1 90", "85 20", "1 4", ""]})
    forbidden = rle_contract(masks=masks, submission={"rows": "instance", "overlap": False})
    found = errors(lint(tmp_path, forbidden, frame))
    assert [finding.row for finding in found] == [2]
    assert "pixel (row 4, col 2) is also in row 1" in found[0].cause
    allowed = rle_contract(masks=masks, submission={"rows": "instance"})
    assert errors(lint(tmp_path, allowed, frame)) == []


def test_sizes_unlike_training_are_warnings(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path, test=12, empty=0)
    training = sample_training(competition, tmp_path)
    frame = truth(tmp_path)
    empty = lint(tmp_path, competition, frame.assign(rle=""), training=training)
    assert "100% of 12 masks are empty, 0% of 8 in training" in causes(empty, "warning")
    huge = lint(tmp_path, competition, frame.assign(rle="1 2240"), training=training)
    assert "the median mask covers 100.00%" in causes(huge, "warning")
    assert "row 1: covers 100.0% of its image" in causes(huge, "warning")
    assert "masks larger than any in training: 12 rows in all" in causes(huge, "warning")
    assert not errors(empty + huge)


def test_the_table_of_training_areas_must_have_its_columns(tmp_path: Path) -> None:
    competition = rle_contract()
    with pytest.raises(ValueError, match="area_thing"):
        training_shares(competition, pd.DataFrame({"height": [4], "width": [5]}))
    table = pd.DataFrame({"split": ["train", "test"], "height": 4, "width": 5, "area_thing": [10, np.nan]})
    np.testing.assert_allclose(training_shares(competition, table)[0], [0.5])


def test_summary_counts() -> None:
    assert summary([]) == "0 errors, 0 warnings"
    assert summary([Finding("error", 1, "x"), Finding("warning", None, "y")]) == "1 error, 1 warning"
