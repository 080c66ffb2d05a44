"""AlexNet-style classifier with dropout, and batch norm if wanted (Krizhevsky et al. 2012; widths of arXiv:1404.5997).

    image - 11x11/4, 64 - pool - 5x5, 192 - pool - 3x3, 384 - 3x3, 256 - 3x3, 256 - pool - to 6x6
                                                                                              |
                                             logits <- fc K <- fc 4096, dropout <- fc 4096, dropout

Batch norm (`norm`) follows every convolution in place of the paper's local response normalisation; the last map is
averaged to 6x6, so that any image of 64x64 or more fits (smaller ones are enlarged).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.segmenter import resize

SMALLEST = 64


class AlexNet(nn.Module):
    """`(N, C, H, W)` -> logits `(N, K)`; `width`: of the two fully connected layers, most of the parameters."""

    def __init__(
        self, in_channels: int, n_classes: int, *, width: int = 4096, dropout: float = 0.5, norm: bool = True
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv(in_channels, 64, 11, norm=norm, stride=4, padding=2),
            nn.MaxPool2d(3, 2),
            *_conv(64, 192, 5, norm=norm, padding=2),
            nn.MaxPool2d(3, 2),
            *_conv(192, 384, 3, norm=norm, padding=1),
            *_conv(384, 256, 3, norm=norm, padding=1),
            *_conv(256, 256, 3, norm=norm, padding=1),
            nn.MaxPool2d(3, 2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(256 * 36, width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, n_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        images = resize(images, (max(height, SMALLEST), max(width, SMALLEST)))
        return self.head(F.adaptive_avg_pool2d(self.features(images), 6))


def _conv(before: int, after: int, kernel: int, *, norm: bool, stride: int = 1, padding: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=not norm)
    return [conv, *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU(inplace=True)]
