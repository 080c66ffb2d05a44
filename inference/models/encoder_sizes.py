"""Which image sizes an encoder takes, and which families of timm's were built and run at any size.

Networks pad images to a multiple (`Segmenter`). Beside the stride of its deepest map, an encoder may want whole windows
there (MaxViT), a size told anew with every image (CoaT), or nothing but the one size it was trained at: such an encoder
is refused before it is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

FIXED = {
    "hiera_": "sam2_hiera_*",
    "coatnet_": "maxvit_*",
    "coatnext_": "maxvit_*",
    "efficientvit_m": "efficientvit_b*",
}


@dataclass(frozen=True)
class Family:
    """A family of timm's encoders: a small member, and the networks that were built with it and run at odd sizes."""

    member: str
    networks: tuple[str, ...] = ("unet", "fpn", "upernet", "timm_classifier")
    remark: str = ""


FAMILIES: dict[str, Family] = {
    "convnext": Family("convnext_atto"),
    "maxvit": Family(
        "maxvit_rmlp_pico_rw_256", remark="padded to 32 windows: multiples of 256, or 224 with windows of 7"
    ),
    "coat": Family("coat_lite_tiny"),
    "pvt": Family("pvt_v2_b0"),
    "swin": Family("swin_tiny_patch4_window7_224"),
    "hiera": Family("hiera_tiny_224", (), "refused: sees only the size it was trained at; sam2_hiera_* takes any"),
    "sam2": Family("sam2_hiera_tiny"),
    "dinov2": Family("vit_small_patch14_dinov2", ("dpt", "timm_classifier")),
    "dinov3": Family("vit_small_patch16_dinov3", ("dpt", "timm_classifier"), "convnext_*.dinov3_* as convnext"),
    "eva": Family("eva02_tiny_patch14_224", ("dpt", "timm_classifier")),
    "efficientvit": Family("efficientvit_b0", remark="efficientvit_m* are refused"),
    "fastvit": Family("fastvit_t8"),
    "mobilenetv4": Family("mobilenetv4_conv_small"),
}


def refuse_fixed_size(name: str) -> None:
    """Raise ValueError for an encoder of timm's (its bare name) that sees only the size it was trained at."""
    for prefix, instead in FIXED.items():
        if name.startswith(prefix):
            raise ValueError(
                f"encoder {name!r} does not take images of any size: it sees only the size that it was trained "
                f"at, or skips a scale; take {instead}, or another family that `python -m inference.models` lists"
            )


def fit_sizes(encoder: nn.Module) -> int:
    """Make an encoder take every multiple of a number of pixels, and return that number (1: its stride is enough).

    MaxViT's windows must divide its deepest map, at 1/32. CoaT's size is read from the image instead of the settings.
    """
    from timm.layers import PatchEmbed

    found: list[Any] = [part for part in encoder.modules() if hasattr(part, "partition_size")]
    windows = [max(part.partition_size) for part in found]
    grids = [part for part in encoder.modules() if isinstance(part, PatchEmbed)]
    if len(grids) > 1:  # one a stage: CoaT, whose positions are convolutions
        for part in grids:
            part.strict_img_size = False
            part.register_forward_pre_hook(_tell_size)
    return 32 * max(windows, default=1) if windows or len(grids) > 1 else 1


def _tell_size(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """The grid that the stage behind this embedding works on is that of the image at hand."""
    height, width = inputs[0].shape[-2:]
    patch: Any = part.patch_size
    part.grid_size = (height // patch[0], width // patch[1])  # type: ignore[assignment]
