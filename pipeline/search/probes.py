"""A minute before a run: which learning rate, which batch, and how long will all of it take?"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.experiment import Experiment
from pipeline.pictures import draw_lines
from pipeline.training.fold_training import initial_trainer, training_set
from pipeline.training.loader import Batch, load_batches
from pipeline.training.trainer import BadLoss, Trainer, start_processes
from pipeline.workspace import Workspace

LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.9
STEPS_TIMED = 3
SECONDS = 60  # that a probe takes at the most, about


def trainer_of(space: Workspace, experiment: Experiment, fold: int) -> Trainer:
    """The training of a fold before its first step."""
    accelerator, place = start_processes(space.device)
    return initial_trainer(experiment, fold, accelerator=accelerator, device=place)


def batches_of(space: Workspace, experiment: Experiment, fold: int, number: int) -> Iterator[Batch]:
    """The first batches of a fold's training."""
    store, _ = open_prepared(space)
    inventory, _ = space.training_images()
    source = training_set(experiment, fold, store=store, folds=open_folds(space)[0], inventory=inventory)
    return load_batches(
        source, first_epoch=0, epochs=1, batches_per_epoch=number, batch_size=experiment.train.batch_size
    )


def changed(experiment: Experiment, **train: object) -> Experiment:
    """The experiment with other settings of its training."""
    return experiment.model_copy(update={"train": experiment.train.model_copy(update=train)})


def lr_range(space: Workspace, *, steps: int = 100) -> pd.DataFrame:
    """Loss while the learning rate rises by equal factors from step to step: lr, loss, smooth (its running mean).

    Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017. Ends after SECONDS, and where the smooth
    loss is four times its lowest or not a number.
    """
    fold = space.experiment.used_folds[0]
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    experiment = changed(
        space.experiment, schedule="constant", warmup=0.0, epochs=1, steps_per_epoch=steps, ema=0.0, accumulate=1
    )
    trainer = trainer_of(space, experiment, fold)
    tops = [group["top_lr"] for group in trainer.optimizer.param_groups]
    trainer.begin_epoch(0)
    rows: list[tuple[float, float, float]] = []
    mean, lowest, began = 0.0, np.inf, time.monotonic()
    for index, batch in enumerate(batches_of(space, experiment, fold, steps)):
        for group, top in zip(trainer.optimizer.param_groups, tops, strict=True):
            group["top_lr"] = top / experiment.train.lr * float(rates[index])
        try:
            loss = trainer.step([batch], 0, index).loss
        except BadLoss:
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth = mean / (1 - SMOOTHING ** (index + 1))
        rows.append((float(rates[index]), loss, smooth))
        lowest = min(lowest, smooth)
        if smooth > 4 * lowest or time.monotonic() - began > SECONDS:
            break
    return pd.DataFrame(rows, columns=["lr", "loss", "smooth"])


def suggested_rate(table: pd.DataFrame) -> float:
    """Where the smooth loss falls fastest over the logarithm of the rate, before its lowest value.

    Raises ValueError for fewer than ten steps.
    """
    if len(table) < 10:
        raise ValueError(
            f"only {len(table)} step(s) were made, but ten or more are needed: give --steps 10 or more, and where a "
            f"step takes more than {SECONDS // 10} seconds, a smaller train.batch_size or train.patch"
        )
    until = max(3, int(table["smooth"].argmin()) + 1)
    slope = np.gradient(table["smooth"].to_numpy()[:until], np.log(table["lr"].to_numpy()[:until]))
    return float(table["lr"].iloc[int(np.argmin(slope))])


def write_lr_range(table: pd.DataFrame, folder: Path) -> Path:
    """The picture of a range test."""
    path = folder / "lr_range.png"
    lines = {"loss": table["loss"].tolist(), "smooth": table["smooth"].tolist()}
    draw_lines(lines, np.log10(table["lr"]).tolist(), ("log10 of train.lr", "loss"), path)
    return path


def batch_sizes(space: Workspace, sizes: Sequence[int]) -> pd.DataFrame:
    """Speed and memory of training steps by batch size: batch, images_per_second, seconds_a_step, gigabytes.

    gigabytes is the peak of the GPU, or of this process on a CPU, since it began. Ends after SECONDS, and where a
    batch does not fit; slow or impossible sizes are then not there.
    """
    fold, began = space.experiment.used_folds[0], time.monotonic()
    rows: list[tuple[int, float, float, float]] = []
    for size in sorted(sizes):
        experiment = changed(space.experiment, batch_size=size, epochs=1, steps_per_epoch=STEPS_TIMED, accumulate=1)
        trainer = trainer_of(space, experiment, fold)
        trainer.begin_epoch(0)
        taken = list(batches_of(space, experiment, fold, STEPS_TIMED))
        times = []
        try:
            for index, batch in enumerate(taken):
                before = time.perf_counter()
                trainer.step([batch], 0, index)
                times.append(time.perf_counter() - before)
        except ValueError:  # does not fit; or a batch of one, which norms of a batch cannot do
            if rows:
                break
            continue
        step = float(np.median(times[1:]))
        rows.append((size, size / step, step, peak_gigabytes(trainer.device)))
        if time.monotonic() - began > SECONDS:
            break
    return pd.DataFrame(rows, columns=["batch", "images_per_second", "seconds_a_step", "gigabytes"])


def peak_gigabytes(device: torch.device) -> float:
    """The most memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def expected_cost(experiment: Experiment, table: pd.DataFrame) -> str:
    """What training the experiment will take by these measurements, as a sentence; the nearest batch size counts.

    Loading beside the steps, validations and the other stages come on top.
    """
    if not len(table):
        raise ValueError("no batch size could be timed; try smaller ones, or a smaller train.patch")
    settings = experiment.train
    row = table.iloc[int((table["batch"] - settings.batch_size).abs().argmin())]
    per_image = float(row["seconds_a_step"]) / float(row["batch"])
    epoch = per_image * settings.batch_size * settings.accumulate * settings.steps_per_epoch / 60
    folds = len(experiment.used_folds) * experiment.folds.repeats
    return (
        f"train.batch_size {settings.batch_size}: {epoch:.2f} min an epoch, {epoch * settings.epochs:.1f} min a fold "
        f"of {settings.epochs} epochs, {epoch * settings.epochs * folds:.0f} min for {folds} fold(s), "
        f"{float(row['gigabytes']):.1f} GB"
    )
