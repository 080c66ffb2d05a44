"""A 2D convolutional encoder of timm inflated to 3D: every filter repeated along the depth (I3D, arXiv:1705.07750).

A filter of k x k becomes k x k x k, each of its slices the filter divided by k: a volume of equal slices then gives
the maps that one slice gives in 2D. This works where every layer has a counterpart in 3D (ResNets, ResNeXts, DenseNets,
VGG ...); other encoders are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import BatchNormAct2d, DropPath
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.volumes.blocks import Conv3d, MeanPool3d, initialise_volume
from inference.models.volumes.decoder import VolumeDecoder
from inference.models.volumes.segmenter import VolumeLevels, resize_volume

_KEPT = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Identity, nn.Dropout, DropPath)


def inflate_weight(weight: Tensor, depth: int) -> Tensor:
    """Filters `(O, I, h, w)` -> `(O, I, depth, h, w)` whose sum over the depth is the filter."""
    return weight[:, :, None].repeat(1, 1, depth, 1, 1) / depth


def inflate(module: nn.Module, *, halve_depth: bool = True) -> nn.Module:
    """Replace a module's 2D layers by 3D ones, in place; without `halve_depth` strides leave the depth as it is.

    Raises ValueError that names a layer without a counterpart.
    """
    made = _counterpart(module, halve_depth)
    if made is not None:
        return made.train(module.training)
    children = list(module.named_children())
    if not children and not isinstance(module, _KEPT):
        raise ValueError(f"its layer {type(module).__name__} has no counterpart in 3D")
    for name, child in children:
        setattr(module, name, inflate(child, halve_depth=halve_depth))
    return module


def _counterpart(layer: nn.Module, halve_depth: bool) -> nn.Module | None:
    if type(layer) is nn.Conv2d:
        return _inflate_conv(layer, halve_depth)
    if type(layer) in (nn.BatchNorm2d, BatchNormAct2d):
        flat: Any = layer
        norm = nn.BatchNorm3d(flat.num_features, flat.eps, flat.momentum)
        norm.load_state_dict(flat.state_dict())
        act = getattr(flat, "act", None)
        return norm if act is None or isinstance(act, nn.Identity) else nn.Sequential(norm, act)
    if type(layer) in (nn.MaxPool2d, nn.AvgPool2d):
        pool: Any = layer
        size, stride, padding = (_pair(value) for value in (pool.kernel_size, pool.stride, pool.padding))
        kind = nn.MaxPool3d if type(layer) is nn.MaxPool2d else MeanPool3d
        deep = (size[0], stride[0], padding[0]) if halve_depth else (1, 1, 0)
        return kind((deep[0], *size), (deep[1], *stride), (deep[2], *padding), ceil_mode=pool.ceil_mode)
    return None


def _inflate_conv(conv: nn.Conv2d, halve_depth: bool) -> nn.Conv3d:
    if not isinstance(conv.padding, tuple) or conv.padding_mode != "zeros":
        raise ValueError(f"its convolutions pad by {conv.padding!r} ({conv.padding_mode}), which 3D ones do not")
    made = Conv3d(
        conv.in_channels, conv.out_channels, (conv.kernel_size[0], *_pair(conv.kernel_size)),
        (conv.stride[0] if halve_depth else 1, *_pair(conv.stride)), padding=(conv.padding[0], *_pair(conv.padding)),
        dilation=(conv.dilation[0], *_pair(conv.dilation)), groups=conv.groups, bias=conv.bias is not None,
    )  # fmt: skip
    with torch.no_grad():
        made.weight.copy_(inflate_weight(conv.weight, conv.kernel_size[0]))
        if conv.bias is not None and made.bias is not None:
            made.bias.copy_(conv.bias)
    return made


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


class InflatedUnet(VolumeLevels):
    """An inflated encoder with maps at 1/2 to 1/32 and a 3D U-Net decoder; logits are upsampled from 1/2."""

    def __init__(self, encoder: nn.Module, n_classes: int, widths: Sequence[int], *, halve_depth: bool) -> None:
        super().__init__()
        self.encoder = encoder
        channels = channels_of(encoder)[1:]
        self.decoder = VolumeDecoder(channels, widths)
        self.head = nn.Conv3d(widths[-1], n_classes, 1)
        initialise_volume(self.decoder)
        self.strides = (32 if halve_depth else 1, 32, 32)
        self.level_channels = tuple(widths[:-1])

    def forward_levels(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        levels = self.decoder(self.encoder(volumes)[1:])
        return resize_volume(self.head(levels[-1]), volumes.shape[-3:]), levels[:-1]


def build_inflated_unet(
    encoder: str,
    in_channels: int,
    n_classes: int,
    *,
    decoder_channels: Sequence[int] = (256, 128, 64, 32),
    halve_depth: bool = True,
) -> VolumeLevels:
    """`halve_depth: false` keeps the depth where slices are few or thick; `decoder_channels` deepest first."""
    flat = build_encoder(encoder, in_channels)
    try:
        made = inflate(flat, halve_depth=halve_depth)
    except ValueError as error:
        raise ValueError(
            f"encoder {encoder!r} cannot be inflated to 3D: {error}; take resnet*, resnext*, vgg*, or "
            "sliced_encoder_unet, which takes any"
        ) from error
    return InflatedUnet(made, n_classes, decoder_channels, halve_depth=halve_depth)
