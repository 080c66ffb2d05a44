"""Folds on several devices: which command each gets, that they train what one process trains, and what failed."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_run import write_tiny_experiment

from pipeline.sequence import run_stages
from pipeline.training import parallel_folds as spreading
from pipeline.workspace import stage_parser


def test_each_fold_is_trained_once_by_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path, train=8)[:-1]
    run_stages([*arguments, "cpu"], ("01", "02", "03"))
    lock, seen = threading.Lock(), []

    def run(command: list[str], *, check: bool) -> SimpleNamespace:
        with lock:
            seen.append(command)
            assert command[1:3] == ["-m", "pipeline.04_train"] and not check
            importlib.import_module("pipeline.04_train").main(command[3:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(spreading, "subprocess", SimpleNamespace(run=run))
    short = ["--set", "train.epochs=1", "--set", "train.steps_per_epoch=1"]
    importlib.import_module("pipeline.04_train").main([*arguments, "cpu,cpu:0", *short])
    assert sorted(command[-1] for command in seen) == ["folds.use=[0]", "folds.use=[1]"]
    assert all(command[command.index("--device") + 1] in ("cpu", "cpu:0") for command in seen)
    assert all("train.epochs=1" in command for command in seen)
    own = tmp_path / "runs/drawn/tiny"
    assert all((own / f"fold_{fold}/weights.safetensors").is_file() for fold in (0, 1))
    assert "folds [0, 1] are trained on cpu, cpu:0" in capsys.readouterr().out


def given(*more: str) -> Any:
    return stage_parser("").parse_args(["some.yaml", *more])


def test_the_command_says_what_was_given() -> None:
    command = spreading.fold_command(given("--data", "d", "--overwrite", "--set", "seed=3"), 2, "cuda:1")
    assert command[3:] == [
        "some.yaml", "--runs", "runs", "--data", "d", "--overwrite", "--workers", "0", "--device", "cuda:1",
        "--set", "seed=3", "--set", "folds.use=[2]",
    ]  # fmt: skip


def test_failed_folds_are_named_after_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def run(command: list[str], *, check: bool) -> SimpleNamespace:
        trained.append(command[-1])
        return SimpleNamespace(returncode=int(command[-1] == "folds.use=[1]"))

    monkeypatch.setattr(spreading, "subprocess", SimpleNamespace(run=run))
    with pytest.raises(ValueError, match=r"training failed: fold 1 on cpu(:0)? \(status 1\)"):
        spreading.train_on_devices(given(), [0, 1, 2], ["cpu", "cpu:0"])
    assert len(trained) == 3

    def broken(command: list[str], *, check: bool) -> SimpleNamespace:
        raise OSError("no such program")

    monkeypatch.setattr(spreading, "subprocess", SimpleNamespace(run=broken))
    with pytest.raises(OSError, match="no such program"):
        spreading.train_on_devices(given(), [0], ["cpu", "cpu:0"])


def test_torchrun_and_several_devices_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="torchrun gives each process its own device"):
        spreading.train_on_devices(given(), [0], ["cpu", "cpu:0"])
