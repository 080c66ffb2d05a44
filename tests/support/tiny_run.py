"""A whole experiment small enough for a test: drawn images, a small network, seconds on one core."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch  # noqa: F401 - loaded, so that the stages try an experiment's names here and in no process of their own
import yaml
from drawn_hosts import write_rle_host

from pipeline.workspace import Workspace, open_workspace, stage_parser

EXPERIMENT: dict[str, Any] = {
    "folds": {"method": "group", "n": 2},
    "input": {"channels": 3},
    "model": {"architecture": "unet", "encoder": "mobilenetv3_small_050", "weights": "none"},
    "augment": {"recipe": "flips"},
    "train": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2, "patch": [32, 32], "validate_images": 2},
    "predict": {"mode": "whole", "views": ["identity", "hflip"]},
    "tune": {"rounds": 100, "copies": 0},
}


def stage(name: str) -> Callable[[list[str]], None]:
    """The entry point of a numbered stage, such as "04_train"."""
    made: Callable[[list[str]], None] = importlib.import_module(f"pipeline.{name}").main
    return made


def space_of(arguments: list[str], *more: str) -> Workspace:
    """The workspace that a stage opens with these arguments."""
    return open_workspace(stage_parser("").parse_args([*arguments, *more]))


def write_tiny_experiment(folder: Path, *, train: int = 12, test: int = 6, **change: Any) -> list[str]:
    """Drawn data, contract and experiment under `folder`; returns the arguments that every stage takes."""
    competition = write_rle_host(folder / "data", train=train, test=test)
    contract = competition.model_dump(mode="json", exclude_unset=True)
    (folder / "drawn.yaml").write_text(yaml.safe_dump(contract))
    document = {"name": "tiny", "competition": str(folder / "drawn.yaml"), **EXPERIMENT, **change}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(document))
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs")]
    return [str(folder / "tiny.yaml"), *places, "--device", "cpu"]
