"""Encoders by name: one spelling for timm's and segmentation-models-pytorch's, built without any download."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import segmentation_models_pytorch as smp
import timm
from torch import nn

from inference.models.encoder_sizes import fit_sizes, refuse_fixed_size


@dataclass(frozen=True)
class EncoderRecipe:
    """How an encoder was built, so that a pretrained twin with the same tensors can be built beside it."""

    name: str  # as smp spells it: "resnet34", "tu-tf_efficientnet_lite0"
    depth: int = 5
    options: dict[str, Any] = field(default_factory=dict)
    by_order: bool = False  # its tensors are the first ones of timm's network, under other names

    @property
    def timm_name(self) -> str | None:
        """timm's own name, None for an encoder that only smp has."""
        return self.name.removeprefix("tu-") if self.name.startswith("tu-") else None


def resolve_encoder(name: str) -> str:
    """Name of an encoder as `segmentation_models_pytorch.encoders.get_encoder` takes it.

    `resnet34` (smp's own) stays, `tf_efficientnet_lite0` (timm's) becomes `tu-tf_efficientnet_lite0`, and
    `tu-resnet34` asks for timm's ResNet where both have one. Raises ValueError for an unknown name.
    """
    if name.startswith("timm-"):
        raise ValueError(f"encoder {name!r}: the 'timm-' spelling is gone, write timm's name without it")
    if name.startswith("tu-"):
        if timm.is_model(name.removeprefix("tu-")):
            return name
    elif name in smp.encoders.encoders:
        return name
    elif timm.is_model(name):
        return f"tu-{name}"
    known = [*smp.encoders.encoders, *timm.list_models()]
    near = difflib.get_close_matches(name.removeprefix("tu-"), known, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise ValueError(f"encoder {name!r} is not known to timm {timm.__version__} or smp{hint}")


def channels_of(encoder: nn.Module) -> list[int]:
    """Channels of an encoder's maps, finest first, the input before them."""
    return [int(channels) for channels in cast(Sequence[int], encoder.out_channels)]


def encoder_options(name: str) -> dict[str, Any]:
    """Options without which an encoder accepts only the image size it was trained at.

    Raises ValueError for one that nothing makes accept others.
    """
    bare = name.removeprefix("tu-")
    refuse_fixed_size(bare)
    if bare.startswith("swin"):
        return {"strict_img_size": False}
    if is_vit(bare):
        return {"dynamic_img_size": True}
    return {}


def is_vit(name: str) -> bool:
    """Whether a timm name is a plain vision transformer, whose maps all have one size (DPT's kind)."""
    return name.startswith(("vit_", "deit_", "deit3_", "eva02_"))


def build_encoder(name: str, in_channels: int, *, depth: int = 5, output_stride: int = 32) -> nn.Module:
    """Encoder with random weights.

    `encoder(x (N, C, H, W))` gives `depth + 1` maps, finest first: the input itself, then 1/2, 1/4, ... 1/32;
    `encoder.out_channels` has their channels (0 where a transformer has no map at 1/2).
    """
    resolved = resolve_encoder(name)
    options = encoder_options(resolved)
    try:
        encoder = smp.encoders.get_encoder(
            resolved,
            in_channels=in_channels,
            depth=depth,
            weights=None,
            output_stride=output_stride,
            **options,
        )
    except (RuntimeError, ValueError, AttributeError, TypeError, AssertionError) as error:
        raise ValueError(
            f"encoder {name!r} cannot be built with depth {depth} and output stride {output_stride}: {error}"
        ) from error
    return remember_recipe(encoder, EncoderRecipe(resolved, depth, options))


def remember_recipe(encoder: nn.Module, recipe: EncoderRecipe) -> nn.Module:
    """Note on an encoder how it was built, which `inference.weights` reads, and what sizes it takes."""
    encoder.recipe = recipe  # type: ignore[assignment]
    encoder.multiple = fit_sizes(encoder)  # type: ignore[assignment]
    return encoder
