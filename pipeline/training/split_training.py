"""Stage 04: the folds of one split, one after the other, each as a stage of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.stage import Stage, is_first_process
from pipeline.training.checkpoint import LAST
from pipeline.training.extra_data import extra_data, extra_inputs
from pipeline.training.fingerprint import fold_settings
from pipeline.training.fold_training import Validate, train_fold
from pipeline.training.validation import make_validator
from pipeline.workspace import Workspace, already, finish

Observe = Callable[[int, float], None]


def train_split(space: Workspace, observe: Observe | None = None) -> None:
    """Train the used folds of one split; an interrupted one goes on after its last epoch.

    Of several processes the first keeps the stage's books; the others only join the training. `observe` is told the
    fold and the score of every validation, and may end the training by an exception.
    """
    experiment = space.experiment
    store, prepared = open_prepared(space)
    folds, folds_hash = open_folds(space)
    inventory, _ = space.training_images()
    settings = fold_settings(space)
    first = is_first_process()
    for fold in experiment.used_folds:
        inputs = {"store": prepared, "folds": folds_hash, **extra_inputs(space, fold)}
        stage = Stage("04_train", space.fold(fold), {**settings, "fold": fold}, inputs, protects=LAST)
        if not (stage.begin(overwrite=space.overwrite) if first else space.overwrite or not stage.done()):
            if first:
                already(stage)
            continue
        facts = train_fold(
            experiment, fold, store=store, folds=folds, inventory=inventory, folder=stage.folder, device=space.device,
            validate=_observed(make_validator(space, folds, fold), fold, observe),
            extra=partial(extra_data, space, fold),
        )  # fmt: skip
        if first:
            speed, waited = facts["images_per_second"] or 0.0, facts["wait_share"] or 0.0
            finish(stage, f"fold {fold}, {speed:.1f} images/s, {waited:.0%} of each step waiting for data", **facts)


def _observed(validate: Validate, fold: int, observe: Observe | None) -> Validate:
    """The validation, whose score `observe` is told."""
    if observe is None:
        return validate

    def validate_and_tell(model: nn.Module) -> Mapping[str, Any]:
        found = validate(model)
        observe(fold, float(next(iter(found.values()))))
        return found

    return validate_and_tell
