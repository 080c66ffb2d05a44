"""Stage 09 on a drawn competition: the row in the ledger, the score, the upload, and what is missing."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from drawn_hosts import rle_contract, write_rle_host

import pipeline.delivery.submitting as submitting
from pipeline.data.inventory import take_inventory, write_inventory
from pipeline.delivery.submitting import code_folders, host_name, promised, scored_locally, upload
from pipeline.experiment import load_experiment
from pipeline.prediction.prediction_stages import written_by
from pipeline.stage import Stage
from pipeline.workspace import Workspace, git_state
from submissions.kaggle.ledger import read_ledger
from submissions.kaggle.upload import Patience, Submitted, file_hash

FACTS = {"score": 0.9, "interval": [0.88, 0.92], "prediction": [0.8, 0.95], "folds": {"0": 0.89, "1": 0.91}}


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """An experiment whose stages 01, 06 and 07 are done; the truth is its submission."""
    competition = write_rle_host(tmp_path / "data")
    contract = tmp_path / "drawn.yaml"
    contract.write_text(yaml.safe_dump(competition.model_dump(mode="json", exclude_defaults=True)))
    (tmp_path / "mine.yaml").write_text(f"competition: {contract}\n")
    experiment = load_experiment(tmp_path / "mine.yaml")
    made = Workspace(experiment, competition, tmp_path / "data", tmp_path / "runs")
    inspections = [one for _, _, found in take_inventory(competition, made.data) for one in found]
    inventory = Stage("01_check_data", made.inventory, {})
    inventory.begin()
    write_inventory(made.inventory, inspections)
    inventory.finish(output="abc")
    finish(made, "tuning", **FACTS)
    finish(made, "test", **written_by(made))
    decision = {"learned": {"rule": "global", "values": [128]}}
    (made.own / "tuning" / "decision.json").write_text(json.dumps(decision))
    shutil.copy(made.data / "solution.csv", made.own / "submission.csv")
    return made


def finish(space: Workspace, folder: str, metric: str | None = None, **facts: Any) -> None:
    settings = {"tune": {"metric": metric, "metric_params": {}}, "metric": space.competition.metric.model_dump()}
    stage = Stage(folder, space.own / folder, settings)
    stage.begin(overwrite=True)
    stage.finish(**facts)


def arguments(space: Workspace, tmp_path: Path, *more: str) -> list[str]:
    given = [str(tmp_path / "mine.yaml"), "--data", str(space.data), "--runs", str(space.runs)]
    return [*given, "--ledger", str(tmp_path / "ledger.csv"), *more]


def test_what_the_stages_promised_becomes_a_row(space: Workspace) -> None:
    entry = promised(space)
    assert (entry.cv, entry.cv_low, entry.cv_high) == (0.9, 0.88, 0.92)
    assert (entry.predicted_low, entry.predicted_high) == (0.8, 0.95)
    assert entry.folds == {"0": 0.89, "1": 0.91}
    assert entry.submission == file_hash(space.own / "submission.csv")
    assert entry.decision.startswith("global [128] ")
    (space.own / "tuning" / "decision.json").unlink()
    finish(space, "tuning", score=float("nan"), interval=[float("nan"), 0.5])
    bare = promised(space)
    assert (bare.cv, bare.cv_low, bare.cv_high, bare.predicted_low, bare.folds) == (None, None, 0.5, None, {})


def test_a_score_in_another_metric_is_no_cv(
    space: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for metric, cv in ((None, 0.9), ("dice", 0.9), ("iou", None)):
        finish(space, "tuning", metric, **FACTS)
        finish(space, "test", **written_by(space))
        entry = promised(space)
        assert entry.cv == cv and bool(entry.folds) == (cv is not None) == (entry.predicted_low is not None)
    importlib.import_module("pipeline.09_submit").main(arguments(space, tmp_path))
    assert "the row has no CV" in capsys.readouterr().out
    assert read_ledger(tmp_path / "ledger.csv")["cv"].tolist() == [""]
    stacks = space.competition.metric.model_copy(update={"unit": "stack"})
    finish(space, "tuning", **FACTS)
    finish(space, "test", **written_by(space))
    assert promised(replace(space, competition=space.competition.model_copy(update={"metric": stacks}))).cv is None


def test_a_submission_of_another_decision_or_form_is_refused(space: Workspace) -> None:
    finish(space, "tuning", "iou", **FACTS)
    with pytest.raises(ValueError, match=r"not written with the current decision in tuning/.*07_predict_test\.py mine"):
        promised(space)
    finish(space, "tuning", **FACTS)
    assert promised(space).cv == 0.9
    other = rle_contract(submission={"dialect": {"order": "row"}})
    with pytest.raises(ValueError, match="or not in the form of the current contract"):
        promised(replace(space, competition=other))


def test_missing_stages_are_named(space: Workspace) -> None:
    finish(space, "tuning")
    with pytest.raises(ValueError, match=r"no score; run 06_tune\.py mine --overwrite"):
        promised(space)
    finish(space, "tuning", **FACTS)
    (space.own / "submission.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"run 07_predict_test\.py mine first"):
        promised(space)


def test_a_solution_scores_the_submission(space: Workspace) -> None:
    entry, lines = scored_locally(space, promised(space), space.data / "solution.csv")
    assert entry.public == 1.0 and entry.private is None
    assert lines == ["dice 1.000000 over 3 units"]
    truth = pd.read_csv(space.data / "solution.csv").assign(Usage=["Public", "Private", "Private"])
    truth.to_csv(space.data / "parts.csv", index=False)
    entry, lines = scored_locally(space, promised(space), space.data / "parts.csv")
    assert (entry.public, entry.private) == (1.0, 1.0) and "  Usage Private: 1.000000 (2)" in lines


def test_the_competition_s_name_on_the_host() -> None:
    assert host_name(rle_contract()) == "drawn"
    for url in ("https://www.kaggle.com/c/salt-2018", "https://www.kaggle.com/competitions/salt-2018/data"):
        assert host_name(rle_contract(url=url)) == "salt-2018"


def test_git_state(tmp_path: Path) -> None:
    assert git_state(tmp_path / "nowhere") == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    clean = git_state(tmp_path)
    assert len(clean) == 12
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == f"{clean}-dirty"


class Host:
    """Takes everything; its scores are there at once."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def submissions(self, competition: str) -> list[Submitted]:
        return [Submitted("5", text, "complete", 0.87, None) for text in self.sent]

    def submit_file(self, competition: str, path: Path, message: str) -> None:
        self.sent.append(message)


def test_the_stage_writes_scores_and_uploads(
    space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = importlib.import_module("pipeline.09_submit")
    host = Host()
    monkeypatch.setattr(stage, "connect", lambda: host)
    stage.main(arguments(space, tmp_path))
    stage.main(arguments(space, tmp_path, "--solution", str(space.data / "solution.csv")))
    assert read_ledger(tmp_path / "ledger.csv")["public"].tolist() == ["1.0"]
    assert host.sent == []
    for _ in range(2):
        stage.main(arguments(space, tmp_path, "--upload", "--message", "first"))
    assert len(host.sent) == 1 and host.sent[0].startswith("first [")
    table = read_ledger(tmp_path / "ledger.csv")
    assert table[["public", "description", "cv"]].values.tolist() == [["0.87", "first", "0.9"]]
    assert "drawn 5: public 0.87" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--upload"]])
def test_a_file_with_errors_is_neither_recorded_nor_uploaded(
    more: list[str],
    space: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = importlib.import_module("pipeline.09_submit")
    monkeypatch.setattr(stage, "connect", lambda: pytest.fail("nothing may be sent"))
    (space.own / "submission.csv").write_text("id,rle\ntest00,1\n")
    with pytest.raises(SystemExit):
        stage.main(arguments(space, tmp_path, *more))
    assert "the linter found errors" in capsys.readouterr().err
    assert read_ledger(tmp_path / "ledger.csv").empty


def test_code_competitions_hand_in_folders(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    code = replace(space, competition=rle_contract(submission={"code_competition": True}))
    assert code_folders(code, None, Path("k")) == (code.own / "bundle", Path("k"))
    given: list[Any] = []
    monkeypatch.setattr(submitting, "submit_code", lambda *positional, **named: given.extend(positional))
    host: Any = Host()
    upload(code, host, "salt", "text", code=code_folders(code, None, None), patience=Patience())
    assert given == [host, "salt", code.own / "bundle", code.own / "kernel", "text"]
    (code.own / "bundle").mkdir()
    (code.own / "bundle/decision.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not the current decision in tuning/; run 08_bundle\.py mine --overwrite"):
        upload(code, host, "salt", "text", code=code_folders(code, None, None), patience=Patience())
