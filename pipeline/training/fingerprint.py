"""What a trained fold's fingerprint is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from inference.predict.devices import pick_device
from inference.predict.precision import resolve_precision
from pipeline.prediction.prediction_stages import predict_settings
from pipeline.workspace import Workspace


def fold_settings(space: Workspace) -> dict[str, Any]:
    """The settings that weights depend on, but for the fold itself.

    Where the held-out fold decides which weights are kept, also how it is predicted and scored.
    """
    experiment = space.experiment
    settings = experiment.model_dump(
        mode="json", include={"seed", "input", "model", "loss", "augment", "train", "external"},
        exclude={
            "train": {"workers", "validate_every", "validate_images", "loggers"}, "external": {"__all__": {"data"}},
        },
    )  # fmt: skip
    if experiment.task != "segment":
        settings["task"] = experiment.task
    if experiment.train.selects:
        predict = {key: value for key, value in predict_settings(space).items() if key != "views"}
        settings["train"]["validate"] = [experiment.train.validate_every, experiment.train.validate_images]
        settings["validation"] = {"predict": predict, "metric": space.competition.metric.without_file().identity()}
    weights = Path(experiment.model.weights)
    if weights.is_file():  # what it holds counts, not where it lies
        settings["model"]["weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    settings["train"]["precision"] = resolve_precision(experiment.train.precision, pick_device(space.device))
    return settings
