"""EfficientNet + BiFPN (EfficientDet: Tan, Pang and Le 2020, arXiv:1911.09070), as a segmentation decoder.

    one of N repeats:            up                down

    p6 (1/64) o----------------------------------->(o)->
              |      `--->- - - -v                  ^
    p5 (1/32) o-------------->( o )---------------->(o)->     every ( ) is a weighted sum of what arrives,
              |       \\_________|__________________^  ^       weights >= 0 that sum to 1, learned, followed
    p4 (1/16) o-------------->( o )---------------->(o)->     by a depthwise 3x3 and a 1x1 convolution
              |       \\_________|__________________^  ^
    p3 (1/8)  o-------------->( o )---------------->(o)->
                                 v                  ^
    p2 (1/4)  o----------------------------------->(o)->  all levels to 1/4, weighted sum - 3x3 - x4 -> logits

EfficientDet's pyramid runs from 1/8 to 1/128, for boxes; masks want fine levels, so this one runs from 1/4 to
1/64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import conv_norm_relu
from inference.models.segmenter import Levels, resize


class WeightedSum(nn.Module):
    """Fast normalised fusion (equation 3): `sum(w_i x_i) / (sum(w_i) + eps)` with `w_i = relu(v_i)`."""

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(n_inputs))

    def forward(self, *maps: Tensor) -> Tensor:
        weights = F.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        total = weights[0] * maps[0]
        for weight, other in zip(weights[1:], maps[1:], strict=True):
            total = total + weight * other
        return total


class Fusion(nn.Module):
    """Weighted sum, SiLU, depthwise 3x3, 1x1, norm."""

    def __init__(self, n_inputs: int, channels: int) -> None:
        super().__init__()
        self.total = WeightedSum(n_inputs)
        self.conv = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, *maps: Tensor) -> Tensor:
        return self.conv(self.total(*maps))


class BiFpnLayer(nn.Module):
    """One repeat: coarse to fine, then fine to coarse with a shortcut from the input."""

    def __init__(self, n_levels: int, channels: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(Fusion(2, channels) for _ in range(n_levels - 1))
        self.down = nn.ModuleList(Fusion(3 if index < n_levels - 2 else 2, channels) for index in range(n_levels - 1))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Maps (N, C, h, w) of all levels, finest first -> maps of the same sizes, finest first."""
        middle = [levels[-1]]
        for fusion, level in zip(self.up, levels[-2::-1], strict=True):
            middle.insert(0, fusion(level, F.interpolate(middle[0], size=level.shape[-2:], mode="nearest")))
        outputs = [middle[0]]
        last = len(levels) - 1
        for index, fusion in enumerate(self.down, start=1):
            finer = F.adaptive_max_pool2d(outputs[-1], levels[index].shape[-2:])
            shortcut = () if index == last else (middle[index],)
            outputs.append(fusion(levels[index], *shortcut, finer))
        return outputs


class EncoderBiFpn(Levels):
    """Five levels: 1/4 to 1/32 from the encoder, 1/64 pooled from the last; the defaults are EfficientDet-D0's."""

    def __init__(
        self, encoder: str, in_channels: int, n_classes: int, *, channels: int = 64, repeats: int = 3,
        dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if repeats < 1:
            raise ValueError(f"repeats {repeats}: expected at least one BiFPN layer")
        self.encoder = build_encoder(encoder, in_channels)
        widths = channels_of(self.encoder)[2:]
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels))
            for width in [*widths, widths[-1]]
        )
        self.layers = nn.ModuleList(BiFpnLayer(len(widths) + 1, channels) for _ in range(repeats))
        self.fuse = WeightedSum(len(widths) + 1)
        self.head = nn.Sequential(
            conv_norm_relu(channels, channels), nn.Dropout2d(dropout), nn.Conv2d(channels, n_classes, 1)
        )
        self.level_channels = (channels,) * len(widths)
        self.deepest_channels = widths[-1]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        inputs = [*features[2:], F.max_pool2d(features[-1], 2)]
        levels = [lateral(level) for lateral, level in zip(self.laterals, inputs, strict=True)]
        for layer in self.layers:
            levels = layer(levels)
        size = levels[0].shape[-2:]
        logits = self.head(self.fuse(*(resize(level, size) for level in levels)))
        return resize(logits, images.shape[-2:]), levels[:0:-1], features[-1]
