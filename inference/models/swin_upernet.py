"""Swin Transformer + UPerNet (Liu et al. 2021, arXiv:2103.14030; Xiao et al. 2018, arXiv:1807.10221).

    Swin                                UPerNet

    1/32 [stage 4]- norm - pyramid pooling (1, 2, 3, 6) --------------------+
                                  | x2                                      |
    1/16 [stage 3]- norm - 1x1 ->( + )- 3x3 --------------------------------+
                                  | x2                                      +- to 1/4, concat - 3x3 - 1x1 - x4
    1/8  [stage 2]- norm - 1x1 ->( + )- 3x3 --------------------------------+
                                  | x2                                      |
    1/4  [stage 1]- norm - 1x1 ->( + )- 3x3 --------------------------------+

Swin's stages end without a norm; each map gets a layer norm over its channels before the decoder, as in the
paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import conv_norm_relu
from inference.models.pspnet import PyramidPooling
from inference.models.segmenter import Levels, resize


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `(N, C, H, W)`, pixel by pixel."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class UperNet(Levels):
    """Pyramid pooling on the deepest map, FPN over all, fusion at 1/4; the paper's head has 512 channels.

    `encoder`: one of timm's `swin_*` or `swinv2_*` (or others).
    """

    def __init__(
        self, encoder: str, in_channels: int, n_classes: int, *, channels: int = 256, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels)
        widths = channels_of(self.encoder)[2:]
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths)
        self.pooling = PyramidPooling(widths[-1], channels)
        self.laterals = nn.ModuleList(conv_norm_relu(width, channels, 1) for width in widths[-2::-1])
        self.smooth = nn.ModuleList(conv_norm_relu(channels, channels) for _ in widths[:-1])
        self.fuse = conv_norm_relu(channels * len(widths), channels)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels, n_classes, 1)
        self.level_channels = (channels,) * (len(widths) - 1)
        self.deepest_channels = widths[-1]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        maps = [norm(level) for norm, level in zip(self.norms, features[2:], strict=True)]
        top = self.pooling(maps[-1])
        levels = [top]
        for lateral, smooth, skip in zip(self.laterals, self.smooth, maps[-2::-1], strict=True):
            top = resize(top, skip.shape[-2:]) + lateral(skip)
            levels.append(smooth(top))
        size = levels[-1].shape[-2:]
        fused = self.fuse(torch.cat([resize(level, size) for level in levels], dim=1))
        logits = self.head(self.dropout(fused))
        return resize(logits, images.shape[-2:]), levels[:-1], features[-1]
