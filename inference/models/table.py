"""The explicit table of models: one row each, nothing found by name magic."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from inference.config import ModelConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelRow:
    """One line of `python -m inference.models`."""

    name: str  # what `ModelConfig.architecture` says
    builder: str  # "module:class" (or function) of this package, ([encoder,] in_channels, n_classes, *, options)
    family: Literal["smp", "composed", "classic", "classify", "volumes"]
    encoders: str  # which encoders it takes, in words; "own" has no choice
    encoder: str  # the one that the printed figures are of; "" for a network without
    source: str
    stride: int = 32  # heights and widths are padded to multiples of it
    minimum: int = 0  # and to at least this
    code_licence: str = "this project's"
    weights_licence: str = "the encoder's"
    fixed: dict[str, Any] = field(default_factory=dict)  # options that this row gives the class, and no user

    @property
    def build(self) -> Callable[..., nn.Module]:
        """What builds the network; its module, and torch with it, is imported when it is asked for."""
        module, _, name = self.builder.partition(":")
        return partial(getattr(import_module(f"inference.models.{module}"), name), **self.fixed)

    @property
    def task(self) -> Literal["segment", "classify"]:
        """What its logits answer for: every pixel, or the image."""
        return "classify" if self.family == "classify" else "segment"

    @property
    def dims(self) -> Literal[2, 3]:
        """Whether the network sees an image (or stacked slices), or a volume."""
        return 3 if self.family == "volumes" else 2

    @property
    def takes_encoder(self) -> bool:
        """Whether `ModelConfig.encoder` is looked at."""
        return self.encoders != "own"


ANY = "any with maps at 1/2 to 1/32"
COARSE = "any with maps at 1/4 to 1/32"
DILATED = "any that can be dilated"
VGG = "BSD-3-Clause (VGG16, torchvision)"
LITE = "tf_efficientnet_lite0"
SWIN = "swin_tiny_patch4_window7_224"


def _smp(
    name: str, builder: str, source: str, encoders: str = ANY, *, encoder: str = "resnet34", **fixed: Any
) -> ModelRow:
    return ModelRow(name, builder, "smp", encoders, encoder, source, code_licence="MIT (smp)", fixed=fixed)


def _composed(
    name: str,
    builder: str,
    source: str,
    encoders: str = COARSE,
    *,
    encoder: str = LITE,
    stride: int = 32,
    **fixed: Any,
) -> ModelRow:
    return ModelRow(name, builder, "composed", encoders, encoder, source, stride, fixed=fixed)


def _classify(name: str, builder: str, source: str, encoders: str = "own", encoder: str = "") -> ModelRow:
    licence = "the encoder's" if encoder else "none published here"
    return ModelRow(name, builder, "classify", encoders, encoder, source, weights_licence=licence)


def _volumes(name: str, builder: str, source: str, encoders: str = "own", encoder: str = "", **fixed: Any) -> ModelRow:
    licence = "the encoder's" if encoder else "none published here"
    return ModelRow(name, builder, "volumes", encoders, encoder, source, weights_licence=licence, fixed=fixed)


def _vgg(name: str, builder: str, source: str, *, stride: int = 32, minimum: int = 0, **fixed: Any) -> ModelRow:
    encoder = "vgg16_bn" if name in ("segnet", "deconvnet") else "vgg16"
    row = ModelRow(name, builder, "classic", "own", encoder, source, stride, minimum, weights_licence=VGG, fixed=fixed)
    return row


def _plain(name: str, builder: str, source: str, *, stride: int = 32, **fixed: Any) -> ModelRow:
    licence = "none published here"
    return ModelRow(name, builder, "classic", "own", "", source, stride, weights_licence=licence, fixed=fixed)


MODELS: dict[str, ModelRow] = {
    row.name: row
    for row in (
        _smp("unet", "smp_models:build_unet", "arXiv:1505.04597"),
        _smp(
            "unetplusplus",
            "smp_models:build_unetplusplus",
            "arXiv:1807.10165",
            "any with maps at 1/2 to 1/32, not mit_b*",
        ),
        _smp("manet", "smp_models:build_manet", "doi:10.1109/ACCESS.2020.3025372"),
        _smp("linknet", "smp_models:build_linknet", "arXiv:1707.03718", "convolutional, with maps at 1/2 to 1/32"),
        _smp("fpn", "smp_models:build_fpn", "arXiv:1901.02446"),
        _smp("pan", "smp_models:build_pan", "arXiv:1805.10180", DILATED),
        _smp("smp_pspnet", "smp_models:build_smp_pspnet", "arXiv:1612.01105"),
        _smp("smp_deeplabv3", "smp_models:build_deeplabv3", "arXiv:1706.05587", DILATED, plus=False),
        _smp("deeplabv3plus", "smp_models:build_deeplabv3", "arXiv:1802.02611", DILATED, plus=True),
        _smp("upernet", "smp_models:build_upernet", "arXiv:1807.10221"),
        _smp("smp_segformer", "smp_models:build_smp_segformer", "arXiv:2105.15203"),
        _smp("dpt", "smp_models:build_dpt", "arXiv:2103.13413", "timm's vit_*", encoder="vit_base_patch16_224"),
        _composed(
            "efficientnet_unet_aspp_fpn",
            "efficientnet_unet_aspp_fpn:UnetAsppFpn",
            "arXiv:1505.04597, 1706.05587, 1901.02446",
            ANY,
        ),
        _composed(
            "efficientnet_unet_aspp",
            "efficientnet_unet_aspp_fpn:UnetAsppFpn",
            "arXiv:1505.04597, 1706.05587",
            ANY,
            pyramid_channels=0,
        ),
        _composed("efficientnet_fpn", "efficientnet_fpn:EncoderFpn", "arXiv:1612.03144, 1901.02446"),
        _composed("efficientnet_bifpn", "bifpn:EncoderBiFpn", "arXiv:1911.09070", stride=64),
        _composed("swin_upernet", "swin_upernet:UperNet", "arXiv:2103.14030, 1807.10221", encoder=SWIN),
        _composed("swin_segformer", "segformer:AllMlp", "arXiv:2103.14030, 2105.15203", encoder=SWIN),
        ModelRow(
            "segformer",
            "segformer:build_segformer",
            "composed",
            "mit_b0 to mit_b5",
            "mit_b0",
            "arXiv:2105.15203",
            weights_licence="NVIDIA, not for commercial use",
        ),
        ModelRow(
            "maskformer",
            "maskformer:build_maskformer",
            "composed",
            "own",
            "",
            "arXiv:2107.06278",
            code_licence="Apache-2.0 (transformers)",
            weights_licence="none published here",
        ),
        _plain(
            "encoder_decoder",
            "encoder_decoder:EncoderDecoder",
            "arXiv:1505.04597 without skips",
            stride=16,
            skips=False,
        ),
        _plain("plain_unet", "encoder_decoder:EncoderDecoder", "arXiv:1505.04597", stride=16, skips=True),
        _vgg("fcn32s", "fcn:Fcn", "arXiv:1411.4038", finest=32),
        _vgg("fcn16s", "fcn:Fcn", "arXiv:1411.4038", finest=16),
        _vgg("fcn8s", "fcn:Fcn", "arXiv:1411.4038", finest=8),
        _vgg("deconvnet", "deconvnet:DeconvNet", "arXiv:1505.04366", minimum=224),
        _vgg("segnet", "segnet:SegNet", "arXiv:1511.00561"),
        _plain("fc_densenet56", "fc_densenet:FcDenseNet", "arXiv:1611.09326", down=(4,) * 5, bottom=4, growth=12),
        _plain("fc_densenet67", "fc_densenet:FcDenseNet", "arXiv:1611.09326", down=(5,) * 5, bottom=5, growth=16),
        _plain(
            "fc_densenet103",
            "fc_densenet:FcDenseNet",
            "arXiv:1611.09326",
            down=(4, 5, 7, 10, 12),
            bottom=15,
            growth=16,
        ),
        _vgg("dilatednet", "dilatednet:DilatedNet", "arXiv:1511.07122", stride=8),
        _vgg("deeplab_v1", "deeplab_v1:DeepLabV1", "arXiv:1412.7062", stride=8),
        _vgg("deeplab_v2", "deeplab_v2:DeepLabV2", "arXiv:1606.00915", stride=8),
        ModelRow("deeplab_v3", "deeplab_v3:DeepLabV3", "classic", DILATED, "resnet50", "arXiv:1706.05587"),
        ModelRow("pspnet", "pspnet:PspNet", "classic", DILATED, "resnet50", "arXiv:1612.01105"),
        _volumes("unet3d", "volumes.unet3d:UNet3d", "arXiv:1809.10486", residual=False),
        _volumes("resenc_unet3d", "volumes.unet3d:UNet3d", "arXiv:2404.09556", residual=True),
        _volumes("segresnet", "volumes.segresnet:SegResNet", "arXiv:1810.11654"),
        _volumes(
            "inflated_unet",
            "volumes.inflated:build_inflated_unet",
            "arXiv:1705.07750",
            "resnet*, resnext*, vgg*",
            "resnet18",
        ),
        _volumes(
            "sliced_encoder_unet",
            "volumes.sliced_encoder:build_sliced_encoder_unet",
            "2D encoder, 3D decoder",
            COARSE,
            LITE,
        ),
        _classify("lenet", "lenet:LeNet", "LeCun et al. 1998"),
        _classify("alexnet", "alexnet:AlexNet", "arXiv:1404.5997"),
        _classify("timm_classifier", "timm_classifier:build_timm_classifier", "timm", "any of timm", LITE),
    )
}


def model_row(name: str) -> ModelRow:
    """Row of the table of models; ValueError with the nearest names for an unknown one."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(MODELS)}"
        raise ValueError(f"architecture {name!r} is not in the table of models; {hint}")
    return MODELS[name]


def is_classifier(config: ModelConfig) -> bool:
    """Whether a model answers for the image and not for its pixels."""
    return model_row(config.architecture).task == "classify"
