"""The explicit table of models: one row each, nothing found by name magic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from inference.models.alexnet import build_alexnet
from inference.models.bifpn import build_efficientnet_bifpn
from inference.models.deconvnet import build_deconvnet
from inference.models.deeplab_v1 import build_deeplab_v1
from inference.models.deeplab_v2 import build_deeplab_v2
from inference.models.deeplab_v3 import build_deeplab_v3
from inference.models.dilatednet import build_dilatednet
from inference.models.efficientnet_fpn import build_efficientnet_fpn
from inference.models.efficientnet_unet_aspp import build_efficientnet_unet_aspp
from inference.models.efficientnet_unet_aspp_fpn import build_efficientnet_unet_aspp_fpn
from inference.models.encoder_decoder import build_encoder_decoder, build_plain_unet
from inference.models.fc_densenet import build_fc_densenet56, build_fc_densenet67, build_fc_densenet103
from inference.models.fcn import build_fcn8s, build_fcn16s, build_fcn32s
from inference.models.lenet import build_lenet
from inference.models.maskformer import build_maskformer
from inference.models.pspnet import build_pspnet
from inference.models.segformer import build_segformer
from inference.models.segnet import build_segnet
from inference.models.smp_models import (
    build_deeplabv3plus,
    build_dpt,
    build_fpn,
    build_linknet,
    build_manet,
    build_pan,
    build_smp_deeplabv3,
    build_smp_pspnet,
    build_smp_segformer,
    build_unet,
    build_unetplusplus,
    build_upernet,
)
from inference.models.swin_segformer import build_swin_segformer
from inference.models.swin_upernet import build_swin_upernet
from inference.models.timm_classifier import build_timm_classifier
from inference.models.volumes.inflated import build_inflated_unet
from inference.models.volumes.segresnet import build_segresnet
from inference.models.volumes.sliced_encoder import build_sliced_encoder_unet
from inference.models.volumes.unet3d import build_resenc_unet3d, build_unet3d


@dataclass(frozen=True)
class ModelRow:
    """One line of `python -m inference.models`."""

    name: str  # what `ModelConfig.architecture` says
    build: Callable[..., nn.Module]  # ([encoder,] in_channels, n_classes, *, options) -> network
    family: Literal["smp", "composed", "classic", "classify", "volumes"]
    encoders: str  # which encoders it takes, in words; "own" has no choice
    encoder: str  # the one that the printed figures are of; "" for a network without
    source: str
    stride: int = 32  # heights and widths are padded to multiples of it
    minimum: int = 0  # and to at least this
    code_licence: str = "this project's"
    weights_licence: str = "the encoder's"

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
    name: str, build: Callable[..., nn.Module], source: str, encoders: str = ANY, *, encoder: str = "resnet34"
) -> ModelRow:
    return ModelRow(name, build, "smp", encoders, encoder, source, code_licence="MIT (smp)")


def _composed(
    name: str,
    build: Callable[..., nn.Module],
    source: str,
    encoders: str = COARSE,
    *,
    encoder: str = LITE,
    stride: int = 32,
) -> ModelRow:
    return ModelRow(name, build, "composed", encoders, encoder, source, stride)


def _classify(
    name: str, build: Callable[..., nn.Module], source: str, encoders: str = "own", encoder: str = ""
) -> ModelRow:
    licence = "the encoder's" if encoder else "none published here"
    return ModelRow(name, build, "classify", encoders, encoder, source, weights_licence=licence)


def _volumes(
    name: str, build: Callable[..., nn.Module], source: str, encoders: str = "own", encoder: str = ""
) -> ModelRow:
    licence = "the encoder's" if encoder else "none published here"
    return ModelRow(name, build, "volumes", encoders, encoder, source, weights_licence=licence)


def _vgg(name: str, build: Callable[..., nn.Module], source: str, *, stride: int = 32, minimum: int = 0) -> ModelRow:
    norm = "_bn" if name in ("segnet", "deconvnet") else ""
    return ModelRow(name, build, "classic", "own", f"vgg16{norm}", source, stride, minimum, weights_licence=VGG)


def _plain(name: str, build: Callable[..., nn.Module], source: str, *, stride: int = 32) -> ModelRow:
    return ModelRow(name, build, "classic", "own", "", source, stride, weights_licence="none published here")


MODELS: dict[str, ModelRow] = {
    row.name: row
    for row in (
        _smp("unet", build_unet, "arXiv:1505.04597"),
        _smp("unetplusplus", build_unetplusplus, "arXiv:1807.10165", "any with maps at 1/2 to 1/32, not mit_b*"),
        _smp("manet", build_manet, "doi:10.1109/ACCESS.2020.3025372"),
        _smp("linknet", build_linknet, "arXiv:1707.03718", "convolutional, with maps at 1/2 to 1/32"),
        _smp("fpn", build_fpn, "arXiv:1901.02446"),
        _smp("pan", build_pan, "arXiv:1805.10180", DILATED),
        _smp("smp_pspnet", build_smp_pspnet, "arXiv:1612.01105"),
        _smp("smp_deeplabv3", build_smp_deeplabv3, "arXiv:1706.05587", DILATED),
        _smp("deeplabv3plus", build_deeplabv3plus, "arXiv:1802.02611", DILATED),
        _smp("upernet", build_upernet, "arXiv:1807.10221"),
        _smp("smp_segformer", build_smp_segformer, "arXiv:2105.15203"),
        _smp("dpt", build_dpt, "arXiv:2103.13413", "timm's vit_*", encoder="vit_base_patch16_224"),
        _composed(
            "efficientnet_unet_aspp_fpn",
            build_efficientnet_unet_aspp_fpn,
            "arXiv:1505.04597, 1706.05587, 1901.02446",
            ANY,
        ),
        _composed("efficientnet_unet_aspp", build_efficientnet_unet_aspp, "arXiv:1505.04597, 1706.05587", ANY),
        _composed("efficientnet_fpn", build_efficientnet_fpn, "arXiv:1612.03144, 1901.02446"),
        _composed("efficientnet_bifpn", build_efficientnet_bifpn, "arXiv:1911.09070", stride=64),
        _composed("swin_upernet", build_swin_upernet, "arXiv:2103.14030, 1807.10221", encoder=SWIN),
        _composed("swin_segformer", build_swin_segformer, "arXiv:2103.14030, 2105.15203", encoder=SWIN),
        ModelRow(
            "segformer",
            build_segformer,
            "composed",
            "mit_b0 to mit_b5",
            "mit_b0",
            "arXiv:2105.15203",
            weights_licence="NVIDIA, not for commercial use",
        ),
        ModelRow(
            "maskformer",
            build_maskformer,
            "composed",
            "own",
            "",
            "arXiv:2107.06278",
            code_licence="Apache-2.0 (transformers)",
            weights_licence="none published here",
        ),
        _plain("encoder_decoder", build_encoder_decoder, "arXiv:1505.04597 without skips", stride=16),
        _plain("plain_unet", build_plain_unet, "arXiv:1505.04597", stride=16),
        _vgg("fcn32s", build_fcn32s, "arXiv:1411.4038"),
        _vgg("fcn16s", build_fcn16s, "arXiv:1411.4038"),
        _vgg("fcn8s", build_fcn8s, "arXiv:1411.4038"),
        _vgg("deconvnet", build_deconvnet, "arXiv:1505.04366", minimum=224),
        _vgg("segnet", build_segnet, "arXiv:1511.00561"),
        _plain("fc_densenet56", build_fc_densenet56, "arXiv:1611.09326"),
        _plain("fc_densenet67", build_fc_densenet67, "arXiv:1611.09326"),
        _plain("fc_densenet103", build_fc_densenet103, "arXiv:1611.09326"),
        _vgg("dilatednet", build_dilatednet, "arXiv:1511.07122", stride=8),
        _vgg("deeplab_v1", build_deeplab_v1, "arXiv:1412.7062", stride=8),
        _vgg("deeplab_v2", build_deeplab_v2, "arXiv:1606.00915", stride=8),
        ModelRow("deeplab_v3", build_deeplab_v3, "classic", DILATED, "resnet50", "arXiv:1706.05587"),
        ModelRow("pspnet", build_pspnet, "classic", DILATED, "resnet50", "arXiv:1612.01105"),
        _volumes("unet3d", build_unet3d, "arXiv:1809.10486"),
        _volumes("resenc_unet3d", build_resenc_unet3d, "arXiv:2404.09556"),
        _volumes("segresnet", build_segresnet, "arXiv:1810.11654"),
        _volumes("inflated_unet", build_inflated_unet, "arXiv:1705.07750", "resnet*, resnext*, vgg*", "resnet18"),
        _volumes("sliced_encoder_unet", build_sliced_encoder_unet, "2D encoder, 3D decoder", COARSE, LITE),
        _classify("lenet", build_lenet, "LeCun et al. 1998"),
        _classify("alexnet", build_alexnet, "arXiv:1404.5997"),
        _classify("timm_classifier", build_timm_classifier, "timm", "any of timm", LITE),
    )
}
