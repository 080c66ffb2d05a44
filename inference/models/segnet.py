"""SegNet (Badrinarayanan, Kendall and Cipolla 2017, arXiv:1511.00561): VGG16 without its fc layers, mirrored.

    [c1]- pool -[c2]- pool -[c3]- pool -[c4]- pool -[c5]- pool --+
      |           |           |           |           |          |
      | indices   |           |           |           |          |
      v           v           v           v           v          |
    [d1]- unpool [d2]- unpool [d3]- unpool [d4]- unpool [d5]- unpool
      |
    3x3 -> logits

Only the positions of the maxima cross from encoder to decoder, no features: little memory, sharp borders.
"""

from __future__ import annotations

from torch import Tensor, nn

from inference.models.layers import initialise
from inference.models.segmenter import Levels
from inference.models.vgg import STAGES, MirroredStage, Vgg16


class SegNet(Levels):
    """29.4 million parameters. The last convolution of the mirrored first stage is the classifier, as in the paper."""

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.encoder = Vgg16(in_channels, norm=True)
        deep = [MirroredStage(STAGES[i], STAGES[i - 1][-1], nn.Conv2d) for i in (4, 3, 2, 1)]
        self.stages = nn.ModuleList([*deep, MirroredStage(STAGES[0][:1], STAGES[0][0], nn.Conv2d)])
        initialise(self)
        self.head = nn.Conv2d(STAGES[0][0], n_classes, 3, padding=1)
        self.level_channels = tuple(STAGES[i - 1][-1] for i in (4, 3, 2, 1))
        self.deepest_channels = STAGES[4][-1]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features, indices = self.encoder.forward_with_indices(images)
        levels = [features[-1]]
        for stage, index, finer in zip(self.stages, reversed(indices), features[4::-1], strict=True):
            levels.append(stage(levels[-1], index, finer.shape[-2:]))
        return self.head(levels[-1]), levels[1:-1], features[-1]
