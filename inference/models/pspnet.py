"""PSPNet with its pyramid pooling module written out (Zhao et al. 2017, arXiv:1612.01105).

                           +--------------------------------------------+
                           +- mean over 1x1 cells - 1x1 - back to size -+
    image - encoder (1/8) -+- mean over 2x2 cells - 1x1 - back to size -+- concat - 3x3 - 1x1 - x8 -> logits
                           +- mean over 3x3 cells - 1x1 - back to size -+
                           +- mean over 6x6 cells - 1x1 - back to size -+

smp's `smp_pspnet` stops the encoder at 1/8 (three stages); this one dilates all five, as the paper does. The
pooled branches have no norm: of a batch of one, a single cell has no variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import conv_norm_relu, initialise
from inference.models.segmenter import Levels, resize


class PyramidPooling(nn.Module):
    """The map itself beside its means over ever finer grids; `bins`: cells on a side of each grid."""

    def __init__(self, in_channels: int, out_channels: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        if not bins or min(bins) < 1:
            raise ValueError(f"bins {list(bins)}: expected at least one grid, each of 1 cell or more a side")
        self.bins = tuple(bins)
        width = max(in_channels // len(bins), 1)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.ReLU(inplace=True)) for _ in bins
        )
        self.project = conv_norm_relu(in_channels + width * len(bins), out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """`(N, C, h, w)` -> `(N, out_channels, h, w)`."""
        size = features.shape[-2:]
        pooled = [
            resize(branch(F.adaptive_avg_pool2d(features, cells)), size)
            for branch, cells in zip(self.branches, self.bins, strict=True)
        ]
        return self.project(torch.cat([features, *pooled], dim=1))


class PspNet(Levels):
    """Encoder, pyramid pooling, scores; `output_stride` 8, 16 or 32 (32 for encoders that cannot be dilated)."""

    def __init__(
        self, encoder: str, in_channels: int, n_classes: int, *, bins: Sequence[int] = (1, 2, 3, 6),
        channels: int = 512, dropout: float = 0.1, output_stride: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, output_stride=output_stride)
        deepest = channels_of(self.encoder)[-1]
        self.pooling = PyramidPooling(deepest, channels, bins)
        initialise(self.pooling)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels, n_classes, 1)
        self.deepest_channels = deepest

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        logits = self.head(self.dropout(self.pooling(features[-1])))
        return resize(logits, images.shape[-2:]), [], features[-1]
