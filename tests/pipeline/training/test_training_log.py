"""The log: a line an epoch, cut back to where a restart begins."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.training.training_log import Journal, read_log


def test_rows_are_read_back_and_shown_in_tensorboard(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write({"epoch": 0, "loss": 0.5, "validation": {"score": 0.25}})
        journal.write({"epoch": 1, "loss": math.nan, "validation": {"score": np.float64("inf")}})
        journal.picture("worst_0", np.zeros((5, 7, 3), np.uint8), 1)
    rows = read_log(tmp_path / "log.jsonl")
    assert rows[0] == {"epoch": 0, "loss": 0.5, "validation": {"score": 0.25}}
    assert rows[1] == {"epoch": 1, "loss": None, "validation": {"score": None}}
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Scalars("validation/score")[0].value == 0.25
    assert events.Tags()["images"] == ["worst_0"]


def test_a_restart_takes_out_what_will_be_trained_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for epoch in range(3):
            journal.write({"epoch": epoch, "loss": 1.0 / (epoch + 1)})
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "lo')
    assert len(read_log(path)) == 3
    with Journal(tmp_path, resumed=2) as journal:
        journal.write({"epoch": 2, "loss": 9.0})
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [1.0, 0.5, 9.0]


def test_no_log_is_no_rows(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []
