"""SegFormer: a Mix Transformer and an all-MLP head (Xie et al. 2021, arXiv:2105.15203).

    MiT encoder                          all-MLP head

    1/4  [stage 1]- linear to C -----------+
    1/8  [stage 2]- linear to C - to 1/4 --+
    1/16 [stage 3]- linear to C - to 1/4 --+- concat - linear - norm, ReLU - dropout - linear - x4 -> logits
    1/32 [stage 4]- linear to C - to 1/4 --+

`swin_segformer` is the same head on a Swin Transformer (Liu et al. 2021, arXiv:2103.14030).
The linear layers work pixel by pixel: 1x1 convolutions. MiT's pretrained weights (NVIDIA) are not for
commercial use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import conv_norm_relu
from inference.models.segmenter import Levels, resize


class AllMlp(Levels):
    """The all-MLP head on the maps at 1/4 to 1/32 of any encoder."""

    def __init__(
        self, encoder: str, in_channels: int, n_classes: int, *, channels: int = 256, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels)
        widths = channels_of(self.encoder)[2:]
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.fuse = conv_norm_relu(channels * len(widths), channels, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels, n_classes, 1)
        self.level_channels = (channels,) * (len(widths) - 1)
        self.deepest_channels = widths[-1]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        levels = [lateral(level) for lateral, level in zip(self.laterals, features[2:], strict=True)]
        size = levels[0].shape[-2:]
        fused = self.fuse(torch.cat([resize(level, size) for level in reversed(levels)], dim=1))
        logits = self.head(self.dropout(fused))
        return resize(logits, images.shape[-2:]), levels[:0:-1], features[-1]


def build_segformer(
    encoder: str, in_channels: int, n_classes: int, *, channels: int = 256, dropout: float = 0.1
) -> nn.Module:
    """`encoder` mit_b0 to mit_b5; the paper's head has 256 channels for b0 and b1, 768 above."""
    if not encoder.startswith("mit_b"):
        raise ValueError(
            f"segformer takes a Mix Transformer (mit_b0 to mit_b5), not {encoder!r}; "
            f"the same head on other encoders is smp_segformer or swin_segformer"
        )
    return AllMlp(encoder, in_channels, n_classes, channels=channels, dropout=dropout)
