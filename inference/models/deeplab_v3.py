"""DeepLab v3 (Chen et al. 2017, arXiv:1706.05587): ASPP with image pooling on a dilated ResNet.

                                   +- 1x1 --------------------+
                                   +- 3x3, rate  6 -----------+
    image - encoder (1/16, dilated)+- 3x3, rate 12 -----------+- concat - 1x1 - 3x3 - 1x1 - x16 -> logits
                                   +- 3x3, rate 18 -----------+
                                   +- mean of the image - 1x1 +

Beside smp's `deeplabv3`, for reading: the extra 3x3 is smp's and torchvision's, not the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.layers import ASPP, conv_norm_relu, initialise
from inference.models.segmenter import Levels, resize


class DeepLabV3(Levels):
    """Rates are meant for an encoder at `output_stride` 16; at 8 the paper doubles them."""

    def __init__(
        self, encoder: str, in_channels: int, n_classes: int, *, rates: Sequence[int] = (6, 12, 18),
        channels: int = 256, dropout: float = 0.5, output_stride: int = 16,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = build_encoder(encoder, in_channels, output_stride=output_stride)
        deepest = channels_of(self.encoder)[-1]
        self.aspp = ASPP(deepest, channels, rates, dropout=dropout)
        self.refine = conv_norm_relu(channels, channels)
        initialise(self.aspp)
        initialise(self.refine)
        self.head = nn.Conv2d(channels, n_classes, 1)
        self.deepest_channels = deepest

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        logits = self.head(self.refine(self.aspp(features[-1])))
        return resize(logits, images.shape[-2:]), [], features[-1]
