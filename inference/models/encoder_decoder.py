"""The plain encoder-decoder and its twin, the U-Net: the same layers, only the skips differ.

    image -[64]------------------- skip ------------------->[64]- 1x1 -> logits
             \\ max-pool 2                            up x2 /
             [128]---------------- skip ------------->[128]
                \\                                    /
               [256]-------------- skip ------->[256]
                  \\                            /
                 [512]------------ skip --->[512]
                    \\                     /
                     `------ [1024] ------'          [c] = (3x3 convolution, norm, ReLU) twice

Ronneberger et al. 2015 (arXiv:1505.04597), with convolutions that keep the size. Without skips the decoder
has only what passed the bottleneck, which is what the pair is there to show. `up`: transposed 2x2
convolution (the paper's) or bilinear with a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.layers import conv_norm_relu, initialise
from inference.models.segmenter import Levels

UPS = ("transposed", "bilinear")


class PlainEncoder(nn.Module):
    """Double convolutions, max-pooling between: the input, then maps at 1/1, 1/2, ... 1/2**(n-1)."""

    def __init__(self, in_channels: int, channels: Sequence[int], norm: str) -> None:
        super().__init__()
        self.out_channels = (in_channels, *channels)
        inputs = (in_channels, *channels[:-1])
        self.stages = nn.ModuleList(
            double_conv(before, after, norm) for before, after in zip(inputs, channels, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """`(N, C, H, W)` -> the input and one map a stage, finest first."""
        maps = [images, self.stages[0](images)]
        for stage in list(self.stages)[1:]:
            maps.append(stage(F.max_pool2d(maps[-1], 2)))
        return maps


class EncoderDecoder(Levels):
    """`skips` False: encoder-decoder, True: U-Net; `norm`: batch, instance, group, none; `up`: transposed, bilinear."""

    def __init__(
        self, in_channels: int, n_classes: int, *, skips: bool, channels: Sequence[int] = (64, 128, 256, 512, 1024),
        norm: str = "batch", up: str = "transposed",
    ) -> None:  # fmt: skip
        super().__init__()
        if up not in UPS:
            raise ValueError(f"up {up!r}: expected {' or '.join(UPS)}")
        if len(channels) < 2:
            raise ValueError(f"channels {list(channels)}: expected at least two levels")
        self.skips = skips
        self.encoder = PlainEncoder(in_channels, channels, norm)
        down = list(channels)[::-1]
        self.ups = nn.ModuleList(upsampling(before, after, up) for before, after in pairwise(down))
        self.convs = nn.ModuleList(double_conv(after * (2 if skips else 1), after, norm) for after in down[1:])
        initialise(self)
        self.head = nn.Conv2d(channels[0], n_classes, 1)
        self.level_channels = tuple(down[1:-1])
        self.deepest_channels = down[0]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        maps = self.encoder(images)
        levels = [maps[-1]]
        for up, convs, skip in zip(self.ups, self.convs, maps[-2:0:-1], strict=True):
            features = up(levels[-1])
            if self.skips:
                features = torch.cat([skip, features], dim=1)
            levels.append(convs(features))
        return self.head(levels[-1]), levels[1:-1], maps[-1]


def double_conv(before: int, after: int, norm: str) -> nn.Sequential:
    """(3x3 convolution, norm, ReLU) twice."""
    return nn.Sequential(conv_norm_relu(before, after, norm=norm), conv_norm_relu(after, after, norm=norm))


def upsampling(before: int, after: int, up: str) -> nn.Module:
    """Twice the size, `before` -> `after` channels."""
    if up == "transposed":
        return nn.ConvTranspose2d(before, after, 2, stride=2)
    bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(nn.Conv2d(before, after, 1), bilinear)
