"""DeepLab v2 (Chen et al. 2018, arXiv:1606.00915): atrous spatial pyramid pooling, ASPP-L on VGG16.

                                        +- fc6 3x3, rate  6 - fc7 - 1x1 -+
    image - VGG16 with holes (1/8) -----+- fc6 3x3, rate 12 - fc7 - 1x1 -+- sum - x8 -> logits
            as in v1                    +- fc6 3x3, rate 18 - fc7 - 1x1 -+
                                        +- fc6 3x3, rate 24 - fc7 - 1x1 -+

Four fields of view look at the same map and their scores are added.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.models.segmenter import Levels, resize
from inference.models.vgg import Vgg16


class DeepLabV2(Levels):
    """ASPP-L, scores at 1/8 summed over the rates; ASPP-S has rates (2, 4, 8, 12)."""

    def __init__(
        self, in_channels: int, n_classes: int, *, rates: Sequence[int] = (6, 12, 18, 24), fc_channels: int = 1024,
        dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        if not rates or min(rates) < 1:
            raise ValueError(f"rates {list(rates)}: expected at least one dilation rate, each 1 or more")
        self.encoder = Vgg16(in_channels, dilations=(1, 1, 1, 1, 2), strides=(2, 2, 2, 1, 1))
        self.branches = nn.ModuleList(branch(n_classes, rate, fc_channels, dropout) for rate in rates)
        self.deepest_channels = 512

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        scores = torch.stack([one(features[-1]) for one in self.branches]).sum(0)
        return resize(scores, images.shape[-2:]), [], features[-1]


def branch(n_classes: int, rate: int, channels: int, dropout: float) -> nn.Sequential:
    """fc6 at one rate, fc7, and the scores."""
    return nn.Sequential(
        nn.Conv2d(512, channels, 3, padding=rate, dilation=rate),
        nn.ReLU(inplace=True),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(inplace=True),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, n_classes, 1),
    )
