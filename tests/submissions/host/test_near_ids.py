"""Ids that differ by an ending, leading zeros or capitals are told, with what to write."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from drawn_hosts import rle_contract, write_rle_host

from submissions.host.listing import list_images
from submissions.host.near_ids import difference
from submissions.table.sample_check import check_sample


@pytest.mark.parametrize(
    ("named", "known", "words"),
    [
        (["a.png", "b.png"], ["a", "b"], "by an ending only: 'a.png' there, 'a' here; write the table's strip: .png"),
        (["a", "b"], ["a.nii.gz", "b.nii.gz"], "the ending is in the images' ids"),
        (["img_7", "img_12"], ["img_007", "img_012"], "by leading zeros only: 'img_12' there, 'img_012' here"),
        (["A1", "B2"], ["a1", "b2"], "by capitals only"),
        (["007.JPG", "8.jpg"], ["7", "008"], "by an ending and leading zeros only"),
        (["A.PNG"], ["a"], "by an ending and capitals only"),
        (["A_01.PNG"], ["a_1"], "by an ending, leading zeros and capitals only"),
    ],
)
def test_what_ids_differ_by(named: list[str], known: list[str], words: str) -> None:
    assert words in difference(named, known)


def test_ids_that_have_nothing_to_do_with_each_other() -> None:
    assert difference(["a", "b"], ["x", "y"]) == "" and difference([], ["x"]) == "" and difference(["x"], []) == ""
    assert difference(["a.png", "b", "c", "d"], ["a", "x", "y", "z"]) == ""  # one of four


def test_tables_and_samples_say_so(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=3)
    for name in ("train.csv", "sample_submission.csv"):
        frame = pd.read_csv(tmp_path / name, dtype=str, keep_default_na=False)
        frame.assign(id=frame["id"] + ".png").to_csv(tmp_path / name, index=False)
    _, problems = list_images(rle_contract(), tmp_path, "train")
    assert len(problems) == 16 and all("write the table's strip: .png" in str(one) for one in problems)
    assert all(
        "strip: .png, or the submission's id_template" in str(one) for one in check_sample(rle_contract(), tmp_path)
    )
