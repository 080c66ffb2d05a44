"""SegResNet: a residual encoder with group norm and an adding decoder (Myronenko 2018, arXiv:1810.11654).

    conv -[blocks]-------------- + ------------[block]- norm, ReLU, 1x1x1 -> logits
            \\ stride 2         up x2 (1x1x1, trilinear)
           [blocks]----------- + ----------[block]
               \\ ...                      ... /

As MONAI's `SegResNet` of the same options (8 groups, no variational branch), parameter for parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from inference.models.volumes.blocks import Conv3d
from inference.models.volumes.segmenter import VolumeLevels, resize_volume

GROUPS = 8


class PreActivated(nn.Module):
    """x + conv(act(norm(conv(act(norm(x))))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_half(channels), *_half(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, D, H, W)` -> the same."""
        return x + self.body(x)


def _half(channels: int) -> list[nn.Module]:
    conv = Conv3d(channels, channels, 3, padding=1, bias=False)
    return [nn.GroupNorm(GROUPS, channels), nn.ReLU(inplace=True), conv]


class SegResNet(VolumeLevels):
    """Encoder stages, each with twice the channels of the one before, and decoder stages that add the encoder's maps.

    `width`: channels of the first stage; `down`, `up`: number of blocks in each stage of encoder and decoder.
    """

    def __init__(
        self, in_channels: int, n_classes: int, *, width: int = 16, down: Sequence[int] = (1, 2, 2, 4),
        up: Sequence[int] = (1, 1, 1),
    ) -> None:  # fmt: skip
        super().__init__()
        if width % GROUPS or len(up) != len(down) - 1 or not up:
            raise ValueError(
                f"width {width}, down {list(down)}, up {list(up)}: expected a multiple of {GROUPS}, and one less up "
                "than down, at least one"
            )
        widths = [width * 2**i for i in range(len(down))]
        self.stem = Conv3d(in_channels, width, 3, padding=1, bias=False)
        self.stages = nn.ModuleList()
        for i, (channels, blocks) in enumerate(zip(widths, down, strict=True)):
            enter = Conv3d(channels // 2, channels, 3, 2, padding=1, bias=False) if i else nn.Identity()
            self.stages.append(nn.Sequential(enter, *(PreActivated(channels) for _ in range(blocks))))
        above = widths[-2::-1]
        self.ups = nn.ModuleList(nn.Conv3d(2 * channels, channels, 1, bias=False) for channels in above)
        self.levels = nn.ModuleList(
            nn.Sequential(*(PreActivated(channels) for _ in range(blocks)))
            for channels, blocks in zip(above, up, strict=True)
        )
        self.head = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.ReLU(inplace=True), nn.Conv3d(width, n_classes, 1))
        side = 2 ** (len(down) - 1)
        self.strides = (side, side, side)
        self.level_channels = tuple(above[:-1])

    def forward_levels(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = [self.stem(volumes)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x, found = maps.pop(), []
        for up, level in zip(self.ups, self.levels, strict=True):
            skip = maps.pop()
            x = level(resize_volume(up(x), skip.shape[-3:]) + skip)
            found.append(x)
        return self.head(x), found[:-1]
