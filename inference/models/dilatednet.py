"""DilatedNet (Yu and Koltun 2016, arXiv:1511.07122): a front end without late pooling, and a context module.

    image - conv1 - conv2 - conv3 - conv4 - conv5 - fc6 - fc7 - 1x1 --+     front end at 1/8:
            pool    pool    pool    (no     rate 2  7x7         scores |    pools 4 and 5 are gone, what
             1/2     1/4     1/8    pool)           rate 4             |    follows them is dilated instead
                                                                       v
    context:  3x3 at rates 1, 1, 2, 4, 8, 16, 1 on the scores, 1x1  ----> x8 -> logits

The context module starts as the identity (the paper's initialisation) and sees 67x67 scores at its end.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.models.segmenter import Levels, resize
from inference.models.vgg import Vgg16

RATES = (1, 1, 2, 4, 8, 16, 1)


class DilatedNet(Levels):
    """Front end at 1/8 and context module; `context=False`: the front end alone."""

    def __init__(
        self, in_channels: int, n_classes: int, *, fc_channels: int = 4096, dropout: float = 0.5, context: bool = True
    ) -> None:
        super().__init__()
        self.encoder = Vgg16(
            in_channels,
            dilations=(1, 1, 1, 1, 2),
            strides=(2, 2, 2, 0, 0),
            fc=(7, fc_channels, 4),
            dropout=dropout,
        )
        self.score = nn.Conv2d(fc_channels, n_classes, 1)
        self.context = context_module(n_classes) if context else nn.Identity()
        self.deepest_channels = fc_channels

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        scores = self.context(self.score(features[-1]))
        return resize(scores, images.shape[-2:]), [], features[-1]


def context_module(n_classes: int) -> nn.Sequential:
    """The paper's basic module: seven dilated 3x3 and one 1x1, all of `n_classes` channels."""
    layers: list[nn.Module] = []
    for rate in RATES:
        conv = nn.Conv2d(n_classes, n_classes, 3, padding=rate, dilation=rate)
        layers += [start_as_identity(conv), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, start_as_identity(nn.Conv2d(n_classes, n_classes, 1)))


def start_as_identity(conv: nn.Conv2d) -> nn.Conv2d:
    """Each output channel is its input channel, until training changes it."""
    with torch.no_grad():
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
