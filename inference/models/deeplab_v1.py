"""DeepLab v1, LargeFOV (Chen et al. 2015, arXiv:1412.7062): VGG16 with holes instead of the last pools.

    image - conv1 - conv2 - conv3 - conv4 - conv5 - fc6 ------ fc7 - 1x1 - x8 -> logits
            pool    pool    pool    pool    pool    3x3        1024
             1/2     1/4     1/8    stride  stride  rate 12,
                                    1       1       1024
                            conv5 at rate 2

The kernel of fc6 shrinks from 7x7 to 3x3 and its rate grows to 12: a large field of view at a fraction of the
parameters (20.5 million). The paper's fully connected CRF is post-processing and not part of the network.
"""

from __future__ import annotations

from torch import Tensor, nn

from inference.models.segmenter import Levels, resize
from inference.models.vgg import Vgg16


class DeepLabV1(Levels):
    """LargeFOV, scores at 1/8; `rate`: dilation of fc6."""

    def __init__(
        self, in_channels: int, n_classes: int, *, rate: int = 12, fc_channels: int = 1024, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.encoder = Vgg16(
            in_channels,
            dilations=(1, 1, 1, 1, 2),
            strides=(2, 2, 2, 1, 1),
            fc=(3, fc_channels, rate),
            dropout=dropout,
        )
        self.head = nn.Conv2d(fc_channels, n_classes, 1)
        self.deepest_channels = fc_channels

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        return resize(self.head(features[-1]), images.shape[-2:]), [], features[-1]
