"""Freezing parts of a model, letting them go again, and counting what is left to train."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.models.segmenter import Model

Part = str | int

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
PARTS = ("encoder", "encoder_except_norm")


def freeze(model: Model, part: Part) -> None:
    """Stop the training of a part of one of `build_model`'s networks, beside whatever is frozen already.

    `"encoder"`: all of it; its batch norms also keep their running statistics, through `model.train()` too.
    `"encoder_except_norm"`: all but the scale and shift of norms, whose statistics go on being learned.
    A number n: the first n stages of the encoder, as with `"encoder"`; a parameter belongs to the first stage
    whose map depends on it.
    Raises ValueError for a model without encoder, another word, or more stages than there are.
    """
    encoder = model.encoder
    if encoder is None:
        raise ValueError(f"freeze {part!r}: this model has no encoder; leave it out")
    if isinstance(part, int) and not isinstance(part, bool):
        stages = encoder_stages(encoder, model.in_channels)
        if not 1 <= part <= len(stages):
            raise ValueError(f"freeze {part}: expected 1 to {len(stages)}, the stages of the encoder")
        held = {id(parameter) for stage in stages[:part] for parameter in stage}
    elif part in PARTS:
        held = {id(parameter) for parameter in encoder.parameters()}
    else:
        raise ValueError(f"freeze {part!r}: expected {' or '.join(PARTS)}, or the number of stages to freeze")
    norms = {name: module for name, module in model.named_modules() if isinstance(module, NORMS)}
    if part == "encoder_except_norm":
        held -= {id(parameter) for module in norms.values() for parameter in module.parameters()}
    stopped = {name: p for name, p in model.named_parameters() if id(p) in held and p.requires_grad}
    for parameter in stopped.values():
        parameter.requires_grad_(False)
    frozen = {name for name, module in norms.items() if any(id(p) in held for p in module.parameters())}
    model.frozen_parameters = tuple(sorted({*model.frozen_parameters, *stopped}))
    model.frozen_norms = tuple(sorted({*model.frozen_norms, *frozen}))
    model.train(model.training)


def unfreeze(model: Model) -> None:
    """Let everything that `freeze` stopped train again."""
    parameters = dict(model.named_parameters())
    for name in model.frozen_parameters:
        parameters[name].requires_grad_(True)
    model.frozen_parameters, model.frozen_norms = (), ()
    model.train(model.training)


def count_parameters(module: nn.Module, *, trainable: bool = False) -> int:
    """Number of parameters; `trainable`: only of those that gradients reach."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def encoder_stages(encoder: nn.Module, in_channels: int) -> list[list[nn.Parameter]]:
    """The encoder's parameters by the first map (after the input itself) that depends on them.

    Found by differentiating each map of a small image; what no map depends on is in no stage.
    """
    size = int(getattr(encoder, "smallest", 64))
    was_training = encoder.training
    parameters = list(encoder.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    encoder.eval().requires_grad_(True)
    stages, left = [], parameters
    with torch.enable_grad():
        images = torch.zeros(1, in_channels, size, size, device=left[0].device, dtype=left[0].dtype)
        outputs = encoder(images)
        # a ViT gives (maps, tokens), a classifier one tensor of features
        maps = outputs[0] if isinstance(outputs, tuple) else outputs
        for features in [maps] if isinstance(maps, Tensor) else maps:
            if not left or not features.requires_grad or features.numel() == 0:
                continue
            gradients = torch.autograd.grad(features.sum(), left, retain_graph=True, allow_unused=True)
            reached = [gradient is not None for gradient in gradients]
            stages.append([p for p, hit in zip(left, reached, strict=True) if hit])
            left = [p for p, hit in zip(left, reached, strict=True) if not hit]
    for parameter, requires_grad in zip(parameters, wanted, strict=True):
        parameter.requires_grad_(requires_grad)
    encoder.train(was_training)
    return [stage for stage in stages if stage]


def rest_unused(encoder: nn.Module, in_channels: int) -> None:
    """Take parameters that no map depends on (stages never run) out of training, or DDP waits for them."""
    used = {id(p) for stage in encoder_stages(encoder, in_channels) for p in stage}
    for parameter in encoder.parameters():
        if id(parameter) not in used:
            parameter.requires_grad_(False)
