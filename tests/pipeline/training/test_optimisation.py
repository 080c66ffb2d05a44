"""Groups, schedules and averages of weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from inference.config import ModelConfig
from inference.models import build_model
from pipeline.settings.training import TrainSettings
from pipeline.training.optimisation import (
    build_optimizer,
    mean_state,
    parameter_groups,
    rate_factor,
    set_rate,
    update_average,
)

CPU = torch.device("cpu")


def small_model() -> nn.Module:
    return build_model(ModelConfig(encoder="tu-test_efficientnet", in_channels=2))


def test_groups_hold_every_parameter_once_and_spare_norms_and_biases() -> None:
    model = small_model()
    settings = TrainSettings(lr=0.01, encoder_lr=0.1, weight_decay=0.02)
    groups = parameter_groups(model, settings, 2)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(map(id, model.parameters()))
    for group in groups:
        assert {parameter.ndim >= 2 for parameter in group["params"]} == {group["weight_decay"] > 0}
    encoder = set(map(id, model.encoder.parameters()))  # type: ignore[operator, union-attr]
    slow = {id(p) for group in groups if math.isclose(group["lr"], 0.001) for p in group["params"]}
    assert slow == encoder


def test_layer_decay_slows_early_stages_and_not_the_deepest() -> None:
    model = small_model()
    groups = parameter_groups(model, TrainSettings(lr=1.0, encoder_lr=0.5, layer_decay=0.1), 2)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    ordered = [rates[id(p)] for p in model.encoder.parameters()]  # type: ignore[operator, union-attr]
    assert ordered == sorted(ordered)
    assert ordered[-1] == 0.5 and ordered[0] < 0.01
    first = next(iter(model.encoder.parameters()))  # type: ignore[operator, union-attr]
    assert rates[id(first)] == min(ordered)


def test_encoder_rates_are_refused_without_an_encoder() -> None:
    with pytest.raises(ValueError, match="encoder"):
        parameter_groups(nn.Conv2d(2, 1, 1), TrainSettings(encoder_lr=0.1), 2)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "adan"])
def test_optimizers_of_the_factory_step(name: str) -> None:
    model = nn.Conv2d(2, 3, 1)
    optimizer = build_optimizer(model, TrainSettings(optimizer=name, lr=0.1), device=CPU, in_channels=2)
    before = model.weight.clone()
    model(torch.ones(1, 2, 3, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.weight)


def test_unknown_optimizers_and_options_are_named() -> None:
    model = nn.Conv2d(2, 3, 1)
    with pytest.raises(ValueError, match="adamwww"):
        build_optimizer(model, TrainSettings(optimizer="adamwww"), device=CPU, in_channels=2)
    with pytest.raises(ValueError, match="'adahessian' needs second derivatives"):
        build_optimizer(model, TrainSettings(optimizer="adahessian"), device=CPU, in_channels=2)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'fusedadam' cannot be used here: "):
            build_optimizer(model, TrainSettings(optimizer="fusedadam"), device=CPU, in_channels=2)
    wrong = TrainSettings(optimizer="adamw", optimizer_options={"wings": 2})
    with pytest.raises(ValueError, match="wings"):
        build_optimizer(model, wrong, device=CPU, in_channels=2)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "poly", "constant"])
def test_schedules_rise_to_the_largest_rate_and_fall(schedule: str) -> None:
    settings = TrainSettings(schedule=schedule, warmup=0.25)
    factors = [rate_factor(step, 40, settings) for step in range(40)]
    assert factors[:10] == sorted(factors[:10]) and 0 < factors[0] < 0.2
    assert factors[10] == 1.0 == max(factors)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert all(factor > 0 for factor in factors)
    if schedule != "constant":
        assert factors[-1] < 0.07


def test_schedules_by_their_formulas() -> None:
    plain = {"warmup": 0.0}
    assert rate_factor(25, 100, TrainSettings(schedule="poly", **plain)) == pytest.approx(0.75**0.9)
    assert rate_factor(50, 100, TrainSettings(schedule="cosine", **plain)) == pytest.approx(0.5)
    rising = TrainSettings(schedule="cosine", warmup=0.1)
    assert [rate_factor(step, 100, rising) for step in (0, 4, 9)] == pytest.approx([1 / 11, 5 / 11, 10 / 11])


def test_set_rate_keeps_the_ratio_of_groups() -> None:
    model = small_model()
    settings = TrainSettings(lr=0.01, encoder_lr=0.1)
    optimizer = build_optimizer(model, settings, device=CPU, in_channels=2)
    assert set_rate(optimizer, 0.5) == pytest.approx(0.005)
    assert {round(group["lr"], 6) for group in optimizer.param_groups} == {0.005, 0.0005}


def test_average_follows_the_written_out_rule() -> None:
    model, average = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    model.weight.data[:] = 3.0
    model.running_mean[:] = 5.0  # type: ignore[index]
    model.num_batches_tracked += 7  # type: ignore[operator, assignment]
    update_average(average, model, 0.9, 1000)
    assert torch.allclose(average.weight.data, torch.full((2,), 0.9 * 1 + 0.1 * 3))
    assert torch.allclose(average.running_mean, torch.full((2,), 0.5))  # type: ignore[arg-type]
    assert int(average.num_batches_tracked) == 7  # type: ignore[arg-type]
    fresh = nn.BatchNorm2d(2)
    update_average(fresh, model, 0.9, 0)
    assert torch.allclose(fresh.weight.data, torch.full((2,), 0.1 * 1 + 0.9 * 3))


def test_mean_of_states() -> None:
    states = [{"w": torch.full((2,), float(v)), "n": torch.tensor(v)} for v in (1, 2, 6)]
    mean = mean_state(states)
    assert torch.equal(mean["w"], torch.full((2,), 3.0)) and int(mean["n"]) == 6
    with pytest.raises(ValueError, match="at least one"):
        mean_state([])
