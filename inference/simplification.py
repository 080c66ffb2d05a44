"""The same function with less work: batch norms folded into convolutions, sums without a stacked copy."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

EXAMPLE_SIDE = 64
EXAMPLE_DEPTH = 4  # of a 2D encoder under a 3D decoder
TOLERANCE = 1e-3


class RunningSum(nn.Module):
    """Sum of equally shaped tensors, added one by one: stacking them first costs several times the sum."""

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the sum of `parts`."""
        total = parts[0].clone()
        for part in parts[1:]:
            total += part
        return total


def simplify(model: nn.Module, in_channels: int) -> nn.Module:
    """Return a faster copy, on the CPU and in evaluation mode, of a float32 `model` on any device.

    Which convolution feeds which batch norm is seen in a run on an example, not guessed from names. The
    copy's answer to the example is compared with the model's; where they differ, as they do if a
    convolution's output is used elsewhere too, an unchanged copy is returned.
    """
    plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    if not any(isinstance(module, nn.Conv2d) for module in plain.modules()):
        return plain
    depth = (EXAMPLE_DEPTH,) if any(weight.ndim == 5 for weight in plain.parameters()) else ()
    shape = (1, in_channels, *depth, EXAMPLE_SIDE, EXAMPLE_SIDE)
    example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    faster = copy.deepcopy(plain)
    with torch.inference_mode(False), torch.no_grad():
        _fold(faster, _pairs(faster, example))
        _replace_sums(faster)
        wanted, found = plain(example), faster(example)
    if float((wanted - found).abs().max()) > TOLERANCE * max(1.0, float(wanted.abs().max())):
        return plain
    return faster


def _pairs(model: nn.Module, example: torch.Tensor) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Convolutions whose output goes straight into a batch norm, both used once in a run on `example`."""
    made: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []
    runs: Counter[nn.Module] = Counter()

    def leave(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        runs[module] += 1
        made[id(output)] = (module, output)  # the tensor is held: its id is not given to another one

    def enter(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        runs[module] += 1
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(leave))
        elif isinstance(module, _BatchNorm) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(enter))
    model(example)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in pairs if runs[conv] == 1 and runs[norm] == 1]


def _fold(model: nn.Module, pairs: Sequence[tuple[nn.Conv2d, nn.Module]]) -> None:
    """Fold every batch norm that is plain, or timm's with an activation inside, into its convolution."""
    names = {module: name for name, module in model.named_modules()}
    for conv, norm in pairs:
        assert isinstance(norm, _BatchNorm)
        if type(norm) is nn.BatchNorm2d:
            rest: nn.Module = nn.Identity()
        elif isinstance(norm, BatchNormAct2d):
            rest = nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]
        else:
            continue
        assert norm.running_mean is not None and norm.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        _put(model, names[norm], rest)


def _replace_sums(model: nn.Module) -> None:
    """Replace the FPN's merge by addition of segmentation_models_pytorch."""
    for name, module in list(model.named_modules()):
        if type(module).__name__ == "MergeBlock" and getattr(module, "policy", None) == "add":
            _put(model, name, RunningSum())


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
