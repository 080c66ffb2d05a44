"""Which weights are kept, and when training stops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from inference.config import ModelConfig
from inference.models import build_model
from inference.models.freezing import freeze
from pipeline.settings.training import TrainSettings
from pipeline.training.loader import Batch
from pipeline.training.weight_selection import WeightKeeper, measure_norms

SCORES = [0.1, 0.5, 0.4, None, 0.3]
CPU = torch.device("cpu")


def numbered(value: float) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    for parameter in model.parameters():
        parameter.data[:] = value
    return model


def batches() -> list[Batch]:
    images = torch.arange(2 * 3 * 5, dtype=torch.float32).reshape(2, 1, 3, 5)
    return [Batch(images, torch.zeros(2, 1, 3, 5), torch.ones(2), ["a", "b"])]


@pytest.mark.parametrize(
    ("keep", "epochs", "value", "selects"),
    [
        ("last", [], 9.0, False),
        ("best", [1], 1.0, True),
        ("mean_best", [1, 2], 1.5, True),
        ("mean_last", [3, 4], 3.5, False),
    ],
)
def test_kept_weights(keep: str, epochs: list[int], value: float, selects: bool) -> None:
    keeper = WeightKeeper(TrainSettings(keep=keep, keep_epochs=2, validate_every=1))
    for epoch, score in enumerate(SCORES):
        assert not keeper.see(epoch, score, numbered(float(epoch)))
    other = WeightKeeper(keeper.settings)
    other.restore(keeper.state())
    model = numbered(9.0)
    assert other.load_kept(model, batches(), CPU) == epochs
    assert float(next(model.parameters())) == value
    assert keeper.settings.selects is selects


def test_norms_of_a_mean_are_measured_anew() -> None:
    keeper = WeightKeeper(TrainSettings(keep="mean_last", keep_epochs=2))
    for epoch in range(2):
        keeper.see(epoch, None, numbered(1.0))
    model = numbered(0.0)
    keeper.load_kept(model, batches(), CPU)
    assert float(model[1].running_mean) == pytest.approx(1 + batches()[0].images.mean().item())  # type: ignore[index]
    assert not model.training


def test_frozen_norms_keep_what_they_were_trained_with() -> None:
    config = ModelConfig(architecture="unet", encoder="tf_efficientnet_lite0", in_channels=1)
    model = build_model(config)
    freeze(model, "encoder")
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.fill_(3.0)  # type: ignore[union-attr]
    measure_norms(model, [torch.randn(2, 1, 32, 64)])
    encoder = model.encoder
    assert encoder is not None
    within = {id(module) for module in encoder.modules()}
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [bool((norm.running_mean == 3.0).all()) for norm in norms if id(norm) in within]  # type: ignore[union-attr]
    moved = [bool((norm.running_mean == 3.0).any()) for norm in norms if id(norm) not in within]  # type: ignore[union-attr]
    assert kept and all(kept) and moved and not any(moved)


def test_training_stops_after_validations_without_gain() -> None:
    keeper = WeightKeeper(TrainSettings(patience=2, validate_every=1))
    model = numbered(0.0)
    stops = [keeper.see(epoch, score, model) for epoch, score in enumerate([0.2, 0.3, float("nan"), 0.1, None, 0.3])]
    assert stops == [False, False, False, False, False, True]
    assert keeper.settings.selects


@pytest.mark.parametrize("asked", [{"keep": "best"}, {"keep": "mean_best"}, {"patience": 2}])
def test_what_chooses_among_validations_needs_them(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"set train\.validate_every to 1 or more"):
        TrainSettings(**asked)
    assert TrainSettings(**asked, validate_every=3).selects
    assert not TrainSettings(keep="mean_last").selects
