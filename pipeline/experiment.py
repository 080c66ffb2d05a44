"""One experiment: which competition, which folds, how prepared, trained, predicted and decided."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from inference.config import InputConfig, ModelConfig, PredictConfig
from pipeline.tuning_settings import TuneSettings
from submissions.host.competition import Competition
from submissions.host.settings import Settings, beside, override, read_yaml, validate

EXPERIMENTS = Path(__file__).parent / "experiments"
YAML = (".yaml", ".yml")
WEIGHTS = (".safetensors", ".pth", ".pt")


class SourcesSettings(Settings):
    """Which images come from one source, where somebody knows it."""

    column: str = Field(description="column of the inventory, such as a scanner's or a laboratory's name")


class FoldsSettings(Settings):
    """How training images are divided."""

    method: str = Field("kfold", description="a name that `folds` knows")
    n: int = Field(5, ge=2, description="number of folds [folds]")
    use: list[int] | None = Field(
        None, description="folds that are trained and predicted; all where not given [numbers of folds, from 0]"
    )
    group: str | None = Field(None, description="column; the contract's group where not given")
    strata: list[str] | None = Field(None, description="columns; the contract's strata where not given")
    sources: SourcesSettings | None = Field(
        None, description="where the column `source` comes from; not given: found by stage 01 from what images are like"
    )
    buffer: int = Field(
        0, ge=0, description="slices (or pixels of a block) between training and validation [slices, or pixels]"
    )
    repeats: int = Field(
        1, ge=1, description="different splits; each is trained, and all models are one ensemble [splits]"
    )
    split: int = Field(
        0, ge=0, description="which of the different splits; `repeats` gives each its own [number of a split, from 0]"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="further options of the method")


class PrepareSettings(Settings):
    """What stage 03 stores."""

    store: Literal["memmap", "hdf5", "raw"] = Field(
        "memmap",
        description="what images are decoded into; memmap: arrays, hdf5: compressed chunks, raw: the host's own files",
    )
    targets: list[Literal["border", "centre"]] = Field(
        default_factory=list, description="planes learned beside the classes, made from instances"
    )


class LossSettings(Settings):
    """The loss by name, with its parameters."""

    name: str = Field(
        "bce_dice", description="a loss that `pipeline/training/losses.py` names; of task classify 'classify'"
    )
    params: dict[str, Any] = Field(default_factory=dict, description="the loss's own parameters, e.g. {alpha: 0.3}")
    aux_weight: float = Field(
        0.4, ge=0, description="weight of the decoder's coarser levels, where supervised [factor of a loss term]"
    )
    image_weight: float = Field(
        0.2, ge=0, description="weight of the image-level answer, where the model has one [factor of a loss term]"
    )


class AugmentSettings(Settings):
    """The augmentation recipe by name."""

    recipe: str = Field("light", description="a recipe that `pipeline/augmentation/recipes.py` names")
    references: list[str] = Field(
        default_factory=list, description="training images whose colours are taken over; those a fold holds out are not"
    )
    cutmix: float = Field(0.0, ge=0, le=1, description="share of batches mixed by CutMix [share]")
    copy_paste: float = Field(0.0, ge=0, le=1, description="share of batches with instances pasted [share]")


class SamplingSettings(Settings):
    """Where training patches come from."""

    foreground: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of patches that show a class; not given: 0.5, 0 where a patch is an image [share]",
    )
    classes: dict[str, float] = Field(
        default_factory=dict,
        description="share of these classes among foreground patches, others none; else all alike [shares]",
    )
    empty: float = Field(
        1.0,
        ge=0,
        description="weight of an image without foreground; 1: as any other [factor of how often it is drawn]",
    )
    background: float = Field(
        1.0, ge=0, le=1, description="slides: share of windows without tissue that are kept [share]"
    )
    balance: str | None = Field(None, description="column whose values are drawn equally often")


class TrainSettings(Settings):
    """The training loop. An epoch is a fixed number of steps."""

    epochs: int = Field(10, ge=1, description="length of the training [epochs]")
    steps_per_epoch: int = Field(100, ge=1, description="optimizer steps an epoch [steps]")
    batch_size: int = Field(8, ge=1, description="samples a step and process [samples]")
    accumulate: int = Field(1, ge=1, description="batches an optimizer step [batches]")
    patch: tuple[int, int] | tuple[int, int, int] = Field(
        (256, 256), description="[depth,] height, width of a training patch at working size [pixels]"
    )
    axes: list[Literal["z", "y", "x"]] = Field(
        default=["z"], min_length=1, description="axes along which volumes are sliced, each as often; see predict.axes"
    )
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)
    optimizer: str = Field("adamw", description="a name that timm's optimizer factory knows")
    optimizer_options: dict[str, Any] = Field(default_factory=dict, description="e.g. {betas: [0.9, 0.95]}")
    lr: float = Field(1e-3, gt=0, description="largest learning rate of the decoder [no unit]")
    encoder_lr: float = Field(1.0, gt=0, description="learning rate of the encoder as a multiple of lr [factor]")
    layer_decay: float | None = Field(
        None, gt=0, le=1, description="learning rate factor a layer of the encoder [factor]"
    )
    weight_decay: float = Field(1e-2, ge=0, description="decay of kernels; biases and norms have none [no unit]")
    schedule: Literal["cosine", "one_cycle", "poly", "constant"] = Field(
        "cosine", description="course of the learning rate after the warm-up"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps with rising learning rate [share of steps]")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient [2-norm]")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights; 0: no averaging [factor a step]")
    freeze: str | int | None = Field(
        None,
        description="'encoder', 'encoder_except_norm' or a number of stages [stages of the encoder, where a number]",
    )
    freeze_epochs: int = Field(0, ge=0, description="epochs after which what is frozen is released; 0: never [epochs]")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 or fp16 where the device has it, else fp32"
    )
    channels_last: bool = Field(True, description="memory order of tensors that convolutions are faster in")
    compile: bool = Field(False, description="torch.compile: minutes to start, then faster steps")
    workers: int | None = Field(
        None,
        ge=0,
        description="loader processes, 0: loaded between steps; where not given 0, beside a GPU 8 [processes]",
    )
    validate_every: int = Field(
        0, ge=0, description="epochs between whole-image validations; 0: only the last [epochs]"
    )
    validate_images: int = Field(32, ge=1, description="images of the held-out fold predicted at a validation [images]")
    keep: Literal["last", "best", "mean_last", "mean_best"] = Field(
        "last", description="weights kept; 'best' and 'mean_best' choose on the held-out fold; reports say so"
    )
    keep_epochs: int = Field(3, ge=1, description="epochs whose weights a mean is of [epochs]")
    patience: int | None = Field(
        None, ge=1, description="validations without gain after which training stops [validations]"
    )
    skip_bad_losses: int = Field(0, ge=0, description="NaN or infinite losses skipped before training stops [steps]")
    sync_batch_norm: bool = Field(False, description="several GPUs: statistics of batch norm over all of them")
    pseudo_labels: str | None = Field(None, description="experiment whose fold-wise test predictions are learned")
    pseudo_confidence: float = Field(
        0.9, ge=0.5, le=1, description="pixels less sure than this are not learned [probability]"
    )
    pseudo_soft: bool = Field(False, description="learn the probability, not the mask")
    pseudo_share: float = Field(0.25, ge=0, lt=1, description="share of samples that are pseudo-labelled [share]")

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
    def _selects_among_validations(self) -> TrainSettings:
        if self.selects and not self.validate_every:
            raise ValueError(
                f"train.keep is {self.keep!r}, train.patience {self.patience}: 'best', 'mean_best' and patience choose "
                "among validations, and only the last epoch is validated; set train.validate_every to 1 or more"
            )
        return self


class ExternalSettings(Settings):
    """Another competition's data, used for training only."""

    experiment: str = Field(description="its experiment, prepared by stages 01 to 03 in the same runs folder")
    data: str | None = Field(None, description="the host's files; only a raw store needs them")
    share: float = Field(0.25, gt=0, lt=1, description="share of all samples [share]")
    weight: float = Field(1.0, gt=0, description="weight of its samples in the loss [factor]")


class Range(Settings):
    """Numbers that a search tries: from low to high, evenly or (log) by factors; whole ones where both are."""

    low: float | int = Field(description="smallest value tried [as the setting]")
    high: float | int = Field(description="largest value tried [as the setting]")
    log: bool = Field(False, description="values are spread by equal factors, not by equal steps")

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low}, high {self.high}: expected low below high, and above 0 where log")
        return self


class SearchSettings(Settings):
    """What `segpipe tune` tries, and by what it judges."""

    ranges: dict[str, Range | list[Any]] = Field(
        default_factory=dict, description="setting, as --set spells it: its values in a list, or {low, high, log}"
    )
    folds: list[int] | None = Field(
        None,
        description="folds that judge a trial; the others judge the best; the first half where not given [folds]",
    )
    objective: Literal["nested", "worst_source"] = Field(
        "nested", description="nested score, or that of the source of images with the lowest"
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median", description="stops trials whose validations lag behind"
    )
    seed: int = Field(0, description="of the proposals [whole number]")

    @field_validator("ranges")
    @classmethod
    def _can_differ(cls, value: dict[str, Range | list[Any]]) -> dict[str, Range | list[Any]]:
        fixed = ("name", "competition", "folds", "search", "seed", "limit")
        for key, values in value.items():
            if key.split(".")[0] in fixed:
                raise ValueError(f"{key}: trials are compared on the same images and folds, so it cannot be searched")
            if isinstance(values, list) and len(values) < 2:
                raise ValueError(f"{key}: {values}, expected two values or more")
        return value


class Experiment(Settings):
    """Everything one experiment needs beside the host's files."""

    name: str = Field(description="folder under runs/<competition>/; the file's name where not given")
    competition: str = Field(description="contract: a name under submissions/competitions/ or a .yaml file")
    task: Literal["segment", "classify"] = Field(
        "segment", description="classify: which classes a whole image shows; or the one it is of, where it has no masks"
    )
    seed: int = Field(0, description="of splits, sampling, augmentation and first weights [whole number]")
    limit: int | None = Field(None, ge=4, description="use only so many training images, spread over all [images]")
    members: list[str] = Field(default_factory=list, description="an ensemble of these experiments, no training")
    folds: FoldsSettings = Field(default_factory=FoldsSettings)
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    input: InputConfig = Field(default_factory=InputConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossSettings = Field(default_factory=LossSettings)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    external: list[ExternalSettings] = Field(default_factory=list, description="further training data")
    train: TrainSettings = Field(default_factory=TrainSettings)
    predict: PredictConfig = Field(default_factory=PredictConfig)
    tune: TuneSettings = Field(default_factory=TuneSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or name in ("inventory", "folds", "store", ".", ".."):
            raise ValueError("expected letters, digits, '-', '_' and '.', and no name of a shared folder")
        return name

    @model_validator(mode="after")
    def _used_folds_exist(self) -> Experiment:
        wrong = [fold for fold in self.folds.use or [] if not 0 <= fold < self.folds.n]
        if wrong:
            raise ValueError(f"folds.use names {wrong}; with folds.n {self.folds.n} they run from 0")
        asked = {"members": self.members, "folds.split": self.folds.split, "tune.vote": self.tune.vote}
        other = [name for name, value in asked.items() if value]
        if self.folds.repeats > 1 and other:
            raise ValueError(f"folds.repeats makes an ensemble of several splits; leave out {other[0]}, or repeats")
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
    """The experiment with what follows from contract and task filled in: the model's channels, classes, activation.

    Where splits are repeated it becomes the ensemble of them.

    Raises ValueError where the experiment says otherwise, or a setting and the contract do not fit.
    """
    labels, classify = competition.masks.kind == "none", experiment.task == "classify"
    if labels and not classify:
        raise ValueError(f"{experiment.name}: {competition.name} has a class an image and no masks; set task: classify")
    if experiment.loss.name == "classify" and not classify:
        raise ValueError(f"{experiment.name}: loss.name 'classify' judges whole images; set task: classify, or no loss")
    exclusive = competition.exclusive and (labels or not classify)
    model = _following(
        experiment, "model", in_channels=experiment.input.in_channels,
        classes=[*competition.classes, *experiment.prepare.targets], activation="softmax" if exclusive else "sigmoid",
    )  # fmt: skip
    if classify:
        experiment = _as_classifier(experiment, competition, "softmax" if exclusive else "sigmoid")
    check_dimensions(experiment, competition)
    if experiment.prepare.targets and (competition.exclusive or not competition.masks.instances):
        raise ValueError(f"{experiment.name}: prepare.targets need a contract whose masks are instances")
    members = [split.name for split in experiment.repeated] or experiment.members
    return experiment.model_copy(update={"model": model, "members": members})


def check_dimensions(experiment: Experiment, competition: Competition) -> None:
    """Raise ValueError where settings for images meet volumes, or the other way round."""
    name, sizes = experiment.name, (experiment.train.patch, experiment.predict.tile)
    if experiment.members:
        return
    if experiment.input.dims == 2:
        if any(len(size) != 2 for size in sizes):
            raise ValueError(f"{name}: train.patch and predict.tile have a depth, and input.dims is 2; set it to 3")
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
        "predict.runtime onnx": experiment.predict.runtime == "onnx",
        "folds.method blocks": experiment.folds.method == "blocks",
        "train.sampling.background": experiment.train.sampling.background != 1,
    }  # fmt: skip
    found = [setting for setting, value in unfit.items() if value]
    if found:
        raise ValueError(f"{name}: input.dims is 3, and volumes have no {found[0]}; leave it out")
    if competition.images.kind != "volumes":
        raise ValueError(
            f"{name}: input.dims is 3, but {competition.name} gives {competition.images.kind}, not whole volumes; take "
            "dims 2 with input.offsets"
        )


def _following(experiment: Experiment, section: str, **follows: Any) -> Settings:
    """A section with these values; ValueError where the user wrote others."""
    given: Settings = getattr(experiment, section)
    for key, value in follows.items():
        written = getattr(given, key)
        if key in given.model_fields_set and written != value:
            raise ValueError(
                f"{experiment.name}: {section}.{key} is {written!r}, but contract, input and task make it {value!r}; "
                "leave it out"
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
    found = [name for name, value in unfit.items() if value]
    if found:
        raise ValueError(f"{experiment.name}: task classify sees whole images at train.patch and has no {found[0]}")
    if "loss" in experiment.model_fields_set and experiment.loss.name != "classify":
        raise ValueError(f"{experiment.name}: loss.name is {experiment.loss.name!r}, for task classify 'classify'")
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
