"""The three settings that lie beside every set of weights (`model.json`); inference reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from submissions.host.settings import Settings

SETTINGS_FILE = "model.json"  # lies beside every set of weights


class ModelConfig(Settings):
    """What network: everything `build_model` needs, with nothing to download."""

    architecture: str = Field("unet", description="a name that `python -m inference.models` lists")
    encoder: str = Field("tf_efficientnet_lite0", description="encoder name, as the table of models spells it")
    weights: str = Field("none", description="'imagenet', 'wheel', 'none', or a local .safetensors file")
    in_channels: int = Field(3, ge=1, description="channels after stacking slices [channels]")
    classes: list[str] = Field(default_factory=lambda: ["mask"], min_length=1, description="output channels")
    activation: Literal["sigmoid", "softmax"] = Field("sigmoid", description="softmax: classes exclude each other")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the architecture")

    @property
    def channels(self) -> list[str]:
        """Channels of a prediction: the classes, then `present:<class>` where the model has an image-level head."""
        return [*self.classes, *(level_channels("present", self.classes) if self.options.get("image_head") else [])]


def level_channels(source: str, classes: Sequence[str]) -> list[str]:
    """Names of the channels that say, for an image or tile as a whole, whether it shows each class."""
    return [f"{source}:{name}" for name in classes]


class InputConfig(Settings):
    """What the network is shown: the same in training and in inference."""

    dims: Literal[2, 3] = Field(2, description="3: the network sees boxes of a volume; models of family volumes")
    channels: int = Field(
        3, ge=1, description="channels of one slice; grey is repeated to 3, RGB reduced to 1 [channels]"
    )
    offsets: list[int] = Field(
        default_factory=lambda: [0], min_length=1, description="2.5D: slices z + offset [slices]"
    )
    boundary: Literal["clamp", "reflect", "zero"] = Field("clamp", description="slices beyond the stack's ends")
    normalisation: Literal["fixed", "image", "percentile"] = Field(
        "fixed", description="fixed mean/std; mean/std of the image; percentiles 1 and 99 of the image or volume"
    )
    mean: list[float] = Field(
        default_factory=lambda: [0.485, 0.456, 0.406],
        description="mean of each channel; pixels count from 0 to 1 [share of white]",
    )
    std: list[float] = Field(
        default_factory=lambda: [0.229, 0.224, 0.225],
        description="standard deviation of each channel; pixels count from 0 to 1 [share of white]",
    )
    scale: float = Field(
        1.0, gt=0, description="working size / host's size; used where pixel_size_um is not set [factor]"
    )
    pixel_size_um: float | None = Field(None, gt=0, description="working pixel size; needs the host's own [µm]")
    spacing_mm: tuple[float, float, float] | None = Field(
        None, description="dims 3: working distance of voxels (z, y, x); needs that in the volume's file [mm]"
    )

    @model_validator(mode="after")
    def _mean_and_std_fit(self) -> InputConfig:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(f"{name} has {len(getattr(self, name))} values, expected 1 or {self.channels}")
        return self

    @model_validator(mode="after")
    def _dimensions_fit(self) -> InputConfig:
        if self.dims == 3 and self.offsets != [0]:
            raise ValueError(f"offsets {self.offsets} stack slices for dims 2; with dims 3 the network sees all: [0]")
        if self.spacing_mm is None:
            return self
        if not all(step > 0 for step in self.spacing_mm):
            raise ValueError(f"spacing_mm {list(self.spacing_mm)}: expected three distances above 0 along z, y, x")
        if self.dims == 2 or self.scale != 1 or self.pixel_size_um is not None:
            raise ValueError("spacing_mm is for dims 3, and leaves no room for scale or pixel_size_um")
        return self

    @property
    def in_channels(self) -> int:
        """Channels the network sees: slices times channels of one slice."""
        return self.channels * len(self.offsets)


class PredictConfig(Settings):
    """How an image is turned into probabilities."""

    mode: Literal["tiles", "whole", "both"] = Field("tiles", description="'both': mean of tiles and whole image")
    tile: tuple[int, int] | tuple[int, int, int] = Field(
        (512, 512),
        description="[depth,] height, width of a tile at working size; a classifier sees its whole image so [pixels]",
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="share of a tile shared with its neighbour, at least [share]")
    window: Literal["gaussian", "uniform"] = Field("gaussian", description="weight of a tile's pixels")
    border: int = Field(0, ge=0, description="mirrored pixels around the image at working size [pixels]")
    views: list[str] = Field(default_factory=lambda: ["identity"], min_length=1, description="test-time views")
    merge: Literal["probs", "logits"] = Field("probs", description="what views and models are averaged as")
    axes: list[Literal["z", "y", "x"]] = Field(
        default=["z"], min_length=1, description="axes along which a volume is sliced and averaged"
    )
    batch_size: int = Field(8, ge=1, description="tiles a forward pass [tiles]")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: what the device has")
    runtime: Literal["torch", "compile", "onnx"] = Field("torch", description="what runs the network")
    memory_cap_gb: float = Field(4.0, gt=0, description="host memory for buffers [GB]")
    skip_background: bool = Field(False, description="tiles without tissue are not predicted")

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of a tile."""
        return self.tile[-2], self.tile[-1]

    @property
    def box(self) -> tuple[int, int, int]:
        """Depth, height and width of a tile of a volume; ValueError where the depth is not given."""
        if len(self.tile) != 3:
            raise ValueError(f"predict.tile is {list(self.tile)}, expected [depth, height, width] for input.dims 3")
        return self.tile
