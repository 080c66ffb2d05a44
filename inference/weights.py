"""Saved models in and out.

They are safetensors with their settings beside them (`model.json`); nothing is unpickled, and a saved
model is rebuilt from its settings alone, with nothing downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from inference.config import SETTINGS_FILE, WEIGHTS_FILE, InputConfig, ModelConfig, PredictConfig
from inference.models import build_model
from inference.models.tensors import clean_state, read_tensors, write_tensors
from submissions.host.atomic import write_atomic
from submissions.images.damaged import read_json

FORMAT = 1


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to predict, with the settings that lay beside its weights."""

    model: nn.Module  # in evaluation mode, on the CPU
    model_config: ModelConfig
    input_config: InputConfig
    predict_config: PredictConfig
    path: Path


def save_model(
    folder: Path,
    model: nn.Module | Mapping[str, Tensor],
    model_config: ModelConfig,
    input_config: InputConfig,
    predict_config: PredictConfig,
) -> None:
    """Write `weights.safetensors` and `model.json` into `folder`, each built aside and renamed.

    `model` is a network (wrapped by DDP or `torch.compile` or not) or its state dict, on any device.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict() if isinstance(model, nn.Module) else model
    write_tensors(folder / WEIGHTS_FILE, clean_state(state))
    settings = {
        "format": FORMAT,
        "model": model_config.model_dump(mode="json"),
        "input": input_config.model_dump(mode="json"),
        "predict": predict_config.model_dump(mode="json"),
    }
    write_atomic(folder / SETTINGS_FILE, json.dumps(settings, indent=2) + "\n")


def load_model(path: Path) -> LoadedModel:
    """Model of a folder written by `save_model`.

    Downloads nothing whatever the settings say: the saved weights hold the encoder too.
    Raises FileNotFoundError where a file is missing, ValueError where weights and settings do not fit.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such model; expected a folder with {WEIGHTS_FILE} and {SETTINGS_FILE}")
    weights, settings = _read_folder(path)
    try:
        model_config = ModelConfig(**settings["model"])
        input_config = InputConfig(**settings["input"])
        predict = {**settings["predict"]}
        predict.pop("runtime", None)  # models that were saved when there was such a setting
        predict_config = PredictConfig(**predict)
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"{path}: its settings are not those of a saved model: {error}") from error
    model = build_model(model_config)
    _load_state(model, weights, path)
    model.eval()
    return LoadedModel(model, model_config, input_config, predict_config, path)


def _read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    for name in (WEIGHTS_FILE, SETTINGS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; expected a folder written by training")
    path = folder / SETTINGS_FILE
    settings = read_json(path, cure="restore it or train again")
    found = settings.get("format") if isinstance(settings, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path} has format {found}, expected {FORMAT}; it was written by another version: use that, or train again"
        )
    return read_tensors(folder / WEIGHTS_FILE), settings


def _load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    other = [name for name in expected if name in state and expected[name].shape != state[name].shape]
    if missing or unknown or other:
        first = (missing + unknown + other)[0]
        raise ValueError(
            f"{path}: the weights do not fit the settings beside them ({len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(other)} of another shape; first: {first}); copy both files of one training"
        )
    model.load_state_dict(dict(state))
