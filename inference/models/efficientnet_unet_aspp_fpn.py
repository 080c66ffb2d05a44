"""The baseline that most solutions start from: encoder, ASPP, Unet decoder and FPN fusion in one network.

           encoder                        Unet decoder              FPN fusion

    1/2   [f1]--------------------skip-->[ d1 ]--------------------------------+
           |                               ^ x2                                |
    1/4   [f2]--------------------skip-->[ d2 ]--> 3x3, 3x3 --> x2 ----------- +
           |                               ^ x2                                |
    1/8   [f3]--------------------skip-->[ d3 ]--> 3x3, 3x3 --> x4 ------------+-- concat
           |                               ^ x2                                |      |
    1/16  [f4]--------------------skip-->[ d4 ]--> 3x3, 3x3 --> x8 ------------+   dropout
           |                               ^ x2                                |      |
    1/32  [f5]-->[ASPP: 1x1, 3x3 at rates r, mean]--> 3x3, 3x3 --> x16 --------+   3x3 head -- x2 --> logits

Unet: Ronneberger et al. 2015 (arXiv:1505.04597); ASPP: Chen et al. 2017 (arXiv:1706.05587);
FPN: Lin et al. 2017 (arXiv:1612.03144), as a segmentation head Kirillov et al. 2019 (arXiv:1901.02446);
EfficientNet: Tan and Le 2019 (arXiv:1905.11946). The head works at 1/2: the last doubling is of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import ASPP, PyramidFusion, UnetBlock, initialise
from inference.models.segmenter import Levels, resize


class UnetAsppFpn(Levels):
    """Encoder, ASPP on its deepest map, Unet decoder; the pyramid fuses its levels before the head.

    `pyramid_channels` 0: no pyramid, the head reads the finest level. `norm` (batch, instance, group, none) is that of
    everything after the encoder.
    """

    def __init__(
        self,
        encoder: str,
        in_channels: int,
        n_classes: int,
        *,
        decoder_channels: Sequence[int] = (256, 128, 64, 32),
        aspp_channels: int = 256,
        aspp_rates: Sequence[int] = (1, 2, 3, 4),
        pyramid_channels: int = 32,
        dropout: float = 0.1,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels)
        *skips, deepest = channels_of(self.encoder)[1:]
        if len(decoder_channels) != len(skips):
            raise ValueError(
                f"decoder_channels has {len(decoder_channels)} entries, expected {len(skips)} (1/16 first)"
            )
        self.aspp = ASPP(
            deepest, aspp_channels, aspp_rates, branch_channels=aspp_channels // 2, dropout=dropout, norm=norm
        )
        inputs = [aspp_channels, *decoder_channels[:-1]]
        self.blocks = nn.ModuleList(
            UnetBlock(before, skip, after, norm=norm)
            for before, skip, after in zip(inputs, reversed(skips), decoder_channels, strict=True)
        )
        self.fusion = PyramidFusion(inputs, pyramid_channels, norm=norm) if pyramid_channels else None
        width = decoder_channels[-1] + (self.fusion.out_channels if self.fusion else 0)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, n_classes, 3, padding=1)
        self.level_channels = tuple(inputs[1:])
        self.deepest_channels = deepest
        for part in (self.aspp, self.blocks, self.fusion):
            if part is not None:
                initialise(part)

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        levels = [self.aspp(features[-1])]
        for block, skip in zip(self.blocks, reversed(features[1:-1]), strict=True):
            levels.append(block(levels[-1], skip))
        finest = levels[-1]
        if self.fusion is not None:
            fused = self.fusion(levels[:-1], finest.shape[-2:])
            finest = torch.cat([finest, fused], dim=1)
        logits = self.head(self.dropout(finest))
        return resize(logits, images.shape[-2:]), levels[1:-1], features[-1]
