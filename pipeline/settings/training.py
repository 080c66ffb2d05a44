"""The sections `loss`, `augment` and `train` of an experiment: how a network learns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.settings import Settings


class LossSettings(Settings):
    """The loss, by name, with its parameters."""

    name: str = Field(
        "bce_dice", description="a name in LOSSES of `pipeline/training/losses.py`; task classify uses 'classify'"
    )
    params: dict[str, Any] = Field(default_factory=dict, description="parameters of the loss, e.g. {alpha: 0.3}")
    aux_weight: float = Field(
        0.4,
        ge=0,
        description="weight of the loss at the decoder's coarser levels (deep supervision) [factor of a loss term]",
    )
    image_weight: float = Field(
        0.2,
        ge=0,
        description="weight of the loss of the image-level head, where the model has one [factor of a loss term]",
    )


class AugmentSettings(Settings):
    """The augmentation of training samples."""

    recipe: str = Field("light", description="a name in RECIPES of `pipeline/augmentation/recipes.py`")
    references: list[str] = Field(
        default_factory=list,
        description="ids of training images whose colours other images are given; images "
        "of the held-out fold are never used",
    )
    cutmix: float = Field(0.0, ge=0, le=1, description="share of batches mixed by CutMix [share]")
    copy_paste: float = Field(
        0.0, ge=0, le=1, description="share of batches in which objects of one sample are pasted into another [share]"
    )


class SamplingSettings(Settings):
    """Where training patches come from."""

    foreground: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of training patches drawn where a class shows, then moved by up to half their side (a "
        "small object may be lost); default: 0.5, or 0 where a patch is a whole image [share]",
    )
    classes: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="class -> its share among patches with foreground; classes not named get none; default: all "
        "alike [shares]",
    )
    empty: float = Field(
        1.0,
        ge=0,
        description="how often an image without foreground is drawn, relative to others, for the patches that are not "
        "drawn where a class shows; 1: as often [factor]",
    )
    background: float = Field(
        1.0, ge=0, le=1, description="slides: share of the windows without tissue that are kept for training [share]"
    )
    balance: str | None = Field(None, description="column whose values are drawn equally often, e.g. source")

    @field_validator("classes")
    @classmethod
    def _some_class_is_drawn(cls, classes: dict[str, float]) -> dict[str, float]:
        if classes and not any(classes.values()):
            raise ValueError("expected a share above 0 for at least one class; leave it out to draw all alike")
        return classes


class TrainSettings(Settings):
    """The training loop. An epoch is a fixed number of steps."""

    epochs: int = Field(10, ge=1, description="number of epochs [epochs]")
    steps_per_epoch: int = Field(100, ge=1, description="optimizer steps per epoch [steps]")
    batch_size: int = Field(
        8, ge=1, description="samples per batch, in each process; with input.dims 3 default 2 [samples]"
    )
    accumulate: int = Field(
        1, ge=1, description="batches whose gradients are summed before an optimizer step [batches]"
    )
    patch: tuple[int, int] | tuple[int, int, int] = Field(
        (256, 256),
        description="[depth,] height and width of a training patch, at the working size; with input.dims 3 default "
        "64, 128, 128 [pixels]",
    )
    axes: list[Literal["z", "y", "x"]] = Field(
        default=["z"],
        min_length=1,
        description="axes along which volumes are cut into slices for training, each equally often",
    )
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)
    optimizer: str = Field("adamw", description="name of an optimizer that timm can build")
    optimizer_options: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the optimizer, e.g. {betas: [0.9, 0.95]}"
    )
    lr: float = Field(1e-3, gt=0, description="peak learning rate; the encoder's is this times encoder_lr [no unit]")
    encoder_lr: float = Field(1.0, gt=0, description="learning rate of the encoder, as a multiple of lr [factor]")
    layer_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="factor by which the learning rate falls from one encoder layer to the one below [factor]",
    )
    weight_decay: float = Field(
        1e-2, ge=0, description="weight decay of kernels; biases and norm layers have none [no unit]"
    )
    schedule: Literal["cosine", "one_cycle", "poly", "constant"] = Field(
        "cosine", description="shape of the learning rate after the warm-up"
    )
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of all steps in which the learning rate rises to its peak [share of steps]"
    )
    clip_norm: float | None = Field(
        1.0, gt=0, description="gradients are clipped to this norm; none: not clipped [2-norm]"
    )
    ema: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="decay per step of the exponential moving average of the weights; 0: no average [factor a step]",
    )
    freeze: str | int | None = Field(
        None,
        description="what is not trained: 'encoder', 'encoder_except_norm', or the first so many stages of the "
        "encoder [stages, where a number]",
    )
    freeze_epochs: int = Field(
        0, ge=0, description="number of epochs until frozen layers are trained too; 0: never [epochs]"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="number format of training; auto: bf16 or fp16 where the device supports it, else fp32"
    )
    channels_last: bool = Field(True, description="store tensors as channels-last, which makes convolutions faster")
    compile: bool = Field(False, description="use torch.compile: takes minutes to start, then steps are faster")
    workers: int | None = Field(
        None,
        ge=0,
        description="processes that load samples; 0: none, samples are loaded between steps; default: 8 with a "
        "GPU, else 0 [processes]",
    )
    validate_every: int = Field(
        0, ge=0, description="validate on whole images every so many epochs; 0: only after the last [epochs]"
    )
    validate_images: int = Field(
        32, ge=1, description="images of the held-out fold that a validation predicts [images]"
    )
    keep: Literal["last", "best", "mean_last", "mean_best"] = Field(
        "last",
        description="which weights are kept: of the last epoch, of the best, or a mean of several; "
        "'best' and 'mean_best' choose on the held-out fold, and reports say so",
    )
    keep_epochs: int = Field(3, ge=1, description="number of epochs averaged by mean_last and mean_best [epochs]")
    patience: int | None = Field(
        None, ge=1, description="stop after so many validations without a better score; none: never [validations]"
    )
    skip_bad_losses: int = Field(
        0, ge=0, description="NaN or infinite losses that are skipped before training stops [steps]"
    )
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(
        default=["tensorboard"],
        description="what shows the training beside log.jsonl; wandb and mlflow are extras and write files in the "
        "fold's folder, unless WANDB_MODE or MLFLOW_TRACKING_URI say otherwise",
    )
    sync_batch_norm: bool = Field(False, description="compute batch norm statistics over all GPUs together")
    pseudo_labels: str | None = Field(
        None, description="experiment whose test predictions, made fold by fold, are used as pseudo-labels"
    )
    pseudo_confidence: float = Field(
        0.9,
        ge=0.5,
        le=1,
        description="ignore pseudo-labelled pixels whose probability is between 1 minus this and this [probability]",
    )
    pseudo_soft: bool = Field(False, description="pseudo-labels are probabilities, not masks")
    pseudo_share: float = Field(
        0.25, ge=0, lt=1, description="share of training samples that are pseudo-labelled [share]"
    )

    @field_validator("axes")
    @classmethod
    def _axes_in_order(cls, axes: list[str]) -> list[str]:
        return [axis for axis in ("z", "y", "x") if axis in axes]

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of a patch."""
        return self.patch[-2], self.patch[-1]

    @property
    def box(self) -> tuple[int, int, int]:
        """Depth, height and width of a patch of a volume; ValueError where the depth is not given."""
        if len(self.patch) != 3:
            raise ValueError(f"train.patch is {list(self.patch)}, expected [depth, height, width] for input.dims 3")
        return self.patch

    @property
    def selects(self) -> bool:
        """Whether the held-out fold decides which weights are kept; reports must say so."""
        return self.keep in ("best", "mean_best") or self.patience is not None

    @model_validator(mode="after")
    def _frozen_parts_are_named(self) -> TrainSettings:
        if self.freeze_epochs and self.freeze is None:
            raise ValueError(
                f"train.freeze_epochs is {self.freeze_epochs}, but train.freeze does not say what is frozen; set it to "
                "'encoder', or train.freeze_epochs to 0"
            )
        return self

    @model_validator(mode="after")
    def _selects_among_validations(self) -> TrainSettings:
        if self.selects and not self.validate_every:
            raise ValueError(
                f"train.keep is {self.keep!r}, train.patience is {self.patience}: both choose among validations, "
                "but only the last epoch is validated; set train.validate_every to 1 or more"
            )
        return self
