"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition").

    32x32 - 5x5, 6 - pool 2 - 5x5, 16 - pool 2 - 5x5, 120 - fc 84 - fc K -> logits
            28x28    14x14    10x10     5x5      1x1

Any image is first brought to 32x32 by averaging. tanh and average pooling as in the paper (whose pooling also
learned a scale and its last layer was Gaussian; both are gone everywhere today).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LeNet(nn.Module):
    """`(N, C, H, W)` -> logits `(N, K)`; 61,706 parameters with one input channel and ten classes.

    norm: batch norm after every convolution, as today's users put it in; dropout: before either fully connected layer.
    """

    def __init__(self, in_channels: int, n_classes: int, *, norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv(in_channels, 6, norm),
            nn.AvgPool2d(2),
            *_conv(6, 16, norm),
            nn.AvgPool2d(2),
            *_conv(16, 120, norm),
        )
        hidden = [nn.Dropout(dropout), nn.Linear(120, 84), nn.Tanh()]
        self.head = nn.Sequential(nn.Flatten(), *hidden, nn.Dropout(dropout), nn.Linear(84, n_classes))

    def forward(self, images: Tensor) -> Tensor:
        small = F.interpolate(images.float(), size=(32, 32), mode="bilinear", align_corners=False, antialias=True)
        return self.head(self.features(small.to(images.dtype)))


def _conv(before: int, after: int, norm: bool) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 5), *([nn.BatchNorm2d(after)] if norm else []), nn.Tanh()]
