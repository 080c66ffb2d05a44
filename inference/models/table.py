"""The explicit table of models: one row each, nothing found by name magic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from inference.models.efficientnet_unet_aspp_fpn import build_efficientnet_unet_aspp_fpn
from inference.models.smp_models import build_fpn, build_unet


@dataclass(frozen=True)
class ModelRow:
    """One line of `python -m inference.models`."""

    name: str  # what `ModelConfig.architecture` says
    build: Callable[..., nn.Module]  # (encoder, in_channels, n_classes, *, options) -> network
    family: str
    encoders: str  # which encoder names it takes, in words
    encoder: str  # the one that the printed figures are of
    stride: int  # heights and widths are padded to multiples of it
    source: str
    code_licence: str = "this project's"
    weights_licence: str = "the encoder's"
    task: Literal["segment", "classify"] = "segment"


_TIMM = "any of smp or timm with maps at 1/2 to 1/32"
_SMP = "smp, MIT"

MODELS: dict[str, ModelRow] = {
    row.name: row
    for row in (
        ModelRow("unet", build_unet, "smp", _TIMM, "resnet34", 32, "arXiv:1505.04597", _SMP),
        ModelRow("fpn", build_fpn, "smp", _TIMM, "resnet34", 32, "arXiv:1612.03144", _SMP),
        ModelRow(
            "efficientnet_unet_aspp_fpn",
            build_efficientnet_unet_aspp_fpn,
            "composed",
            _TIMM,
            "tf_efficientnet_lite0",
            32,
            "arXiv:1505.04597, 1706.05587, 1901.02446",
        ),
    )
}
