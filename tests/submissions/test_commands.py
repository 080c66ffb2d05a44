"""python -m submissions: what it prints, and the exit status."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from drawn_hosts import write_rle_host

from submissions.__main__ import main
from submissions.kaggle.ledger import Entry, record


@pytest.fixture
def host(tmp_path: Path) -> list[str]:
    """A drawn competition; the arguments that every command on a file takes."""
    competition = write_rle_host(tmp_path)
    contract = tmp_path / "drawn.yaml"
    contract.write_text(yaml.safe_dump(competition.model_dump(mode="json", exclude_defaults=True)))
    return [str(tmp_path / "solution.csv"), "--competition", str(contract), "--data", str(tmp_path)]


def test_lint_tells_errors_from_warnings(host: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", *host]) == 0
    assert capsys.readouterr().out.endswith("solution.csv: 0 errors, 0 warnings\n")
    frame = pd.read_csv(host[0])
    frame.loc[0, "rle"] = "7"
    frame[::-1].to_csv(host[0], index=False)
    assert main(["lint", *host]) == 1
    out = capsys.readouterr().out
    assert "error: row 3: id test00: 1 numbers" in out and "warning: row 2: " in out
    assert out.endswith("1 error, 1 warning\n")
    training = pd.DataFrame({"split": ["train"], "height": [40], "width": [56], "area_thing": [200]})
    training.to_csv(tmp_path / "inventory.csv", index=False)
    assert main(["lint", *host, "--training", str(tmp_path / "inventory.csv")]) == 1
    assert main(["lint", *host, "--no-training"]) == 1


def test_lint_says_when_training_cannot_be_read(
    host: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"id": ["train00"], "rle": ["5"]}).to_csv(tmp_path / "train.csv", index=False)
    assert main(["lint", *host]) == 0
    assert "warning: sizes are not compared with training: " in capsys.readouterr().out


def test_score_prints_all_parts(host: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth.csv"
    pd.read_csv(host[0]).assign(Usage=["Public", "Private", "Ignored"]).to_csv(truth, index=False)
    assert main(["score", host[0], str(truth), *host[1:], "--units", str(tmp_path / "units.csv")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["dice,", "drawn"]
    assert ["overall", "1.000000", "(2", "images)"] in lines
    assert ["Usage", "Public", "1.000000", "(1", "images)"] in lines
    assert len(pd.read_csv(tmp_path / "units.csv")) == 2


def test_show_writes_a_picture(host: list[str], tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    assert main(["show", *host, "--id", "test01", "--out", str(out)]) == 0
    assert out.stat().st_size > 0


def test_ledger_prints_and_takes_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ledger.csv"
    assert main(["ledger", "--file", str(path)]) == 0
    assert "empty" in capsys.readouterr().out
    record(path, Entry("salt", "base", "abcdef", cv=0.8, cv_low=0.7, cv_high=0.9))
    assert main(["ledger", "--file", str(path), "--submission", "abc", "--public", "0.75"]) == 0
    assert "salt, CV and public leaderboard: noise" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["ledger", "--file", str(path), "--public", "0.75"])


def test_what_the_user_can_put_right_is_one_sentence(host: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "none.csv", *host[1:]]) == 1
    assert capsys.readouterr().err.startswith("error: none.csv: no such file")
    assert main(["draw"]) == 2 and "found 'draw'" in capsys.readouterr().err
    assert main([]) == 2 and "a word is missing" in capsys.readouterr().err
    assert main(["--help"]) == 0 and "lint SUBMISSION" in capsys.readouterr().out


def test_it_runs_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["submissions", "--help"])
    monkeypatch.delitem(sys.modules, "submissions.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("submissions.__main__", run_name="__main__")
    assert caught.value.code == 0
