"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer and Darrell 2015, arXiv:1411.4038).

    image - conv1,2 - conv3 - pool3 (1/8) -- conv4 - pool4 (1/16) -- conv5 - pool5 - fc6 - fc7 (1/32)
                                |                      |                                    |
                               1x1                    1x1                                  1x1
                                |                      |                                    |
    FCN-32s                     |                      |                       x32 <--------+
    FCN-16s                     |            x16 <-----+<----------- x2 <-------------------+
    FCN-8s           x8 <-------+<------ x2 <----------+<----------- x2 <-------------------+

Upsampling is a transposed convolution for each class alone that starts as bilinear interpolation and is
learned; the last one stays bilinear, as in the paper's final models. fc6 pads by 3 where the paper pads the
image by 100.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.models.segmenter import Levels, resize
from inference.models.vgg import Vgg16


class Fcn(Levels):
    """`finest`: stride of the finest map that is scored: 32, 16 or 8."""

    def __init__(
        self, in_channels: int, n_classes: int, *, finest: int, fc_channels: int = 4096, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.encoder = Vgg16(in_channels, fc=(7, fc_channels, 1), dropout=dropout)
        self.score = nn.Conv2d(fc_channels, n_classes, 1)
        skips = {32: (), 16: (512,), 8: (512, 256)}[finest]
        self.skip_scores = nn.ModuleList(nn.Conv2d(width, n_classes, 1) for width in skips)
        self.ups = nn.ModuleList(bilinear_transposed(n_classes) for _ in skips)
        self.deepest_channels = fc_channels
        for scored in (self.score, *self.skip_scores):  # the paper's: scores start at 0
            nn.init.zeros_(scored.weight)  # type: ignore[arg-type]
            nn.init.zeros_(scored.bias)  # type: ignore[arg-type]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features = self.encoder(images)
        scores = self.score(features[-1])
        pools = [features[4], features[3]]
        for skip_score, up, pool in zip(self.skip_scores, self.ups, pools, strict=False):
            scores = up(scores) + skip_score(pool)
        return resize(scores, images.shape[-2:]), [], features[-1]


def bilinear_transposed(channels: int) -> nn.ConvTranspose2d:
    """Twice the size, each channel by itself, starting as bilinear interpolation."""
    layer = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, groups=channels, bias=False)
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_((ramp[:, None] * ramp).expand_as(layer.weight))
    return layer
