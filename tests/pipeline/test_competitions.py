"""The six real competitions from the host's files to a decision, and where there is a test set to a linted CSV."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from inference.decide.decision import load_decision
from pipeline.sequence import run_stages
from submissions.host.competition import load_competition
from submissions.table.lint import lint_submission

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(900)]

COMMON = ["tune.copies=12", "train.epochs=1", "train.validate_images=2", "predict.views=[identity]", "tune.rounds=100"]
SMOKE = {
    "tgs-salt": ["limit=60", "folds.n=2", "folds.use=[0]", "train.steps_per_epoch=10", "train.batch_size=8"],
    "dsb2018": ["limit=24", "folds.n=2", "folds.use=[0]", "train.steps_per_epoch=6", "train.batch_size=4"],
    "monuseg": ["folds.use=[0]", "train.steps_per_epoch=4", "train.batch_size=2"],
    "hippocampus": ["limit=12", "folds.n=2", "folds.use=[0]", "train.steps_per_epoch=6", "train.batch_size=4"],
    "isbi2012": ["folds.use=[1]", "train.steps_per_epoch=6", "train.batch_size=2", "train.patch=[128,128]"],
    "camvid": ["limit=24", "folds.use=[0]", "train.steps_per_epoch=6", "train.batch_size=2", "train.patch=[128,128]"],
}


def smoke_arguments(name: str) -> list[str]:
    """The command line that makes an experiment its smoke size."""
    return [word for setting in [f"name={name}-smoke", *COMMON, *SMOKE[name]] for word in ("--set", setting)]


@pytest.mark.parametrize("name", SMOKE)
def test_a_real_competition_end_to_end(name: str, shared_data: Path, tmp_path: Path) -> None:
    data, own = shared_data / name, tmp_path / "runs" / name / f"{name}-smoke"
    if not data.is_dir():
        pytest.skip(f"{data} is not at hand")
    run_stages([name, "--data", str(data), "--runs", str(tmp_path / "runs"), *smoke_arguments(name)])
    competition = load_competition(name)
    decision = load_decision(own / "tuning" / "decision.json")
    assert decision.classes == competition.classes
    facts = json.loads((own / "tuning" / "stage.json").read_text())
    assert 0 <= facts["score"] <= 1
    assert len(pd.read_csv(own / "tuning" / "scores.csv")) == len(list((own / "oof").glob("*.h5")))
    if competition.submission is None:
        assert not (own / "submission.csv").exists()
        return
    findings = lint_submission(own / "submission.csv", competition, data)
    assert [finding for finding in findings if finding.level == "error"] == []
    sample = pd.read_csv(data / competition.submission.sample, dtype=str)
    written = pd.read_csv(own / "submission.csv", dtype=str)
    ids = competition.submission.id_column
    assert list(dict.fromkeys(written[ids])) == list(dict.fromkeys(sample[ids]))
