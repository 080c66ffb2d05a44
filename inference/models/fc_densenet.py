"""FC-DenseNet 56, 67 and 103, the "one hundred layers tiramisu" (Jégou et al. 2017, arXiv:1611.09326).

image - 3x3, 48 -[DB]-(c)- TD -[DB]-(c)- TD - ... -[DB bottleneck]- TU -(c)-[DB]- ... - TU -(c)-[DB]- 1x1
                        |              |                                  ^                   ^
                        |              +-------------- skip --------------+                   |
                        +----------------------------- skip ---------------------------------+

DB, dense block: every layer (norm, ReLU, 3x3, dropout) adds `growth` maps to all maps before it.
TD, transition down: norm, ReLU, 1x1, dropout, max-pool. TU, transition up: transposed 3x3, stride 2.
(c): concatenate. On the way up a block hands on only the maps that it made itself, or they would explode.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.models.layers import initialise
from inference.models.segmenter import Levels


class DenseBlock(nn.Module):
    """`forward` gives the block's own maps, `growth * n_layers` of them."""

    def __init__(self, in_channels: int, growth: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            normed_conv(in_channels + index * growth, growth, 3, dropout) for index in range(n_layers)
        )
        self.out_channels = growth * n_layers

    def forward(self, features: Tensor) -> Tensor:
        made: list[Tensor] = []
        for layer in self.layers:
            made.append(layer(torch.cat([features, *made], dim=1)))
        return torch.cat(made, dim=1)


def normed_conv(in_channels: int, out_channels: int, kernel: int, dropout: float) -> nn.Sequential:
    """Norm, ReLU, convolution, dropout: the order of DenseNet."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2),
        nn.Dropout2d(dropout),
    )


class FcDenseNet(Levels):
    """`down`: layers of each dense block on the way down, in reverse those of the way up; `bottom`: of the bottleneck.

    `growth`: maps that a layer adds.
    """

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        *,
        down: Sequence[int],
        bottom: int,
        growth: int,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        channels = 48
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.down_blocks, self.downs = nn.ModuleList(), nn.ModuleList()
        skips = []
        for n_layers in down:
            block = DenseBlock(channels, growth, n_layers, dropout)
            channels += block.out_channels
            skips.append(channels)
            self.down_blocks.append(block)
            self.downs.append(nn.Sequential(normed_conv(channels, channels, 1, dropout), nn.MaxPool2d(2)))
        self.bottom = DenseBlock(channels, growth, bottom, dropout)
        self.deepest_channels = made = self.bottom.out_channels
        self.ups, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        levels = []
        for n_layers, skip in zip(reversed(down), reversed(skips), strict=True):
            self.ups.append(nn.ConvTranspose2d(made, made, 3, stride=2, padding=1, output_padding=1))
            block = DenseBlock(made + skip, growth, n_layers, dropout)
            self.up_blocks.append(block)
            channels, made = made + skip + block.out_channels, block.out_channels
            levels.append(made)
        initialise(self)
        self.head = nn.Conv2d(channels, n_classes, 1)
        self.level_channels = tuple(levels[:-1])

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features, skips = self.stem(images), []
        for block, down in zip(self.down_blocks, self.downs, strict=True):
            features = torch.cat([features, block(features)], dim=1)
            skips.append(features)
            features = down(features)
        deepest = made = self.bottom(features)
        levels = []
        for up, block, skip in zip(self.ups, self.up_blocks, reversed(skips), strict=True):
            features = torch.cat([up(made), skip], dim=1)
            made = block(features)
            levels.append(made)
        return self.head(torch.cat([features, made], dim=1)), levels[:-1], deepest
