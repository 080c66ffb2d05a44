"""One experiment: which competition, which folds, how prepared, trained, predicted and decided."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from inference.config import InputConfig, ModelConfig, PredictConfig
from pipeline.tuning_settings import TuneSettings
from submissions.host.competition import Competition
from submissions.host.settings import Settings, beside, override, read_yaml, validate, value_problem

EXPERIMENTS = Path(__file__).parent / "experiments"
RESERVED = ("inventory", "folds", "store", "data", ".", "..")  # folders of a competition beside its experiments
Target = Literal["border", "centre"]  # planes that can be learned beside the classes
BOX = (64, 128, 128)  # patch of volumes, where none is written [voxels]
YAML = (".yaml", ".yml")
WEIGHTS = (".safetensors", ".pth", ".pt")


class SourcesSettings(Settings):
    """Which images come from the same source (scanner, laboratory), where a column says it."""

    column: str = Field(description="column that names the source of an image, such as a scanner or a laboratory")


class FoldsSettings(Settings):
    """How training images are divided."""

    method: str | None = Field(
        None,
        description="how images are split: kfold, stratified, group, stratified_group, "
        "multilabel_stratified_group, leave_one_group_out, predefined, slab "
        "or blocks; default: group where there is one, slices of a stack together or in slabs, else kfold",
    )
    n: int = Field(5, ge=2, description="number of folds [folds]")
    use: list[int] | None = Field(
        None, description="folds to train and predict; default: all [numbers of folds, from 0]"
    )
    group: str | None = Field(
        None, description="images with the same value in this column stay in one fold; default: the contract's group"
    )
    strata: list[str] | None = Field(
        None, description="columns to balance over the folds; default: the contract's strata"
    )
    sources: SourcesSettings | None = Field(
        None, description="where the column `source` comes from; default: stage 01 finds it from the images"
    )
    buffer: int = Field(
        0, ge=0, description="gap between training and validation images [slices, or pixels for method blocks]"
    )
    repeats: int = Field(
        1, ge=1, description="how many different splits are trained; all their models form one ensemble [splits]"
    )
    split: int = Field(
        0, ge=0, description="which of the different splits this is; `repeats` sets it [number of a split, from 0]"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="further options of the method, such as fold_column, bins, slabs or grid"
    )


class PrepareSettings(Settings):
    """How stage 03 stores images for training."""

    store: Literal["memmap", "hdf5", "raw"] = Field(
        "memmap",
        description="memmap: decoded arrays, the fastest; hdf5: compressed chunks; raw: the host's own files, "
        "decoded at every read",
    )
    targets: list[Target] = Field(
        default_factory=list,
        description="extra planes to learn from instance masks: the border between objects, their centres",
    )

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: list[Target]) -> list[Target]:
        return list(dict.fromkeys(targets))


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


class ExternalSettings(Settings):
    """Another competition's training data, used for training only."""

    experiment: str = Field(
        description="the other competition's experiment; stages 01 to 03 of it must be done in the same runs folder"
    )
    data: str | None = Field(None, description="folder of its files; only needed for prepare.store raw")
    share: float = Field(0.25, gt=0, lt=1, description="share of all training samples that come from it [share]")
    weight: float = Field(1.0, gt=0, description="weight of its samples in the loss [factor]")


class Range(Settings):
    """A range of numbers to search, evenly or (log) by equal factors; whole numbers where both ends are whole."""

    low: float | int = Field(description="smallest value tried [as the setting]")
    high: float | int = Field(description="largest value tried [as the setting]")
    log: bool = Field(False, description="spread values by equal factors instead of equal steps")

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low is {self.low}, high is {self.high}: expected low below high, and both above 0 with log"
            )
        return self


class SearchSettings(Settings):
    """What `segpipe tune` tries, and how it compares trials."""

    ranges: dict[str, Range | list[Any]] = Field(
        default_factory=dict, description="setting (spelled as in --set) -> list of values, or {low, high, log}"
    )
    folds: list[int] | None = Field(
        None,
        description="folds that trials are scored on; the best trial is then checked on the others; default: the "
        "first half [folds]",
    )
    objective: Literal["nested", "worst_source"] = Field(
        "nested", description="score to maximise: the nested score, or the nested score of the source with the lowest"
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median", description="Optuna's rule that stops trials whose validations lag behind"
    )
    seed: int = Field(0, description="seed of the search [whole number]")

    @field_validator("ranges")
    @classmethod
    def _can_differ(cls, value: dict[str, Range | list[Any]]) -> dict[str, Range | list[Any]]:
        fixed = ("name", "competition", "folds", "search", "seed", "limit")
        for key, values in value.items():
            if key.split(".")[0] in fixed:
                raise ValueError(f"{key} cannot be searched: all trials must use the same images and folds")
            if isinstance(values, list) and len(values) < 2:
                raise ValueError(f"{key} is {values}; expected two values or more")
        return value


class Experiment(Settings):
    """Everything that one experiment needs beside the host's files."""

    name: str = Field(description="name of the folder under runs/<competition>/; default: the name of the file")
    competition: str = Field(description="the contract: a name under submissions/competitions/, or a .yaml file")
    task: Literal["segment", "classify"] = Field(
        "segment",
        description="segment: masks; classify: which classes an image shows, or which class it is "
        "where there are no masks",
    )
    seed: int = Field(0, description="seed of the splits, sampling, augmentation and initial weights [whole number]")
    limit: int | None = Field(
        None,
        ge=4,
        description="use at most so many training images, spread over all of them; of stacks neighbouring slices "
        "[images]",
    )
    members: list[str] = Field(
        default_factory=list, description="names of experiments; this one is their ensemble and trains nothing"
    )
    folds: FoldsSettings = Field(default_factory=FoldsSettings)
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    input: InputConfig = Field(default_factory=InputConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossSettings = Field(default_factory=LossSettings)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    external: list[ExternalSettings] = Field(default_factory=list, description="training data of other competitions")
    train: TrainSettings = Field(default_factory=TrainSettings)
    predict: PredictConfig = Field(default_factory=PredictConfig)
    tune: TuneSettings = Field(default_factory=TuneSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or name in RESERVED:
            raise ValueError("expected letters, digits, '-', '_' and '.', and not inventory, folds, store or data")
        return name

    @model_validator(mode="after")
    def _used_folds_exist(self) -> Experiment:
        used = self.folds.use
        if used is not None and (not used or len(set(used)) < len(used)):
            raise ValueError(f"folds.use is {used}; expected at least one fold, each once, or leave it out for all")
        wrong = [fold for fold in used or [] if not 0 <= fold < self.folds.n]
        if wrong:
            raise ValueError(
                f"folds.use names {wrong}, but with folds.n {self.folds.n} folds are numbered from 0 "
                f"to {self.folds.n - 1}"
            )
        if self.task == "classify" and self.predict.normalise != "none":
            raise ValueError("predict.normalise works on masks, but task is classify; leave it out")
        asked = {"members": self.members, "folds.split": self.folds.split}
        other = [name for name, value in asked.items() if value]
        if self.folds.repeats > 1 and other:
            raise ValueError(
                f"folds.repeats makes an ensemble of several splits and does not go with {other[0]}; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _searched_settings_exist(self) -> Experiment:
        for key, values in self.search.ranges.items():
            for value in [values.low, values.high] if isinstance(values, Range) else values:
                problem = value_problem(Experiment, key, value)
                if problem:
                    raise ValueError(f"search.ranges: {problem}")
        return self

    @model_validator(mode="after")
    def _own_images_are_left(self) -> Experiment:
        taken = sum(one.share for one in self.external) + (self.train.pseudo_share if self.train.pseudo_labels else 0)
        if taken >= 1:
            raise ValueError(
                f"external[].share and train.pseudo_share sum to {taken:g}, which leaves nothing for the experiment's "
                "own images; lower them to less than 1 in all"
            )
        return self

    @property
    def used_folds(self) -> list[int]:
        """Folds that are trained and predicted."""
        return sorted(self.folds.use) if self.folds.use is not None else list(range(self.folds.n))

    @property
    def repeated(self) -> list[Experiment]:
        """An experiment a split, `<name>-split0` and on, where splits are repeated; else none."""
        if self.folds.repeats == 1:
            return []
        splits = [self.folds.model_copy(update={"repeats": 1, "split": k}) for k in range(self.folds.repeats)]
        return [
            self.model_copy(update={"name": f"{self.name}-split{k}", "folds": folds, "members": []})
            for k, folds in enumerate(splits)
        ]


def resolve(experiment: Experiment, competition: Competition) -> Experiment:
    """The experiment with what follows from the contract and the task filled in: the model's channels, classes and
    activation.

    Where splits are repeated it becomes the ensemble of them. Raises ValueError where the experiment contradicts the
    contract.
    """
    labels, classify = competition.masks.kind == "none", experiment.task == "classify"
    if labels and not classify:
        raise ValueError(
            f"{experiment.name}: {competition.name} has no masks, only one class per image; set task: classify"
        )
    if experiment.loss.name == "classify" and not classify:
        raise ValueError(
            f"{experiment.name}: loss.name 'classify' is for whole images; set task: classify, or choose another loss"
        )
    exclusive = competition.exclusive and (labels or not classify)
    model = _following(
        experiment, "model", in_channels=experiment.input.in_channels,
        classes=[*competition.classes, *experiment.prepare.targets], activation="softmax" if exclusive else "sigmoid",
    )  # fmt: skip
    if classify:
        experiment = _as_classifier(experiment, competition, "softmax" if exclusive else "sigmoid")
    experiment = _with_boxes(experiment) if experiment.input.dims == 3 else experiment
    check_dimensions(experiment, competition)
    _check_contract_says(experiment, competition, exclusive=exclusive)
    if experiment.prepare.targets and (competition.exclusive or not competition.one_kind_of_object):
        raise ValueError(
            f"{experiment.name}: prepare.targets needs a contract with masks.instances: true and one class"
        )
    if experiment.train.pseudo_soft and exclusive:
        raise ValueError(f"{experiment.name}: train.pseudo_soft cannot be used with exclusive classes; leave it out")
    members = [split.name for split in experiment.repeated] or experiment.members
    return experiment.model_copy(update={"model": model, "members": members})


def _check_contract_says(experiment: Experiment, competition: Competition, *, exclusive: bool) -> None:
    """Raise ValueError where a setting needs what the contract does not say of images and classes."""
    name, shown = experiment.name, experiment.prepare.targets
    if experiment.input.pixel_size_um is not None and competition.images.pixel_size_um is None:
        raise ValueError(
            f"{name}: input.pixel_size_um is {experiment.input.pixel_size_um:g}, but {competition.name} does not say "
            "how large its pixels are; set images.pixel_size_um in the contract, or use input.scale"
        )
    if experiment.predict.skip_background and exclusive:
        raise ValueError(
            f"{name}: predict.skip_background cannot be used with exclusive classes, because none of them is known to "
            "be glass; leave it out"
        )
    both = [target for target in shown if target in competition.classes]
    if both:
        raise ValueError(
            f"{name}: prepare.targets names {both[0]!r}, which is a class of {competition.name}; rename it"
        )


def _with_boxes(experiment: Experiment) -> Experiment:
    """Patch, tile and batch of volumes where they are not written, so that `plan` has something to start from."""
    train, predict = experiment.train, experiment.predict
    patch = train.patch if "patch" in train.model_fields_set else BOX
    batch = train.batch_size if "batch_size" in train.model_fields_set else 2
    tile = predict.tile if "tile" in predict.model_fields_set else patch
    train = train.model_copy(update={"patch": patch, "batch_size": batch})
    return experiment.model_copy(update={"train": train, "predict": predict.model_copy(update={"tile": tile})})


def check_dimensions(experiment: Experiment, competition: Competition) -> None:
    """Raise ValueError where settings for images meet volumes, or the other way round."""
    name, sizes = experiment.name, (experiment.train.patch, experiment.predict.tile)
    if experiment.members:
        return
    if experiment.input.dims == 2:
        if any(len(size) != 2 for size in sizes):
            raise ValueError(
                f"{name}: train.patch and predict.tile have three sizes, but input.dims is 2; set "
                "input.dims to 3, or give height and width only"
            )
        return
    assert experiment.train.box and experiment.predict.box
    augment = experiment.augment
    unfit = {
        "task classify": experiment.task == "classify", "prepare.targets": experiment.prepare.targets,
        "prepare.store raw with input.spacing_mm": experiment.input.spacing_mm and experiment.prepare.store == "raw",
        "train.axes": experiment.train.axes != ["z"], "predict.axes": experiment.predict.axes != ["z"],
        "augment.cutmix": augment.cutmix, "augment.copy_paste": augment.copy_paste,
        "augment.references": augment.references, "external": experiment.external,
        "train.pseudo_labels": experiment.train.pseudo_labels,
        "predict.skip_background": experiment.predict.skip_background,
        "folds.method blocks": experiment.folds.method == "blocks",
        "train.sampling.background": experiment.train.sampling.background != 1,
    }  # fmt: skip
    _refuse(experiment, unfit, "input.dims 3")
    if competition.images.kind != "volumes":
        raise ValueError(
            f"{name}: input.dims is 3, but images.kind of {competition.name} is {competition.images.kind}, not "
            "volumes; use input.dims 2 with input.offsets"
        )


def _refuse(experiment: Experiment, unfit: Mapping[str, Any], why: str) -> None:
    """Raise ValueError for the first of these settings that has a value."""
    found = next((setting for setting, value in unfit.items() if value), None)
    if found is not None:
        raise ValueError(f"{experiment.name}: {found} cannot be used with {why}; leave it out")


def _following(experiment: Experiment, section: str, **follows: Any) -> Settings:
    """A section with these values; ValueError where the user wrote others."""
    given: Settings = getattr(experiment, section)
    for key, value in follows.items():
        written = getattr(given, key)
        if key in given.model_fields_set and written != value:
            raise ValueError(
                f"{experiment.name}: {section}.{key} is {written!r}, but the contract, input and task make it "
                f"{value!r}; leave it out"
            )
    return given.model_copy(update=follows)


def _as_classifier(experiment: Experiment, competition: Competition, mode: str) -> Experiment:
    """The settings that follow from `task: classify`: whole images at the size `train.patch`, drawn evenly."""
    augment, train = experiment.augment, experiment.train
    unfit = {
        "prepare.targets": experiment.prepare.targets, "augment.cutmix": augment.cutmix,
        "augment.copy_paste": augment.copy_paste, "external": experiment.external,
        "train.pseudo_labels": train.pseudo_labels, "tune.sample": experiment.tune.sample,
        "tune.gate": experiment.tune.gate, "input.pixel_size_um": experiment.input.pixel_size_um,
        "input.scale": experiment.input.scale != 1, "images.kind volumes": competition.images.kind == "volumes",
        "train.axes": train.axes != ["z"],
    }  # fmt: skip
    _refuse(experiment, unfit, "task classify, which sees whole images at the size train.patch")
    if "loss" in experiment.model_fields_set and experiment.loss.name != "classify":
        raise ValueError(
            f"{experiment.name}: loss.name is {experiment.loss.name!r}, but task classify needs "
            "'classify'; leave it out"
        )
    loss = experiment.loss.model_copy(update={"name": "classify", "params": {"mode": mode, **experiment.loss.params}})
    update: dict[str, Any] = {"loss": loss}
    update["predict"] = _following(experiment, "predict", mode="whole", tile=train.plane)
    return experiment.model_copy(update=update)


def list_experiments() -> list[str]:
    """Names of the experiments that come with the package."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def load_experiment(name: str | Path, assignments: Sequence[str] = ()) -> Experiment:
    """Experiment by its name under `pipeline/experiments/`, or by the path of a YAML file, with `--set` applied.

    Raises FileNotFoundError that lists the known names, ValueError that lists every wrong key.
    """
    path = Path(name)
    if path.suffix not in YAML:
        path = EXPERIMENTS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(list_experiments())
            raise FileNotFoundError(
                f"experiment {name!r}: no such file; known: {known}; or a .yaml file, or a run's folder"
            )
    written = located(read_yaml(path), path)
    return validate(Experiment, override({"name": path.stem, **written}, assignments), str(path))


def located(written: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """An experiment's document with the paths in it as they lie beside the document `path`, where they do."""
    document = json.loads(json.dumps(dict(written), default=str))
    external = document.get("external")
    places = [(document, "competition", YAML), (document.get("model"), "weights", WEIGHTS)]
    for one in external if isinstance(external, list) else []:
        places += [(one, "experiment", YAML), (one, "data", ("",))]
    for section, key, endings in places:
        value = section.get(key) if isinstance(section, dict) else None
        if isinstance(value, str) and value.endswith(endings):
            section[key] = beside(value, path)
    return document
