"""What a step does to the weights: parameter groups, the optimizer, the learning rate, the average of
weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from torch import Tensor, nn

from inference.models.freezing import encoder_stages
from pipeline.settings.training import TrainSettings

FUSED = ("adam", "adamw")  # fused SGD breaks on parameters that join later with momentum


def parameter_groups(model: nn.Module, settings: TrainSettings, in_channels: int) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay: a list of groups as torch's optimizers take them.

    The encoder (`model.encoder`, where there is one) learns at `encoder_lr` times `lr`. With `layer_decay`
    its stages, counted from the deepest, learn at `layer_decay ** i` times that: the earlier, the slower
    (arXiv:1801.06146). Norm layers and biases (tensors of fewer than two axes) have no weight decay.
    Frozen parameters are in the groups too; they are passed over as long as they have no gradient.
    Raises ValueError for encoder settings where the model has no encoder.
    """
    encoder = getattr(model, "encoder", None)
    factors: dict[int, float] = {}
    if isinstance(encoder, nn.Module):
        factors = dict.fromkeys(map(id, encoder.parameters()), settings.encoder_lr)
        if settings.layer_decay is not None:
            for above, stage in enumerate(reversed(encoder_stages(encoder, in_channels))):
                for parameter in stage:
                    factors[id(parameter)] = settings.encoder_lr * settings.layer_decay**above
    elif settings.layer_decay is not None or settings.encoder_lr != 1.0:
        raise ValueError("train.encoder_lr and train.layer_decay need a model with an encoder; leave them out")
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault((factors.get(id(parameter), 1.0), parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.lr * factor,
            "top_lr": settings.lr * factor,
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in groups.items()
    ]


def build_optimizer(
    model: nn.Module, settings: TrainSettings, *, device: torch.device, in_channels: int
) -> torch.optim.Optimizer:
    """The optimizer that timm's factory makes of the groups; torch's own in their fused form.

    Raises ValueError for a name that timm does not know, for an optimizer that needs second derivatives or a package or
    device that is not here, and for options that it does not take.
    """
    if settings.optimizer not in list_optimizers():
        known = ", ".join(list_optimizers())
        raise ValueError(f"train.optimizer is {settings.optimizer!r}, expected one of timm's: {known}")
    if get_optimizer_info(settings.optimizer).second_order:
        raise ValueError(
            f"train.optimizer {settings.optimizer!r} needs second derivatives, which no step computes; take another"
        )
    options: dict[str, Any] = dict(settings.optimizer_options)
    if settings.optimizer in FUSED and device.type in ("cpu", "cuda"):
        options.setdefault("fused", True)
    groups = parameter_groups(model, settings, in_channels)
    try:
        return create_optimizer_v2(
            groups, opt=settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay, **options
        )
    except AssertionError as error:  # of bitsandbytes' and Apex's optimizers
        raise ValueError(f"train.optimizer {settings.optimizer!r} cannot be used here: {error}") from error
    except TypeError as error:
        raise ValueError(f"train.optimizer_options: {settings.optimizer} does not take {options}: {error}") from error


def rate_factor(step: int, total: int, settings: TrainSettings) -> float:
    """Learning rate of step `step` (from 0) of `total` as a share of the largest; a function of the step
    alone.

    The first `warmup` share of the steps rises: linearly from one step's worth, with `one_cycle` along a
    cosine from 1/25 (arXiv:1708.07120, without its cycle of momentum). Then `cosine` falls to 0
    (arXiv:1608.03983), `one_cycle` along a cosine to 4e-6, `poly` as (1 - t) ** 0.9 (arXiv:1606.00915),
    `constant` not at all.
    """
    rising = round(settings.warmup * total)
    if step < rising:
        if settings.schedule == "one_cycle":
            return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rising)) / 2
        return (step + 1) / (rising + 1)
    progress = (step - rising) / max(1, total - rising)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "poly":
        return (1 - progress) ** 0.9
    lowest = 4e-6 if settings.schedule == "one_cycle" else 0.0
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * progress)) / 2


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Give every group `factor` times its largest learning rate; returns the largest of them."""
    for group in optimizer.param_groups:
        group["lr"] = group["top_lr"] * factor
    return float(max(group["lr"] for group in optimizer.param_groups))


def floating_state(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of floating type, in the model's order."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the model's: `average = d * average + (1 - d) * weights`.

    Running statistics of norm layers are averaged too, whole numbers copied. In the first steps d is smaller
    than `decay`, (1 + step) / (10 + step), so that the random start is forgotten. `step` counts from 0.
    """
    used = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(floating_state(average), floating_state(model), 1 - used)
    for mine, other in zip(average.buffers(), model.buffers(), strict=True):
        if not mine.is_floating_point():
            mine.copy_(other)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of several state dicts of one model; whole numbers are those of the last.

    Raises ValueError for none.
    """
    if not states:
        raise ValueError("no state to average: expected at least one")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last.clone()
        for name, last in states[-1].items()
    }
