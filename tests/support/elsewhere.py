"""Tensors that stand on a GPU for all that torch checks, and hold no values: placement seen without a GPU."""

from __future__ import annotations

import torch
from torch import nn

GPU = torch.device("cuda:0")


def moved(model: nn.Module) -> nn.Module:
    """The model with parameters and buffers on GPU; to be called inside of torch's FakeTensorMode."""
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(value.shape, dtype=value.dtype, device=GPU)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=GPU))
    return model
