"""DeconvNet (Noh, Hong and Han 2015, arXiv:1505.04366): VGG16 and its mirror image.

    224  112   56   28   14    7     1     1     7    14   28   56   112  224
    [c1]-[c2]-[c3]-[c4]-[c5]-pool-[fc6]-[fc7]-[fc6']-[d5]-[d4]-[d3]-[d2]-[d1]- 1x1 -> logits
      |    |    |    |    |     7x7   1x1    7x7      |    |    |    |    |
      |    |    |    |    +------ where the maxima ---+    |    |    |    |
      |    |    |    +------------ were: indices ----------+    |    |    |
      |    |    +-----------------------------------------------+    |    |
      |    +---------------------------------------------------------+    |
      +-------------------------------------------------------------------+

fc6 is a 7x7 convolution that pads nothing, fc6' its transposed twin: on 224x224 the map between is one pixel.
Smaller images are padded to 224; larger ones give a larger map. Batch norm after every convolution, as in the
paper.
"""

from __future__ import annotations

from torch import Tensor, nn

from inference.models.layers import initialise
from inference.models.segmenter import Levels
from inference.models.vgg import STAGES, MirroredStage, Vgg16


class DeconvNet(Levels):
    """Convolutions down to fc7 and deconvolutions with unpooling back up.

    `fc_channels` is the width of fc6 and fc7 (most of its 252 million parameters).
    """

    def __init__(self, in_channels: int, n_classes: int, *, fc_channels: int = 4096, dropout: float = 0.5) -> None:
        super().__init__()
        self.encoder = Vgg16(in_channels, norm=True, fc=(7, fc_channels, 1), fc_padding=0, dropout=dropout)
        self.expand = nn.Sequential(nn.ConvTranspose2d(fc_channels, 512, 7), nn.BatchNorm2d(512), nn.ReLU(inplace=True))
        outputs = [STAGES[max(i - 1, 0)][-1] for i in range(5)]
        self.stages = nn.ModuleList(
            MirroredStage(STAGES[i], outputs[i], nn.ConvTranspose2d) for i in reversed(range(5))
        )
        initialise(self)
        self.head = nn.Conv2d(STAGES[0][-1], n_classes, 1)
        self.level_channels = tuple(outputs[:0:-1])
        self.deepest_channels = fc_channels

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features, indices = self.encoder.forward_with_indices(images)
        levels = [self.expand(features[-1])]
        for stage, index, finer in zip(self.stages, reversed(indices), features[4::-1], strict=True):
            levels.append(stage(levels[-1], index, finer.shape[-2:]))
        return self.head(levels[-1]), levels[1:-1], features[-1]
