"""VGG16 (Simonyan and Zisserman 2015, arXiv:1409.1556) as the encoder of the classics.

    conv1: 2 x 64    conv2: 2 x 128   conv3: 3 x 256   conv4: 3 x 512   conv5: 3 x 512    fc6, fc7 as 1/32
    1/1 ------ pool  1/2 ------ pool  1/4 ------ pool  1/8 ------ pool  1/16 ----- pool   convolutions

The layers stand in the order of timm's `vgg16` / `vgg16_bn`, so that their weights fit one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.encoders import EncoderRecipe, remember_recipe

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg16(nn.Module):
    """The thirteen convolutions and, where asked for, fc6 and fc7 as convolutions.

    `dilations`: of each stage's convolutions; `strides`: of the pool after each stage (a pool of stride 1
    looks at 3x3 and keeps the size, stride 0 leaves the pool out, as the dilated networks do).
    `fc`: (kernel, channels, dilation) of fc6; fc7 is 1x1 with as many channels. `fc_padding` None keeps the
    size.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        norm: bool = False,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        strides: Sequence[int] = (2, 2, 2, 2, 2),
        fc: tuple[int, int, int] | None = None,
        fc_padding: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.out_channels = (in_channels, *(stage[-1] for stage in STAGES))
        self.stages = nn.ModuleList()
        before = in_channels
        for widths, dilation in zip(STAGES, dilations, strict=True):
            layers: list[nn.Module] = []
            for width in widths:
                layers.append(nn.Conv2d(before, width, 3, padding=dilation, dilation=dilation))
                layers.extend([nn.BatchNorm2d(width)] if norm else [])
                layers.append(nn.ReLU(inplace=True))
                before = width
            self.stages.append(nn.Sequential(*layers))
        self.fc: nn.Sequential | None = None
        if fc is not None:
            kernel, channels, dilation = fc
            padding = dilation * (kernel // 2) if fc_padding is None else fc_padding
            layers = [nn.Conv2d(before, channels, kernel, padding=padding, dilation=dilation)]
            layers += [nn.BatchNorm2d(channels)] if norm else []
            layers += [nn.ReLU(inplace=True), nn.Dropout2d(dropout), nn.Conv2d(channels, channels, 1)]
            layers += [nn.BatchNorm2d(channels)] if norm else []
            self.fc = nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Dropout2d(dropout))
            self.out_channels = (*self.out_channels, channels)
        if fc is not None and fc_padding == 0:
            self.smallest = 32 * fc[0]  # below it fc6 has nothing to look at
        remember_recipe(self, EncoderRecipe("tu-vgg16_bn" if norm else "tu-vgg16", by_order=True))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The input, the map after each stage's pool, and that of fc7 if there is one."""
        return self.forward_with_indices(images)[0]

    def forward_with_indices(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Also the indices of each 2x2 maximum, for unpooling."""
        maps, indices = [images], []
        for stage, stride in zip(self.stages, self.strides, strict=True):
            features = stage(maps[-1])
            if stride == 2:
                features, index = F.max_pool2d(features, 2, 2, return_indices=True)
                indices.append(index)
            elif stride == 1:
                features = F.max_pool2d(features, 3, 1, padding=1)
            maps.append(features)
        if self.fc is not None:
            maps.append(self.fc(maps[-1]))
        return maps, indices


class MirroredStage(nn.Module):
    """Unpool to where the maxima were, then a VGG stage backwards, as DeconvNet and SegNet do."""

    def __init__(self, widths: Sequence[int], out_channels: int, layer: type[nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip(widths, [*widths[1:], out_channels], strict=True):
            layers += [layer(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """`features (N, C, h, w)` -> `(N, out_channels, *size)`."""
        return self.layers(F.max_unpool2d(features, indices, [2, 2], [2, 2], [0, 0], list(size)))
