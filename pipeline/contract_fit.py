"""An experiment under its contract: what follows from the two together, and what contradicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.experiment import Experiment
from submissions.host.competition import Competition
from submissions.host.settings import Settings

BOX = (64, 128, 128)  # patch of volumes, where none is written [voxels]


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
