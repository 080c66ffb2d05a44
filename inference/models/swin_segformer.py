"""Swin Transformer + SegFormer's all-MLP head (Liu et al. 2021, arXiv:2103.14030; arXiv:2105.15203).

    image - 4x4 patches -[stage 1]- merge -[stage 2]- merge -[stage 3]- merge -[stage 4]
                           1/4 |            1/8 |             1/16 |            1/32 |
                            linear           linear             linear            linear
                               |                |                  |                |
                               +------- all to 1/4, concat, linear, norm, ReLU, linear -------- x4 -> logits

A stage's blocks attend within windows, every second block with the windows shifted by half.
"""

from __future__ import annotations

from torch import nn

from inference.models.encoders import build_encoder
from inference.models.segformer import AllMlp


def build_swin_segformer(
    encoder: str, in_channels: int, n_classes: int, *, channels: int = 256, dropout: float = 0.1
) -> nn.Module:
    """`encoder`: one of timm's `swin_*` or `swinv2_*` (others work too)."""
    return AllMlp(build_encoder(encoder, in_channels), n_classes, channels=channels, dropout=dropout)
