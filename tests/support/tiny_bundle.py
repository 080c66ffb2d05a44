"""A bundle small enough for a test, made without training: random weights, a drawn competition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from drawn_hosts import rle_contract

from inference.bundle.assembly import write_bundle
from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.decide.decision import Decision, save_decision
from inference.decide.rules import ThresholdRule
from inference.models import build_model
from inference.weights import save_model

MODEL = ModelConfig(architecture="unet", encoder="mobilenetv3_small_050", classes=["thing"])
NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "03_kaggle_submit.ipynb"


def write_tiny_bundle(folder: Path, **change: Any) -> Path:
    """`folder`/bundle of one network with random weights, for the contract of `write_rle_host` or a given one."""
    competition = change.pop("competition", None) or rle_contract()
    torch.manual_seed(0)
    model, predict = build_model(MODEL), PredictConfig(mode="whole", precision="fp32")
    save_model(folder / "fold_0", model, MODEL, InputConfig(), predict)
    decision = Decision(
        fingerprint="taught", classes=["thing"], channels=["thing"], rule=ThresholdRule(thresholds=[128])
    )
    save_decision(folder / "decision.json", decision)
    given: dict[str, Any] = {"configs": {"tiny": predict}, "taught_by": "taught", "facts": {}, "notebook": NOTEBOOK}
    write_bundle(
        folder / "bundle",
        competition,
        {"tiny": [folder / "fold_0"]},
        folder / "decision.json",
        **{**given, **change},
    )
    return folder / "bundle"
