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
    """`(N, C, H, W)` -> logits `(N, K)`; 61,706 parameters with one input channel and ten classes."""

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5),
            nn.Tanh(),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, n_classes))

    def forward(self, images: Tensor) -> Tensor:
        small = F.interpolate(images.float(), size=(32, 32), mode="bilinear", align_corners=False, antialias=True)
        return self.head(self.features(small.to(images.dtype)))
