"""Image-level logits repeated over the plane, so that everything after the network sees one kind of output.

classifier:            image-level logits (N, K)                 -> (N, K, H, W), the same at every pixel
model with image head: logits (N, K, H, W), image logits (N, K)  -> (N, 2 K, H, W), classes first
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inference.models.segmenter import Classifier, Segmenter


class ClassifierPlanes(nn.Module):
    """A classifier whose image-level logits stand at every pixel."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` -> logits `(N, K, H, W)`."""
        return _spread(self.model(images), images)


class PresencePlanes(nn.Module):
    """A segmentation network with an image-level head, whose logits stand at every pixel beside the classes."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` -> logits `(N, 2 K, H, W)`."""
        outputs = self.model.forward_outputs(images)
        return torch.cat([outputs["logits"], _spread(outputs["image_logits"], images)], dim=1)


def as_planes(model: nn.Module) -> nn.Module:
    """The network with image-level logits repeated over the plane; a network without them stays as it is."""
    if isinstance(model, Classifier):
        return ClassifierPlanes(model)
    if isinstance(model, Segmenter) and model.image_head is not None:
        return PresencePlanes(model)
    return model


def _spread(logits: Tensor, images: Tensor) -> Tensor:
    return logits[..., None, None].expand(-1, -1, *images.shape[-2:])
