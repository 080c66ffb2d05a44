from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from drawn_hosts import rle_contract, write_rle_host
from drawn_layouts import LAYOUTS

from submissions.host.competition import load_competition
from submissions.table.sample_check import check_sample

GOOD = "id,rle\ntest00,\ntest01,\ntest02,\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    write_rle_host(tmp_path)
    return tmp_path


def test_a_sample_that_fits_has_no_problem_and_none_is_needed(host: Path) -> None:
    assert check_sample(rle_contract(), host) == []
    (host / "sample_submission.csv").unlink()
    assert check_sample(rle_contract(), host) == []
    assert check_sample(rle_contract(submission=None), host) == []


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        (GOOD.replace(",", ";"), "utf-8", "separated by ';', expected ','; save it with commas"),
        (GOOD, "utf-16", "encoded as UTF-16; save it as UTF-8"),
        ("", "utf-8", "the file is empty"),
        (GOOD + "test00,\n", "utf-8", "1 id(s) in more than one row: test00"),
        (GOOD + "test77,\n", "utf-8", "1 id(s) without a test image: test77"),
        (GOOD.replace("test01,\n", ""), "utf-8", "no row for 1 test image(s): test01"),
        (GOOD.replace("id,rle", "ID,rle"), "utf-8", "no column ['id']; it has ['ID', 'rle']; capitals and blanks"),
        ("ä".encode("latin-1").decode("latin-1") + GOOD, "latin-1", "is not UTF-8"),
    ],
)
def test_each_fault_is_named_with_its_file(host: Path, text: str, encoding: str, words: str) -> None:
    (host / "sample_submission.csv").write_bytes(text.encode(encoding))
    problems = check_sample(rle_contract(), host)
    assert len(problems) == 1 and "sample_submission.csv" in str(problems[0])
    assert words in str(problems[0])


def test_rows_of_instances_may_repeat_an_id(host: Path) -> None:
    (host / "sample_submission.csv").write_text(GOOD + "test00,\n")
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "instances": True}
    assert check_sample(rle_contract(masks=masks, submission={"rows": "instance"}), host) == []


def test_a_template_that_gives_two_images_one_id_is_named(host: Path) -> None:
    contract = rle_contract(images={"train": "train/{id}.png", "test": "{part}/{name:5}{n}.png", "id": "{id}",
                                    "test_id": "{name}{n}"}, submission={"id_template": "{name}"})  # fmt: skip
    problems = check_sample(contract, host)
    assert "submission.id_template '{name}' gives" in str(problems[-1])


def test_a_code_competition_whose_sample_is_a_header_only(host: Path) -> None:
    pd.DataFrame(columns=["id", "rle"]).to_csv(host / "sample_submission.csv", index=False)
    assert "no row for 3 test image(s)" in str(check_sample(rle_contract(), host)[0])
    assert check_sample(rle_contract(submission={"code_competition": True}), host) == []
    for path in (host / "test").iterdir():
        path.unlink()
    assert check_sample(rle_contract(), host) == []


@pytest.mark.parametrize("name", [name for name in LAYOUTS if load_competition(name).submission])
def test_samples_of_known_layouts_fit(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    LAYOUTS[name](tmp_path / name)
    assert check_sample(load_competition(name), tmp_path / name) == []
