"""EfficientNet Unet + ASPP: the combined baseline without its FPN fusion.

    1/2   [f1]------------------skip-->[ d1 ]-- dropout -- 3x3 head -- x2 --> logits
           |                             ^ x2
    1/4   [f2]------------------skip-->[ d2 ]
           |                             ^ x2
    1/8   [f3]------------------skip-->[ d3 ]
           |                             ^ x2
    1/16  [f4]------------------skip-->[ d4 ]
           |                             ^ x2
    1/32  [f5]-->[ASPP: 1x1, 3x3 at rates r, mean]

Unet: arXiv:1505.04597; ASPP: arXiv:1706.05587. The network itself is `UnetAsppFpn` with `fpn=False`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from inference.models.efficientnet_unet_aspp_fpn import UnetAsppFpn
from inference.models.encoders import build_encoder


def build_efficientnet_unet_aspp(
    encoder: str,
    in_channels: int,
    n_classes: int,
    *,
    decoder_channels: Sequence[int] = (256, 128, 64, 32),
    aspp_channels: int = 256,
    aspp_rates: Sequence[int] = (1, 2, 3, 4),
    dropout: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """As the combined network's builder, without the pyramid."""
    return UnetAsppFpn(
        build_encoder(encoder, in_channels),
        n_classes,
        decoder_channels=decoder_channels,
        aspp_channels=aspp_channels,
        aspp_rates=aspp_rates,
        dropout=dropout,
        norm=norm,
        fpn=False,
    )
