"""Stage 04: train a network a fold, on everything but the fold's own images.

Reads:   runs/<competition>/store/<hash>/, the frozen fold file
Writes:  runs/<competition>/<experiment>/fold_k/  weights.safetensors and model.json (what inference needs),
         last.pt (everything a restart needs), log.jsonl, TensorBoard events

Example: python pipeline/04_train.py tgs-salt --set train.epochs=5 --set 'folds.use=[0]'
         python pipeline/04_train.py tgs-salt --device cuda:0,cuda:1    (two folds at once)
         torchrun --nproc_per_node 2 pipeline/04_train.py tgs-salt      (two GPUs)
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial

try:
    from inference.predict.devices import split_devices
    from pipeline.data.fold_tables import open_folds
    from pipeline.data.prepare import open_prepared
    from pipeline.distributed.commands import run_spread_stage
    from pipeline.runs import trained_spaces
    from pipeline.stage import Stage
    from pipeline.training.extra_data import extra_data, extra_inputs
    from pipeline.training.fingerprint import fold_settings
    from pipeline.training.fold_training import train_fold
    from pipeline.training.parallel_folds import train_on_devices
    from pipeline.training.validation import make_validator
    from pipeline.workspace import Workspace, already, finish, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def train(space: Workspace, arguments: argparse.Namespace) -> None:
    """Train every used fold, of each of the repeated splits, that is not trained yet; on several devices at once."""
    devices, folds = split_devices(space.device or "cpu"), space.experiment.used_folds
    if len(devices) > 1 and (space.experiment.repeated or not space.experiment.members):
        print(f"04_train: folds {folds} are trained on {', '.join(devices)}, one at a time on each")
        return train_on_devices(arguments, folds, devices)
    for each in trained_spaces(space, "04_train"):
        train_split(each)


def train_split(space: Workspace) -> None:
    """Train the used folds of one split; an interrupted one goes on after its last epoch.

    Of several processes the first keeps the stage's books; the others only join the training.
    """
    experiment = space.experiment
    store, prepared = open_prepared(space)
    folds, folds_hash = open_folds(space)
    inventory, _ = space.training_images()
    settings = fold_settings(space)
    first = os.environ.get("RANK", "0") == "0"
    for fold in experiment.used_folds:
        inputs = {"store": prepared, "folds": folds_hash, **extra_inputs(space, fold)}
        stage = Stage("04_train", space.fold(fold), {**settings, "fold": fold}, inputs)
        if not (stage.begin(overwrite=space.overwrite) if first else space.overwrite or not stage.done()):
            if first:
                already(stage)
            continue
        facts = train_fold(
            experiment, fold, store=store, folds=folds, inventory=inventory, folder=stage.folder,
            device=space.device, validate=make_validator(space, folds, fold), extra=partial(extra_data, space, fold),
        )  # fmt: skip
        if first:
            speed, waited = facts["images_per_second"] or 0.0, facts["wait_share"] or 0.0
            finish(stage, f"fold {fold}, {speed:.1f} images/s, {waited:.0%} of a step waiting for data", **facts)


def main(argv: Sequence[str] | None = None) -> None:
    run_spread_stage("04", train, stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
