"""Any classifier of timm with its own head: the image-level gate beside a segmentation model.

image - encoder (any of timm) - pooled features - dropout - fc K -> logits (N, K)
"""

from __future__ import annotations

import math

import timm
from torch import Tensor, nn

from inference.models.encoders import EncoderRecipe, encoder_options, remember_recipe, resolve_encoder
from inference.models.segmenter import pad_to_stride


class TimmClassifier(nn.Module):
    """`(N, C, H, W)` -> logits `(N, K)`; `encoder` is everything before the last layer.

    Images for an encoder of patches are padded by reflection to a whole number of them.
    """

    def __init__(self, encoder: nn.Module, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        width = getattr(encoder, "head_hidden_size", encoder.num_features)
        patch = getattr(getattr(encoder, "patch_embed", None), "patch_size", None)
        # three times the patches of a Swin are merged, and the maps of SAM2's Hiera are halved as often
        own = 8 * int(patch[0]) if patch else 32 if hasattr(encoder, "patch_embed") else 1
        self.stride = math.lcm(own, int(getattr(encoder, "multiple", 1)))
        self.head = nn.Linear(int(width), n_classes)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        padded, _ = pad_to_stride(images, self.stride)
        return self.head(self.dropout(self.encoder(padded)))


def build_timm_classifier(encoder: str, in_channels: int, n_classes: int, *, dropout: float = 0.2) -> nn.Module:
    """Classifier with random weights; `encoder` is any name of timm."""
    resolved = resolve_encoder(encoder if encoder.startswith("tu-") else f"tu-{encoder}")
    options = encoder_options(resolved)
    net = timm.create_model(
        resolved.removeprefix("tu-"), pretrained=False, in_chans=in_channels, num_classes=0, **options
    )
    return TimmClassifier(remember_recipe(net, EncoderRecipe(resolved, options=options)), n_classes, dropout)
