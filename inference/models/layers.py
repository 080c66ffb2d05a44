"""The few layers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.segmenter import resize


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int = 3, *, dilation: int = 1, norm: str = "batch"
) -> nn.Sequential:
    """Convolution that keeps the size, norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=norm == "none",
        ),
        build_norm(norm, out_channels),
        nn.ReLU(inplace=True),
    )


def build_norm(norm: str, channels: int) -> nn.Module:
    """`batch`, `instance` (with its own scale and shift), `group` (groups of up to 32) or `none`."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm == "group":
        groups = next(n for n in (32, 16, 8, 4, 2, 1) if channels % n == 0)
        return nn.GroupNorm(groups, channels)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm {norm!r}: expected batch, instance, group or none")


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587, section 3.3).

        map --+-- 1x1 ---------------------+
              +-- 3x3, rate r1 ------------+
              +-- 3x3, rate r2 ------------+-- concat -- 1x1 -- dropout
              +-- ...                      |
              +-- mean of the image, 1x1 --+

    The pooled branch has no norm: its map is one pixel an image, of which a batch of one has no variance.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rates: Sequence[int],
        *,
        branch_channels: int | None = None,
        dropout: float = 0.1,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        width = branch_channels or out_channels
        if not rates or min(rates) < 1:
            raise ValueError(f"ASPP rates {list(rates)}: expected at least one dilation rate, each 1 or more")
        self.point = conv_norm_relu(in_channels, width, 1, norm=norm)
        self.atrous = nn.ModuleList(conv_norm_relu(in_channels, width, 3, dilation=rate, norm=norm) for rate in rates)
        self.pooled = nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.ReLU(inplace=True))
        self.project = conv_norm_relu(width * (2 + len(rates)), out_channels, 1, norm=norm)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """`(N, C, h, w)` -> `(N, out_channels, h, w)`."""
        pooled = self.pooled(features.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])
        branches = [self.point(features), *(branch(features) for branch in self.atrous), pooled]
        return self.dropout(self.project(torch.cat(branches, dim=1)))


class UnetBlock(nn.Module):
    """Upsample to the skip's size, concatenate the skip, two 3x3 convolutions (Ronneberger et al. 2015)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, *, norm: str = "batch") -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_norm_relu(in_channels + skip_channels, out_channels, norm=norm),
            conv_norm_relu(out_channels, out_channels, norm=norm),
        )

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """`deep (N, C, h, w)` and `skip (N, S, H, W)` -> `(N, out_channels, H, W)`."""
        up = F.interpolate(deep, size=skip.shape[-2:], mode="nearest")
        return self.convs(torch.cat([up, skip], dim=1))


class PyramidFusion(nn.Module):
    """FPN over a decoder's levels: two 3x3 convolutions each, brought to the finest size, concatenated.

    Kirillov et al. 2019 (arXiv:1901.02446) add the levels; concatenation keeps them apart for the head and
    costs little with few channels a level.
    """

    def __init__(self, level_channels: Sequence[int], channels: int, *, norm: str = "batch") -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Sequential(
                conv_norm_relu(width, channels * 2, norm=norm),
                nn.Conv2d(channels * 2, channels, 3, padding=1),
            )
            for width in level_channels
        )
        self.out_channels = channels * len(level_channels)

    def forward(self, levels: Sequence[Tensor], size: torch.Size | tuple[int, int]) -> Tensor:
        """Levels `(N, C_i, h_i, w_i)` -> `(N, channels * len(levels), *size)`."""
        maps = [resize(lateral(level), size) for lateral, level in zip(self.laterals, levels, strict=True)]
        return torch.cat(maps, dim=1)


def initialise(module: nn.Module) -> None:
    """He initialisation for convolutions and linear layers before ReLU; biases at 0 (arXiv:1502.01852)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
