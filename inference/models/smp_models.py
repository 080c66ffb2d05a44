"""The decoders of segmentation-models-pytorch with encoders of smp or timm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from inference.models.encoders import EncoderRecipe, encoder_options, remember_recipe, resolve_encoder
from inference.models.segmenter import Levels


class SmpNet(Levels):
    """A model of smp with its encoder, decoder and head in the open.

    `level_names`: sub-modules of the decoder, deepest first, whose outputs deep supervision may use.
    """

    def __init__(
        self, model: nn.Module, level_names: Sequence[str] = (), level_channels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.encoder: nn.Module = model.encoder  # type: ignore[assignment]
        self.decoder: nn.Module = model.decoder  # type: ignore[assignment]
        self.head: nn.Module = model.segmentation_head  # type: ignore[assignment]
        self.level_names = tuple(level_names)
        self.level_channels = tuple(level_channels)
        channels = getattr(self.encoder, "out_channels", (0,))
        self.deepest_channels = int(channels[-1])

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder(images)))

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        found: dict[str, Tensor] = {}
        # hooks live for one call only: a copy of the model (EMA) must not write into its original
        handles = [
            self.decoder.get_submodule(name).register_forward_hook(_keep(found, name))
            for name in self.level_names
        ]
        try:
            features = self.encoder(images)
            logits = self.head(self.decoder(features))
        finally:
            for handle in handles:
                handle.remove()
        return logits, [found[name] for name in self.level_names], features[-1]


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        found[name] = output

    return hook


def build_unet(
    encoder: str,
    in_channels: int,
    n_classes: int,
    *,
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    attention: str | None = None,
    interpolation: str = "nearest",
) -> nn.Module:
    """Unet; `attention` may be 'scse' (arXiv:1808.08127), `interpolation` nearest or bilinear."""
    model = _build(
        smp.Unet,
        encoder,
        in_channels,
        n_classes,
        encoder_depth=len(decoder_channels),
        decoder_channels=tuple(decoder_channels),
        decoder_attention_type=attention,
        decoder_interpolation=interpolation,
    )
    levels = [f"blocks.{index}" for index in range(len(decoder_channels) - 1)]
    return SmpNet(model, levels, decoder_channels[:-1])


def build_fpn(
    encoder: str,
    in_channels: int,
    n_classes: int,
    *,
    pyramid_channels: int = 256,
    segmentation_channels: int = 128,
    merge: str = "add",
    dropout: float = 0.2,
) -> nn.Module:
    """FPN segmentation head; `merge`: add (Kirillov et al. 2019) or cat."""
    model = _build(
        smp.FPN,
        encoder,
        in_channels,
        n_classes,
        decoder_pyramid_channels=pyramid_channels,
        decoder_segmentation_channels=segmentation_channels,
        decoder_merge_policy=merge,
        decoder_dropout=dropout,
    )
    return SmpNet(model, ["seg_blocks.0", "seg_blocks.1", "seg_blocks.2"], [segmentation_channels] * 3)


def _build(model_class: Any, encoder: str, in_channels: int, n_classes: int, **options: Any) -> nn.Module:
    """An smp model with a random encoder; its refusals become one sentence that names the pair."""
    resolved = resolve_encoder(encoder)
    extra = encoder_options(resolved)
    try:
        model = model_class(
            encoder_name=resolved,
            encoder_weights=None,
            in_channels=in_channels,
            classes=n_classes,
            **options,
            **extra,
        )
    except (RuntimeError, ValueError, KeyError, NotImplementedError, TypeError, AttributeError) as error:
        raise ValueError(f"{model_class.__name__} does not work with encoder {encoder!r}: {error}") from error
    depth = options.get("encoder_depth", 5)
    remember_recipe(model.encoder, EncoderRecipe(resolved, depth, extra))
    return model
