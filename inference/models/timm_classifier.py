"""Any classifier of timm with its own head: the image-level gate beside a segmentation model.

image - encoder (any of timm) - pooled features - dropout - fc K -> logits (N, K)
"""

from __future__ import annotations

import timm
from torch import Tensor, nn

from inference.models.encoders import EncoderRecipe, encoder_options, remember_recipe, resolve_encoder


class TimmClassifier(nn.Module):
    """`(N, C, H, W)` -> logits `(N, K)`; `encoder` is everything before the last layer."""

    def __init__(self, encoder: nn.Module, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        width = getattr(encoder, "head_hidden_size", encoder.num_features)
        self.head = nn.Linear(int(width), n_classes)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.encoder(images)))


def build_timm_classifier(
    encoder: str, in_channels: int, n_classes: int, *, dropout: float = 0.2
) -> nn.Module:
    """Classifier with random weights; `encoder` is any name of timm."""
    resolved = resolve_encoder(encoder if encoder.startswith("tu-") else f"tu-{encoder}")
    options = encoder_options(resolved)
    net = timm.create_model(
        resolved.removeprefix("tu-"), pretrained=False, in_chans=in_channels, num_classes=0, **options
    )
    return TimmClassifier(remember_recipe(net, EncoderRecipe(resolved, options=options)), n_classes, dropout)
