"""What every model of the table is wrapped in: any height and width in, logits of the same size out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self, TypedDict, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TrainOutputs(TypedDict, total=False):
    """What a model gives in training mode when it has more to supervise than its logits."""

    logits: Tensor  # (N, K, H, W)
    aux_logits: list[Tensor]  # each (N, K, H, W): the decoder's coarser levels, brought to input size
    image_logits: Tensor  # (N, K): does the image show class k at all?


class Levels(nn.Module, ABC):
    """Base of networks that can be supervised below their head.

    `level_channels`: channels of the decoder's coarser levels, deepest first (empty: no deep supervision).
    `deepest_channels`: channels of the map that an image-level head pools (0: none).
    `stride`: what the image must be a multiple of, where the table's number does not say it (0).
    """

    level_channels: tuple[int, ...] = ()
    deepest_channels: int = 0
    stride: int = 0

    @abstractmethod
    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Logits, the coarser levels that `level_channels` describes, and the deepest map."""

    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` -> logits `(N, K, H, W)`."""
        return self.forward_levels(images)[0]


class Model(nn.Module):
    """What `build_model` returns: a network, its encoder if it has one, and what of it is frozen."""

    def __init__(self, net: nn.Module, in_channels: int) -> None:
        super().__init__()
        self.net: nn.Module = net
        self.in_channels = in_channels
        self.frozen_norms: tuple[str, ...] = ()
        self.frozen_parameters: tuple[str, ...] = ()

    @property
    def encoder(self) -> nn.Module | None:
        """The part that pretrained weights belong to; None where there is no such part."""
        return getattr(self.net, "encoder", None)

    def train(self, mode: bool = True) -> Self:
        """As everywhere in torch, but frozen norm layers stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen_norms:
            self.get_submodule(name).eval()
        return self


class Classifier(Model):
    """A network with image-level logits only: `(N, C, H, W)` -> logits `(N, K)`."""

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class Segmenter(Model):
    """A network plus padding to its stride, plus the optional heads that only training sees.

    `forward(images (N, C, H, W))` gives logits `(N, K, H, W)` in evaluation mode and wherever there is
    nothing else to supervise; in training mode with `deep_supervision` or `image_head` it gives
    `TrainOutputs`. `forward_outputs` gives the dictionary in either mode: the image-level answer is of use at
    prediction too.

    Images are padded on all four sides alike by reflection (by repeating the edge where the image is smaller
    than the border), so that a flipped image is seen as the image is, up to one pixel; the border is cut off
    again.
    """

    def __init__(
        self,
        net: nn.Module,
        in_channels: int,
        n_classes: int,
        *,
        stride: int,
        minimum: int = 0,
        deep_supervision: bool = False,
        image_head: bool = False,
    ) -> None:
        super().__init__(net, in_channels)
        self.stride = stride
        self.minimum = minimum
        level_channels = getattr(net, "level_channels", ())
        deepest = getattr(net, "deepest_channels", 0)
        if deep_supervision and not level_channels:
            raise ValueError("deep_supervision: this model's decoder has no levels to supervise; leave it out")
        if image_head and not deepest:
            raise ValueError("image_head: this model has no deepest map to pool; leave it out")
        self.aux_heads = nn.ModuleList(
            nn.Conv2d(channels, n_classes, 1) for channels in level_channels if deep_supervision
        )
        self.image_head = nn.Linear(deepest, n_classes) if image_head else None

    @property
    def has_extra_outputs(self) -> bool:
        """Whether training mode gives `TrainOutputs` rather than a tensor."""
        return len(self.aux_heads) > 0 or self.image_head is not None

    def forward(self, images: Tensor) -> Tensor | TrainOutputs:
        if self.training and self.has_extra_outputs:
            return self.forward_outputs(images)
        padded, window = pad_to_stride(images, self.stride, self.minimum)
        return crop(self.net(padded), window)

    def forward_outputs(self, images: Tensor) -> TrainOutputs:
        """The logits and whatever optional heads this model was built with, in either mode."""
        padded, window = pad_to_stride(images, self.stride, self.minimum)
        if not self.has_extra_outputs:
            return {"logits": crop(self.net(padded), window)}
        levelled = cast(Levels, self.net)
        logits, levels, deepest = levelled.forward_levels(padded)
        outputs: TrainOutputs = {"logits": crop(logits, window)}
        if len(self.aux_heads):
            outputs["aux_logits"] = [
                crop(resize(head(level), padded.shape[-2:]), window)
                for head, level in zip(self.aux_heads, levels, strict=True)
            ]
        if self.image_head is not None:
            outputs["image_logits"] = self.image_head(deepest.mean(dim=(2, 3)))
        return outputs


def pad_to_stride(images: Tensor, stride: int, minimum: int = 0) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Pad `(N, C, H, W)` to multiples of `stride`, at least `minimum`; also its window `(y0, x0, H, W)`."""
    height, width = images.shape[-2:]
    extra_y = -max(height, minimum) % stride + max(minimum - height, 0)
    extra_x = -max(width, minimum) % stride + max(minimum - width, 0)
    top, left = extra_y // 2, extra_x // 2
    bottom, right = extra_y - top, extra_x - left
    if extra_y or extra_x:
        fits = bottom < height and right < width
        images = F.pad(images, (left, right, top, bottom), mode="reflect" if fits else "replicate")
    return images, (top, left, height, width)


def crop(maps: Tensor, window: tuple[int, int, int, int]) -> Tensor:
    """The window `(y0, x0, H, W)` of maps `(N, K, H', W')`."""
    y0, x0, height, width = window
    return maps[:, :, y0 : y0 + height, x0 : x0 + width]


def resize(maps: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Bilinear, pixel centres aligned by area (the convention of every resize in this project)."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=(int(size[0]), int(size[1])), mode="bilinear", align_corners=False)
