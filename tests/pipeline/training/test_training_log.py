"""The log: one line per epoch, cut back to where a restart begins."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.training.training_log import TrainingLog, read_log


def test_rows_are_read_back_and_shown_in_tensorboard(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as log:
        log.write({"epoch": 0, "loss": 0.5, "validation": {"score": 0.25}})
        log.write({"epoch": 1, "loss": math.nan, "validation": {"score": np.float64("inf")}})
        log.picture("worst_0", np.zeros((5, 7, 3), np.uint8), 1)
    rows = read_log(tmp_path / "log.jsonl")
    assert rows[0] == {"epoch": 0, "loss": 0.5, "validation": {"score": 0.25}}
    assert rows[1] == {"epoch": 1, "loss": None, "validation": {"score": None}}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Scalars("validation/score")[0].value == 0.25
    assert events.Tags()["images"] == ["worst_0"]


def test_a_restart_takes_out_what_will_be_trained_again(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as log:
        for epoch in range(3):
            log.write({"epoch": epoch, "loss": 1.0 / (epoch + 1)})
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "lo')
    assert len(read_log(path)) == 3
    with TrainingLog(tmp_path, resumed=2) as log:
        log.write({"epoch": 2, "loss": 9.0})
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [1.0, 0.5, 9.0]


def test_no_log_is_no_rows(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


def train_and_go_on(folder: Path, logger: str) -> None:
    """Two epochs and a picture, then a restart that trains the second anew."""
    named: dict[str, Any] = {"loggers": [logger], "name": "tiny fold_0", "project": "drawn", "settings": {"seed": 3}}
    with TrainingLog(folder, **named) as log:
        log.write({"epoch": 0, "loss": 0.5, "validation": {"score": 0.25}})
        log.write({"epoch": 1, "loss": math.nan})
        log.picture("worst_0", np.zeros((5, 7, 3), np.uint8), 1)
    with pytest.raises(RuntimeError, match="stopped"), TrainingLog(folder, resumed=1, **named) as log:
        log.write({"epoch": 1, "loss": 0.125})
        raise RuntimeError("stopped")
    assert [row["loss"] for row in read_log(folder / "log.jsonl")] == [0.5, 0.125]
    assert not (folder / "tensorboard").exists()


def test_wandb_writes_offline_runs_that_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="not installed: pip install 'segmentation-pipeline[wandb]'")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train_and_go_on(tmp_path, "wandb")
    runs = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))  # its service may touch the first one last
    assert len(runs) == 2 and runs[0].name == runs[1].name
    written = [path.read_bytes() for path in runs]
    for words in ((b"validation/score", b"0.25", b"tiny fold_0"), (b"0.125",)):
        assert any(all(word in one for word in words) for one in written), words
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/worst_0_*.png"))) == 1


def test_mlflow_writes_a_local_store_with_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="not installed: pip install 'segmentation-pipeline[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train_and_go_on(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("drawn").experiment_id])
    assert run.info.run_name == "tiny fold_0" and run.info.status == "FAILED"
    metrics = {
        name: [one.value for one in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics
    }
    assert metrics["validation/score"] == [0.25] and metrics["loss"][0] == 0.5 and metrics["loss"][-1] == 0.125
    assert len(list(tmp_path.glob(f"mlflow/{run.info.run_id}/artifacts/images/worst_0*.png"))) == 1
    assert json.loads(next(tmp_path.glob("mlflow/*/artifacts/settings.json")).read_text()) == {"seed": 3}


def test_a_logger_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.training_log.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"'wandb' is not installed: pip install 'segmentation-pipeline\[wandb\]'"):
        TrainingLog(tmp_path, loggers=["wandb"])
    assert not list(tmp_path.iterdir())
