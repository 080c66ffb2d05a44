"""What every 3D network of the table is wrapped in: any depth, height and width in, logits of the same size out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.segmenter import Model, TrainOutputs

Size3 = tuple[int, int, int]


class VolumeLevels(nn.Module, ABC):
    """Base of 3D networks, which show their decoder's coarser levels for deep supervision.

    `strides`: numbers that depth, height and width must be multiples of. `level_channels`: channels of the decoder's
    coarser levels, deepest first (empty: no deep supervision).
    """

    strides: Size3 = (1, 1, 1)
    level_channels: tuple[int, ...] = ()

    @abstractmethod
    def forward_levels(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the coarser levels that `level_channels` describes."""

    def forward(self, volumes: Tensor) -> Tensor:
        """`(N, C, D, H, W)` -> logits `(N, K, D, H, W)`."""
        return self.forward_levels(volumes)[0]


class VolumeSegmenter(Model):
    """A 3D network that takes volumes of any size, with the extra heads of deep supervision while it is trained.

    `forward(volumes (N, C, D, H, W))` gives logits `(N, K, D, H, W)`; in training mode with `deep_supervision` it gives
    `TrainOutputs` of volumes. Volumes are padded to multiples of the network's strides, equally on opposite sides, by
    reflection (by repeating the outermost voxels where a volume is too small for that); the border is cut off again.
    """

    def __init__(self, net: VolumeLevels, in_channels: int, n_classes: int, *, deep_supervision: bool = False) -> None:
        super().__init__(net, in_channels)
        if deep_supervision and not net.level_channels:
            raise ValueError("deep_supervision: this model's decoder has no levels to supervise; leave it out")
        chosen = net.level_channels if deep_supervision else ()
        self.aux_heads = nn.ModuleList(nn.Conv3d(channels, n_classes, 1) for channels in chosen)

    def forward(self, volumes: Tensor) -> Tensor | TrainOutputs:
        net = cast(VolumeLevels, self.net)
        padded, window = pad_volume(volumes, net.strides)
        logits, levels = net.forward_levels(padded)
        if not (self.training and len(self.aux_heads)):
            return crop_volume(logits, window)
        aux = [
            crop_volume(resize_volume(head(level), padded.shape[-3:]), window)
            for head, level in zip(self.aux_heads, levels, strict=True)
        ]
        return {"logits": crop_volume(logits, window), "aux_logits": aux}


def pad_volume(volumes: Tensor, strides: Size3) -> tuple[Tensor, tuple[slice, ...]]:
    """Volumes `(N, C, D, H, W)` padded to multiples of `strides`, and the window that the original fills.

    A volume of one stride along every axis gets a second one in width: the deepest map needs two voxels, since the
    variance in instance norm is not defined for one.
    """
    sizes = [int(size) for size in volumes.shape[-3:]]
    wanted = [math.ceil(size / stride) * stride for size, stride in zip(sizes, strides, strict=True)]
    if wanted == list(strides) and math.prod(strides) > 1:
        wanted[2] += strides[2]
    before = [(target - size) // 2 for size, target in zip(sizes, wanted, strict=True)]
    after = [target - size - first for size, target, first in zip(sizes, wanted, before, strict=True)]
    window = tuple(slice(first, first + size) for first, size in zip(before, sizes, strict=True))
    if wanted != sizes:
        fits = all(last < size for last, size in zip(after, sizes, strict=True))
        pads = [pad for first, last in zip(before[::-1], after[::-1], strict=True) for pad in (first, last)]
        volumes = F.pad(volumes, pads, mode="reflect" if fits else "replicate")
    return volumes, window


def crop_volume(maps: Tensor, window: tuple[slice, ...]) -> Tensor:
    """The window of maps `(N, K, D', H', W')`."""
    return maps[(slice(None), slice(None), *window)]


def resize_volume(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps resized to `size` (depth, height, width): trilinear, the outer corners of both volumes aligned."""
    if tuple(maps.shape[-3:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=[int(side) for side in size], mode="trilinear", align_corners=False)


def total_strides(strides: Sequence[Sequence[int]]) -> Size3:
    """Product of the stages' strides along depth, height, width."""
    z, y, x = (math.prod(stage[axis] for stage in strides) for axis in range(3))
    return z, y, x
