"""The decoders of segmentation-models-pytorch with encoders of smp or timm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from torch import Tensor, nn

from inference.models.encoders import (
    EncoderRecipe,
    channels_of,
    encoder_options,
    is_vit,
    remember_recipe,
    resolve_encoder,
)
from inference.models.freezing import rest_unused
from inference.models.segmenter import Levels, resize

WIDTHS = (256, 128, 64, 32, 16)  # of a decoder's maps, deepest first
DPT_PATCH = 16  # pixels of a token at whose size DPT's decoder works


class SmpNet(Levels):
    """A model of smp with its encoder, decoder and head in the open.

    `level_names`: sub-modules of the decoder, deepest first, whose outputs deep supervision may use.
    """

    def __init__(self, model: nn.Module, level_names: Sequence[str] = (), level_channels: Sequence[int] = ()) -> None:
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
            self.decoder.get_submodule(name).register_forward_hook(_keep(found, name)) for name in self.level_names
        ]
        try:
            features = self.encoder(images)
            logits = self.head(self.decoder(features))
        finally:
            for handle in handles:
                handle.remove()
        return logits, [found[name] for name in self.level_names], features[-1]


class DptNet(SmpNet):
    """DPT's encoder gives its tokens beside its maps, and its decoder wants both."""

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_levels(images)[0]

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        features, tokens = self.encoder(images)
        logits = self.head(self.decoder(features, tokens))
        return resize(logits, images.shape[-2:]), [], features[-1]


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        found[name] = output

    return hook


def _unet(model_class: Any, encoder: str, in_channels: int, n_classes: int, widths: Sequence[int], level: str,
          **options: Any) -> SmpNet:  # fmt: skip
    """One of smp's Unets: as deep as there are `widths`; `level`: where its decoder's maps come out."""
    model = _build(
        model_class,
        encoder,
        in_channels,
        n_classes,
        encoder_depth=len(widths),
        decoder_channels=tuple(widths),
        **options,
    )
    return SmpNet(model, [level.format(index) for index in range(len(widths) - 1)], widths[:-1])


def build_unet(
    encoder: str, in_channels: int, n_classes: int, *, decoder_channels: Sequence[int] = WIDTHS,
    attention: str | None = None, interpolation: str = "nearest",
) -> nn.Module:  # fmt: skip
    """Unet; `attention` may be 'scse' (arXiv:1808.08127), `interpolation` nearest or bilinear."""
    more = {"decoder_attention_type": attention, "decoder_interpolation": interpolation}
    return _unet(smp.Unet, encoder, in_channels, n_classes, decoder_channels, "blocks.{}", **more)


def build_unetplusplus(
    encoder: str, in_channels: int, n_classes: int, *, decoder_channels: Sequence[int] = WIDTHS,
    attention: str | None = None,
) -> nn.Module:  # fmt: skip
    """Unet++: nested, dense skips. Not for Mix Transformers."""
    more = {"decoder_attention_type": attention}
    net = _unet(smp.UnetPlusPlus, encoder, in_channels, n_classes, decoder_channels, "blocks.x_0_{}", **more)
    net.decoder.center = nn.Identity()  # of VGG encoders; never called
    return net


def build_manet(
    encoder: str, in_channels: int, n_classes: int, *, decoder_channels: Sequence[int] = WIDTHS,
    attention_channels: int = 64,
) -> nn.Module:  # fmt: skip
    """MA-Net: Unet with position attention at the bottom and channel attention on the skips."""
    more = {"decoder_pab_channels": attention_channels}
    return _unet(smp.MAnet, encoder, in_channels, n_classes, decoder_channels, "blocks.{}", **more)


def build_fpn(
    encoder: str, in_channels: int, n_classes: int, *, pyramid_channels: int = 256, segmentation_channels: int = 128,
    merge: str = "add", dropout: float = 0.2,
) -> nn.Module:  # fmt: skip
    """FPN segmentation head; `merge`: add (Kirillov et al. 2019) or cat."""
    model = _build(
        smp.FPN, encoder, in_channels, n_classes, decoder_pyramid_channels=pyramid_channels,
        decoder_segmentation_channels=segmentation_channels, decoder_merge_policy=merge, decoder_dropout=dropout,
    )  # fmt: skip
    return SmpNet(model, ["seg_blocks.0", "seg_blocks.1", "seg_blocks.2"], [segmentation_channels] * 3)


def build_linknet(encoder: str, in_channels: int, n_classes: int) -> nn.Module:
    """LinkNet: skips are added, not concatenated. Not for encoders without a map at 1/2."""
    model = _build(smp.Linknet, encoder, in_channels, n_classes)
    channels = channels_of(model.encoder)[-2:0:-1]  # type: ignore[arg-type]
    return SmpNet(model, [f"blocks.{index}" for index in range(len(channels))], channels)


def build_pan(
    encoder: str, in_channels: int, n_classes: int, *, channels: int = 32, output_stride: int = 16
) -> nn.Module:
    """Pyramid attention network; `output_stride` 16 for encoders that can be dilated, else 32."""
    more = {"decoder_channels": channels, "encoder_output_stride": output_stride}
    net = SmpNet(_build(smp.PAN, encoder, in_channels, n_classes, **more))
    net.stride = output_stride * 8  # its attention halves the deepest map three times
    return net


def build_smp_pspnet(
    encoder: str, in_channels: int, n_classes: int, *, channels: int = 512, dropout: float = 0.2, depth: int = 3
) -> nn.Module:
    """PSPNet on the first `depth` stages of the encoder: 3 means at 1/8."""
    more = {"encoder_depth": depth, "psp_out_channels": channels, "psp_dropout": dropout, "upsampling": 2**depth}
    model = _build(smp.PSPNet, encoder, in_channels, n_classes, **more)
    rest_unused(model.encoder, in_channels)  # type: ignore[arg-type]
    return SmpNet(model)


def build_deeplabv3(
    encoder: str, in_channels: int, n_classes: int, *, plus: bool, channels: int = 256,
    rates: Sequence[int] = (12, 24, 36), output_stride: int | None = None,
) -> nn.Module:  # fmt: skip
    """DeepLab v3 at 1/8, or `plus`: v3+ at 1/16 with a skip at 1/4; other with `output_stride`.

    A batch of one cannot train (batch norm of a pooled pixel).
    """
    model_class, usual = (smp.DeepLabV3Plus, 16) if plus else (smp.DeepLabV3, 8)
    more = {"decoder_channels": channels, "decoder_atrous_rates": tuple(rates)}
    stride = usual if output_stride is None else output_stride
    return SmpNet(_build(model_class, encoder, in_channels, n_classes, encoder_output_stride=stride, **more))


def build_upernet(encoder: str, in_channels: int, n_classes: int, *, channels: int = 256) -> nn.Module:
    """UPerNet; a batch of one cannot train (batch norm of a pooled pixel)."""
    return SmpNet(_build(smp.UPerNet, encoder, in_channels, n_classes, decoder_channels=channels))


def build_smp_segformer(encoder: str, in_channels: int, n_classes: int, *, channels: int = 256) -> nn.Module:
    """SegFormer's all-MLP head on all maps of any encoder."""
    model = _build(smp.Segformer, encoder, in_channels, n_classes, decoder_segmentation_channels=channels)
    return SmpNet(model)


def build_dpt(
    encoder: str,
    in_channels: int,
    n_classes: int,
    *,
    readout: str = "cat",
    channels: int = 256,
    intermediate_channels: Sequence[int] = (256, 512, 1024, 1024),
) -> nn.Module:
    """Dense prediction transformer, for timm's ViTs; `readout`: what is done with the class token."""
    if not is_vit(encoder.removeprefix("tu-")):
        raise ValueError(f"dpt takes a plain vision transformer of timm (vit_*, deit_* ...), not {encoder!r}")
    model = _build(
        smp.DPT, encoder, in_channels, n_classes, encoder_depth=4, decoder_readout=readout,
        decoder_fusion_channels=channels, decoder_intermediate_channels=tuple(intermediate_channels),
    )  # fmt: skip
    made: Any = model.encoder
    if made.output_stride != DPT_PATCH:  # its decoder scales by whole numbers; logits are resized in any case
        model.decoder = DPTDecoder(
            encoder_out_channels=made.out_channels, encoder_output_strides=[DPT_PATCH] * len(made.output_strides),
            encoder_has_prefix_tokens=made.has_prefix_tokens, readout=readout,  # type: ignore[arg-type]
            intermediate_channels=list(intermediate_channels), fusion_channels=channels,
        )  # fmt: skip
        initialize_decoder(model.decoder)
    net = DptNet(model)
    net.stride = 2 * int(net.encoder.output_stride)  # type: ignore[arg-type]  # patches of 14 or 16 pixels
    net.encoder.smallest = 2 * net.stride  # type: ignore[assignment]
    rest_unused(net.encoder, in_channels)
    return net


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
        hint = (
            "; a plain vision transformer has maps of one size, which dpt takes"
            if is_vit(encoder.removeprefix("tu-"))
            else ""
        )
        raise ValueError(f"{model_class.__name__} does not work with encoder {encoder!r}: {error}{hint}") from error
    depth = options.get("encoder_depth", 5)
    remember_recipe(model.encoder, EncoderRecipe(resolved, depth, extra))
    return model
