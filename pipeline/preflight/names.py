"""Checks every name in an experiment with the code that will use it: the network is built, without memory for its
weights.

`python -m pipeline.preflight.names` does this for a pickled workspace on standard input, in a process of its own,
because it needs torch, which stages 01 to 03 and 06 do without.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast, get_args

import torch
from torch import nn

from folds.splitters import check_method
from inference.config import level_channels
from inference.models import Model, build_model
from inference.models.freezing import Part, freeze
from inference.models.pretrained import load_encoder_weights
from inference.predict.devices import pick_device, split_devices
from inference.predict.precision import resolve_precision
from inference.predict.tta import build_views
from pipeline.augmentation.augment import build_augmentation
from pipeline.augmentation.recipes import RECIPES
from pipeline.augmentation.volumes import VolumeAugmentation
from pipeline.data.fold_tables import split_of
from pipeline.experiment import Experiment
from pipeline.settings.data import Target
from pipeline.stage import digest
from pipeline.training.extra_data import check_external, external_space
from pipeline.training.fold_training import check_loss, check_model
from pipeline.training.mix_schedule import never_pasted
from pipeline.training.optimisation import build_optimizer, parameter_groups
from pipeline.training.training_log import check_loggers
from pipeline.tuning.rules.selection import base_decision, compared_rules
from pipeline.tuning.scores.criteria import Criteria, tuning_metric
from pipeline.workspace import Workspace
from submissions.metrics import build_metric
from submissions.table.scoring import check_metric, try_metric

TAKEN = ("none", "wheel", "imagenet")  # model.weights that name no file

STRATA = 2  # groups with thresholds of their own that there may be: images tell how many there are

_tried: dict[str, list[str]] = {}


def name_problems(space: Workspace) -> list[str]:
    """A sentence for each name or option that is refused. An ensemble trains nothing, so its network is not checked."""
    experiment = space.experiment
    problems = [*_refused(_light(space))]
    if experiment.members and not experiment.repeated:
        return problems
    key = digest([experiment.model_dump(mode="json", exclude={"name", "folds", "tune"}), space.device])
    if key not in _tried:
        _tried[key] = [*_refused(_heavy(space))]
    return problems + _tried[key]


def _refused(steps: Iterator[tuple[str, Callable[[], object]]]) -> Iterator[str]:
    for key, step in steps:
        try:
            step()
        except (ValueError, FileNotFoundError, RuntimeError, TypeError, LookupError) as error:
            said = str(error) or type(error).__name__
            yield said if said.startswith(key) else f"{key}: {said}"


def _light(space: Workspace) -> Iterator[tuple[str, Callable[[], object]]]:
    contract, tune = space.competition, space.experiment.tune
    if tune.metric is None:
        yield "metric", lambda: try_metric(check_metric(contract), contract)
    else:
        yield "metric", lambda: check_metric(contract)
        yield "tune.metric", lambda: try_metric(build_metric(str(tune.metric), **tune.metric_params), contract)
    yield "tune", lambda: _check_decision(space)
    yield "folds.method", lambda: _check_split(space)


def _check_split(space: Workspace) -> None:
    """Raises ValueError for a method or options of the split that no images would suit."""
    method, options = split_of(space)
    check_method(method, space.experiment.folds.n, space.experiment.seed, options)


def _check_decision(space: Workspace) -> None:
    """Raises ValueError for rules, classes and channels that stage 06 would refuse, as far as no image is needed."""
    experiment, contract, tune = space.experiment, space.competition, space.experiment.tune
    if space.only_a_gate:
        return  # a gate of another experiment, about which nothing is decided
    try:
        metric = tuning_metric(contract, tune)
    except (ValueError, TypeError):
        return  # said by the check of the metric
    channels = experiment.model.channels
    if experiment.members and not experiment.repeated:  # the members' own, which may be all that there are
        channels = [*contract.classes, *get_args(Target), *level_channels("present", contract.classes)]
    gate = level_channels("classifier", contract.classes) if tune.gate else []
    criteria = Criteria(contract, metric, tune, [*channels, *gate])
    base, form = base_decision(criteria, ""), contract.submission
    compared_rules(criteria, STRATA)
    objects = form is not None and form.kind == "table" and form.wants_objects and not form.lists_classes
    if objects and base.instances is None:
        raise ValueError(
            f"tune.instances is not given, but the host wants objects of one class, and {contract.name} scores "
            f"{', '.join(contract.classes)}: say in tune.instances.plane which is split, or in metric.classes"
        )


def _heavy(space: Workspace) -> Iterator[tuple[str, Callable[[], object]]]:
    experiment, device = space.experiment, space.device
    yield "--device", lambda: _check_device(experiment, device)
    yield "model", lambda: _check_network(experiment)
    yield "predict.tile", lambda: _check_sides("predict.tile", experiment.predict.tile)
    yield "train.patch", lambda: check_batch(experiment)
    yield "model.weights", lambda: _check_weights(experiment)
    yield "loss", lambda: check_loss(experiment)
    yield "augment.recipe", lambda: check_recipe(experiment)
    yield "augment.copy_paste", lambda: never_pasted(experiment)
    yield "train.sampling.classes", lambda: _check_sampled(experiment)
    yield "predict.views", lambda: build_views(experiment.predict.views, experiment.input)
    for number in range(len(experiment.external)):
        yield f"external[{number}]", partial(_check_external, space, number)
    yield "train.loggers", lambda: check_loggers(experiment.train.loggers)
    yield "train.optimizer", lambda: _check_optimizer(experiment)


def _check_network(experiment: Experiment) -> None:
    model = _build(experiment)
    check_model(experiment, model)
    parameter_groups(model, experiment.train, experiment.model.in_channels)
    _check_patch(experiment, model)


def _check_patch(experiment: Experiment, model: nn.Module) -> None:
    """Raise ValueError where the network cannot train on batches of `train.patch`.

    A patch below the stride is more padding than image. Batch norm has no variance over a batch of one whose map is one
    pixel: only a step in training mode shows it, which costs nothing on the device `meta`.
    """
    train, name = experiment.train, experiment.model.architecture
    strides = _strides(model, len(train.patch))
    if any(size < stride for size, stride in zip(train.patch, strides, strict=True)):
        raise ValueError(
            f"train.patch is {list(train.patch)}, but {name!r} works in steps of {strides} pixels; expected at least "
            "that"
        )
    if train.freeze is not None:
        freeze(cast(Model, model), cast(Part, train.freeze))
    if any(tensor.device.type != "meta" for tensor in (*model.parameters(), *model.buffers())):
        return
    with torch.device("meta"), torch.no_grad():
        try:
            model.train()(torch.zeros(train.batch_size, experiment.model.in_channels, *train.patch))
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"train.patch {list(train.patch)} in batches of {train.batch_size} does not fit {name!r}: {error}; "
                "take a larger patch or batch"
            ) from error


def _strides(model: nn.Module, dims: int) -> list[int]:
    """What each side of a patch is padded to a multiple of; 1 for a classifier."""
    given = getattr(getattr(model, "net", None), "strides", None) if dims == 3 else getattr(model, "stride", None)
    return list(given) if isinstance(given, tuple) else [given or 1] * dims


def _build(experiment: Experiment) -> nn.Module:
    """The network on the device `meta`, or on the CPU where it computes while it is built."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build_model(experiment.model)
        except (NotImplementedError, RuntimeError, ValueError):  # an encoder's come as ValueError
            return build_model(experiment.model)


def check_batch(experiment: Experiment) -> None:
    """Raises ValueError for a patch without pixels, or where a batch takes more than 1/4 of this machine's memory."""
    settings, channels = experiment.train, experiment.input.in_channels
    _check_sides("train.patch", settings.patch)
    taken = 4 * settings.batch_size * channels * math.prod(settings.patch)
    held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if taken > held / 4:
        raise ValueError(
            f"train.patch is {list(settings.patch)}: a batch of {settings.batch_size} takes {taken / 1e9:,.1f} GB, and "
            f"this machine has {held / 1e9:,.1f} GB; expected a patch of about the size of an image, or a smaller batch"
        )


def _check_sides(key: str, size: Sequence[int]) -> None:
    if min(size) < 1:
        raise ValueError(f"{key} is {list(size)}: expected pixels, each at least 1")


def _check_weights(experiment: Experiment) -> None:
    given = experiment.model.weights
    if given not in TAKEN and not Path(given).is_file():
        raise FileNotFoundError(f"{given}: no such file; expected 'imagenet', 'wheel', 'none' or a .safetensors file")
    if given not in ("none", "imagenet"):  # which would be fetched
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")  # nothing is to be kept
            load_encoder_weights(_build(experiment), experiment.model)


def check_recipe(experiment: Experiment) -> None:
    """Raises ValueError for a recipe that is unknown, or not for what the network sees, or takes no references."""
    chosen = experiment.augment.recipe
    if experiment.input.dims == 3:
        VolumeAugmentation(chosen)
        return
    build_augmentation(chosen, experiment.train.plane, channels=None)
    if experiment.augment.references and not RECIPES[chosen].transfers:
        names = ", ".join(name for name, other in RECIPES.items() if other.transfers)
        raise ValueError(f"augment.references: recipe {chosen!r} does not use reference colours; {names} does")


def _check_sampled(experiment: Experiment) -> None:
    unknown = sorted(set(experiment.train.sampling.classes) - set(experiment.model.classes))
    if unknown:
        raise ValueError(f"no class {', '.join(unknown)}; the model has {', '.join(experiment.model.classes)}")


def _check_external(space: Workspace, number: int) -> None:
    try:
        other = external_space(space, number)
    except (ValueError, FileNotFoundError):
        return  # said where other experiments are looked for
    check_external(space, number, other)


def _check_optimizer(experiment: Experiment) -> None:
    """The optimizer and its options, on a network of one layer: what an encoder asks for is the network's matter."""
    settings = experiment.train.model_copy(update={"encoder_lr": 1.0, "layer_decay": None})
    build_optimizer(nn.Linear(2, 2), settings, device=torch.device("cpu"), in_channels=1)


def _check_device(experiment: Experiment, device: str | None) -> None:
    for name in split_devices(pick_device(None) if device is None else device):
        place = torch.device(name)
        if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
            raise ValueError(
                f"{name!r}, but there are {torch.cuda.device_count()} CUDA device(s) here; leave out --device"
            )
        for precision in (experiment.predict.precision, experiment.train.precision):
            resolve_precision(precision, place)


def main() -> None:
    """Read a workspace, write its problems, both pickled."""
    space: Workspace = pickle.load(sys.stdin.buffer)
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    out.buffer.write(pickle.dumps(name_problems(space)))


if __name__ == "__main__":
    main()
