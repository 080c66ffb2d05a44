"""EfficientNet + FPN, the pyramid written out (Lin et al. 2017, arXiv:1612.03144; head: arXiv:1901.02446).

encoder            pyramid                 head

1/32 [f5]- 1x1 ->( + )- 3x3 ------------------- x8 --+
                   | x2                              |
1/16 [f4]- 1x1 ->( + )- 3x3 ------------------- x4 --+
                   | x2                              +- sum - dropout - 3x3 - x4 -> logits
1/8  [f3]- 1x1 ->( + )- 3x3 ------------------- x2 --+
                   | x2                              |
1/4  [f2]- 1x1 ->( + )- 3x3 -------------------------+
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import conv_norm_relu, initialise
from inference.models.segmenter import Levels, resize


class EncoderFpn(Levels):
    """Top-down pyramid over the maps at 1/4 to 1/32, summed at 1/4."""

    def __init__(
        self,
        encoder: str,
        in_channels: int,
        n_classes: int,
        *,
        pyramid_channels: int = 128,
        channels: int = 128,
        dropout: float = 0.1,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels)
        widths = channels_of(self.encoder)[2:][::-1]
        self.laterals = nn.ModuleList(nn.Conv2d(width, pyramid_channels, 1) for width in widths)
        self.smooth = nn.ModuleList(conv_norm_relu(pyramid_channels, channels, norm=norm) for _ in widths)
        self.dropout = nn.Dropout2d(dropout)
        initialise(self.laterals)
        initialise(self.smooth)
        self.head = nn.Conv2d(channels, n_classes, 3, padding=1)
        self.level_channels = (channels,) * (len(widths) - 1)
        self.deepest_channels = widths[0]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        deep_first = features[:1:-1]
        top = self.laterals[0](deep_first[0])
        levels = [self.smooth[0](top)]
        for lateral, smooth, skip in zip(self.laterals[1:], self.smooth[1:], deep_first[1:], strict=True):
            top = F.interpolate(top, size=skip.shape[-2:], mode="nearest") + lateral(skip)
            levels.append(smooth(top))
        fused = levels[-1]
        for level in levels[:-1]:
            fused = fused + resize(level, fused.shape[-2:])
        logits = self.head(self.dropout(fused))
        return resize(logits, images.shape[-2:]), levels[:-1], features[-1]
