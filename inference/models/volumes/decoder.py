"""A 3D U-Net decoder for encoders whose maps shrink by their own factors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.models.volumes.blocks import PlainStage
from inference.models.volumes.segmenter import resize_volume


class VolumeDecoder(nn.Module):
    """Upsample to the skip's size, concatenate, two 3x3x3 convolutions; `widths`: deepest first, one for each skip."""

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        skips = list(channels)[-2::-1]
        if len(widths) != len(skips):
            raise ValueError(f"decoder_channels {list(widths)}: expected {len(skips)}, one a map above the deepest")
        inputs = (channels[-1], *widths[:-1])
        self.levels = nn.ModuleList(
            PlainStage(before + skip, width, (3, 3, 3), stride=(1, 1, 1), depth=2)
            for before, skip, width in zip(inputs, skips, widths, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps `(N, C_i, D_i, H_i, W_i)` finest first -> the levels, deepest first."""
        x, found = maps[-1], []
        for level, skip in zip(self.levels, list(maps)[-2::-1], strict=True):
            x = level(torch.cat([resize_volume(x, skip.shape[-3:]), skip], dim=1))
            found.append(x)
        return found
