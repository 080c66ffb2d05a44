"""3D U-Nets in nnU-Net's shape, plain and with a residual encoder (arXiv:1809.10486, 2404.09556).

    volume -[stage 0]------------------- skip ------------------->[level n-1]- 1x1x1 -> logits
                \\ stride                                 transposed /
              [stage 1]---------------- skip ---------->[level n-2]
                   \\ ...                             ... /
                [stage n-1] --------------------------->'

A stage's stride has one number per axis, so that an axis with thick slices is halved later than the others; kernels of
1 along it go with it. `python -m pipeline plan` chooses both from the spacing by nnU-Net's rules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.models.volumes.blocks import (
    PlainStage,
    ResidualStage,
    Triple,
    as_triples,
    conv_norm,
    initialise_volume,
)
from inference.models.volumes.segmenter import VolumeLevels, total_strides

FEATURES = (32, 64, 128, 256, 320, 320)
STRIDES = (1, 2, 2, 2, 2, 2)


class UNet3d(VolumeLevels):
    """A stem (residual encoder only), encoder stages, transposed convolutions, decoder stages, a head.

    `depths`: convolutions in each stage, or residual blocks in each with `residual` (its decoder stages have one
    convolution); `strides` and `kernels`: for each stage a number or [z, y, x].
    """

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        *,
        residual: bool,
        features: Sequence[int] = FEATURES,
        strides: Sequence[int | Triple] = STRIDES,
        kernels: Sequence[int | Triple] | None = None,
        depths: Sequence[int] | None = None,
        decoder_depth: int | None = None,
    ) -> None:
        super().__init__()
        depths = depths or ((1, 3, 4, 6, 6, 6) if residual else (2,) * 6)
        decoder_depth = decoder_depth or (1 if residual else 2)
        number = len(features)
        if number < 2 or len(depths) != number:
            raise ValueError(
                f"features {list(features)}, depths {list(depths)}: expected one each a stage, two or more"
            )
        steps = as_triples(strides, "strides", number)
        sizes = as_triples(kernels or (3,) * number, "kernels", number)
        first = features[0] if residual else in_channels
        self.stem = conv_norm(in_channels, first, sizes[0]) if residual else nn.Identity()
        stage = ResidualStage if residual else PlainStage
        inputs = (first, *features[:-1])
        self.stages = nn.ModuleList(
            stage(before, after, kernel, stride=step, depth=depth)
            for before, after, kernel, step, depth in zip(inputs, features, sizes, steps, depths, strict=True)
        )
        places = range(number - 1, 0, -1)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(features[i], features[i - 1], steps[i], steps[i]) for i in places)
        self.levels = nn.ModuleList(
            PlainStage(2 * features[i - 1], features[i - 1], sizes[i - 1], stride=(1, 1, 1), depth=decoder_depth)
            for i in places
        )
        self.head = nn.Conv3d(features[0], n_classes, 1)
        initialise_volume(self)
        self.strides = total_strides(steps)
        self.level_channels = tuple(features[-2:0:-1])

    def forward_levels(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = [self.stem(volumes)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x, found = maps.pop(), []
        for up, level in zip(self.ups, self.levels, strict=True):
            x = level(torch.cat([up(x), maps.pop()], dim=1))
            found.append(x)
        return self.head(x), found[:-1]
