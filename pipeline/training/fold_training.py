"""Training one fold: from stored images to weights, resumable at every epoch."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from inference.config import SETTINGS_FILE
from inference.models import Classifier, build_model, model_row
from inference.models.pretrained import load_encoder_weights
from inference.progress import ProgressLines, progress_bar
from inference.weights import save_model
from pipeline.augmentation.stain_references import reference_colours
from pipeline.data.store import Store
from pipeline.experiment import Experiment
from pipeline.seeds import seed_of
from pipeline.settings.training import TrainSettings
from pipeline.training.checkpoint import LAST, load_state, save_state
from pipeline.training.classification_dataset import ImageSet
from pipeline.training.dataset import TrainingSet
from pipeline.training.loader import Batch, SampleSource, load_batches
from pipeline.training.losses import build_loss
from pipeline.training.mix_schedule import BatchMixer, never_pasted
from pipeline.training.mixture import Extra, Mixture
from pipeline.training.trainer import BadLoss, Trainer, start_processes
from pipeline.training.training_log import TrainingLog
from pipeline.training.volume_dataset import VolumeSet
from pipeline.training.weight_selection import WeightKeeper
from submissions.host.atomic import write_atomic

Validate = Callable[[nn.Module], Mapping[str, Any]]
BAD_BATCH = "bad_batch.json"


def train_fold(
    experiment: Experiment,
    fold: int,
    *,
    store: Store,
    folds: pd.DataFrame,
    inventory: pd.DataFrame,
    folder: Path,
    device: str | None = None,
    validate: Validate | None = None,
    extra: Callable[[], Sequence[Extra]] | None = None,
) -> dict[str, Any]:
    """Train on every image that is not of fold `fold` nor kept apart from it by a buffer; returns facts about the
    training, see `_Run.facts`.

    Writes `log.jsonl` (one row per epoch), what `train.loggers` show, `last.pt` after every epoch, and at the end
    `weights.safetensors` and `model.json`, into `folder`. Where `last.pt` lies there, training goes on after
    its epoch and ends, on a CPU, with the very weights and log of a training that was never stopped.

    `validate(model)` gets the network whose weights would be kept (float32, evaluation mode) and returns
    numbers by name, the score that `keep` and `patience` judge first (higher is better), and pictures (H, W,
    3) uint8 for the loggers. It is called every `validate_every` epochs and after the last.

    `extra` makes the extra data that the experiment names, in each process once the first has (it fills stores).
    Raises ValueError where that is another number of sets than are named, where no image is left to train on, for a
    network, loss or targets that do not fit the experiment, and where weights are to be chosen without validations.
    """
    with torch.random.fork_rng():
        accelerator, place = start_processes(device)
        source: SampleSource = training_set(experiment, fold, store=store, folds=folds, inventory=inventory)
        with accelerator.main_process_first():
            extras = list(extra()) if extra is not None else []
        if len(extras) != len(experiment.external) + (experiment.train.pseudo_labels is not None):
            raise ValueError(
                f"{len(extras)} sets of extra data were given, but the experiment names "
                f"{len(experiment.external)} external ones and pseudo-labels {experiment.train.pseudo_labels!r}"
            )
        if extras:
            source = Mixture(source, extras, experiment.seed)
        trainer = initial_trainer(experiment, fold, accelerator=accelerator, device=place)
        return _Run(experiment, trainer, source, folder, validate).finish()


def initial_trainer(experiment: Experiment, fold: int, *, accelerator: Accelerator, device: torch.device) -> Trainer:
    """The training of a fold before its first step."""
    return Trainer(
        initial_model(experiment, fold), experiment.train, experiment.loss, accelerator=accelerator, device=device,
        seed=seed_of(experiment.seed, "steps", fold), in_channels=experiment.model.in_channels,
    )  # fmt: skip


def initial_model(experiment: Experiment, fold: int) -> nn.Module:
    """The network before its first step: pretrained where the settings say so, the rest random by (seed,
    fold).
    """
    torch.manual_seed(seed_of(experiment.seed, "model", fold))
    model = build_model(experiment.model)
    check_model(experiment, model)
    load_encoder_weights(model, experiment.model)
    return model


def check_model(experiment: Experiment, model: nn.Module) -> None:
    """Raise ValueError where a network does not fit the experiment's input and task."""
    if experiment.model.in_channels != experiment.input.in_channels:
        raise ValueError(
            f"model.in_channels is {experiment.model.in_channels}, but input.channels times the number of "
            f"input.offsets is {experiment.input.in_channels}"
        )
    if isinstance(model, Classifier) != (experiment.task == "classify"):
        raise ValueError(
            f"model.architecture {experiment.model.architecture!r} cannot be used with task: {experiment.task}; "
            "`python -m inference.models` lists classifiers separately"
        )
    if model_row(experiment.model.architecture).dims != experiment.input.dims:
        raise ValueError(
            f"model.architecture {experiment.model.architecture!r} cannot be used with input.dims "
            f"{experiment.input.dims}; `python -m inference.models --family volumes` lists 3D networks"
        )


def check_loss(experiment: Experiment) -> str:
    """The activation that the loss is for; ValueError where it is unknown, or not that of the model, and where the loss
    does not take the model's classes or dimensions.
    """
    loss = build_loss(experiment.loss.name, **experiment.loss.params)
    mode = loss.mode
    if mode != experiment.model.activation:
        raise ValueError(
            f"loss.name {experiment.loss.name!r} is a {mode} loss, but model.activation is "
            f"{experiment.model.activation!r}; choose two that fit (some losses take params: {{mode: ...}})"
        )
    sides = () if experiment.task == "classify" else (8,) * experiment.input.dims
    logits = torch.zeros(1, len(experiment.model.classes), *sides)
    try:
        loss(logits, torch.zeros_like(logits if mode == "sigmoid" else logits[:, 0], dtype=torch.uint8))
    except ValueError as error:
        raise ValueError(f"loss.params of {experiment.loss.name!r}: {error}") from error
    return mode


def training_set(
    experiment: Experiment, fold: int, *, store: Store, folds: pd.DataFrame, inventory: pd.DataFrame
) -> TrainingSet | VolumeSet:
    """The samples of one fold's training."""
    mode = check_loss(experiment)
    options: dict[str, Any] = {"experiment": experiment, "inventory": inventory}
    options["seed"] = seed_of(experiment.seed, "samples", fold)
    if experiment.input.dims == 3:
        return VolumeSet(store, folds, fold, **options)
    kind = partial(ImageSet, exclusive=mode == "softmax") if experiment.task == "classify" else TrainingSet
    references = reference_colours(experiment.augment.references, store, folds, fold)
    return kind(store, folds, fold, references=references, **options)


class _Run:
    """One training from its first or its last saved epoch to the end."""

    def __init__(
        self,
        experiment: Experiment,
        trainer: Trainer,
        source: SampleSource,
        folder: Path,
        validate: Validate | None,
    ) -> None:
        self.experiment, self.trainer, self.source = experiment, trainer, source
        self.folder, self.validate = folder, validate
        self.settings: TrainSettings = experiment.train
        self.keeper = WeightKeeper(self.settings)
        if self.settings.selects and validate is None:
            raise ValueError("train.keep and train.patience need validations, and this training has none")
        self.epoch, self.stopped = 0, False
        state = load_state(folder / LAST)
        if state is not None:
            trainer.restore(state["trainer"])
            self.keeper.restore(state["keeper"])
            self.epoch, self.stopped = state["epoch"], state["stopped"]
            trainer.begin_epoch(self.epoch - 1)  # what is frozen then is not measured anew, should no epoch be left

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.trainer.accelerator.is_main_process)

    def batches(self, first_epoch: int, epochs: int) -> Iterator[Batch]:
        """This process' batches of some epochs."""
        accelerator, settings = self.trainer.accelerator, self.settings
        gpu = self.trainer.device.type == "cuda"
        return load_batches(
            self.source, first_epoch=first_epoch, epochs=epochs,
            batches_per_epoch=settings.steps_per_epoch * settings.accumulate, batch_size=settings.batch_size,
            rank=accelerator.process_index, world=accelerator.num_processes, mix=self.mixer(),
            workers=worker_count(settings.workers, self.trainer.device), pin=gpu,
        )  # fmt: skip

    def mixer(self) -> BatchMixer | None:
        """What mixes batches, where the settings ask for it."""
        augment = self.experiment.augment
        if not (augment.cutmix or augment.copy_paste):
            return None
        return BatchMixer(augment, seed_of(self.experiment.seed, "mix"), never_pasted(self.experiment))

    def open_log(self) -> TrainingLog:
        """The log, from the epoch that this training begins with."""
        own = self.experiment
        return TrainingLog(
            self.folder, resumed=self.epoch, loggers=self.settings.loggers, name=f"{own.name} {self.folder.name}",
            project=Path(own.competition).stem, settings=own.model_dump(mode="json", exclude_unset=True),
        )  # fmt: skip

    def finish(self) -> dict[str, Any]:
        """Train what is left, keep the weights, say what was done."""
        rows: list[dict[str, Any]] = []
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self.open_log()) if self.main else None
            batches = self.batches(self.epoch, self.settings.epochs)
            total = self.trainer.total_steps
            bar = stack.enter_context(
                progress_bar(total=total, initial=self.epoch * self.settings.steps_per_epoch, unit="step",
                     desc=self.folder.name, disable=not self.main)
            )  # fmt: skip
            while self.epoch < self.settings.epochs and not self.stopped:
                rows.append(self.train_epoch(batches, log, bar))
        epochs = self.keeper.load_kept(
            self.trainer.model,
            self.batches(self.settings.epochs, self.settings.epochs + 1),
            self.trainer.device,
        )
        if self.main:
            experiment = self.experiment
            save_model(
                self.folder, self.trainer.model, experiment.model,
                input_config=experiment.input, predict_config=experiment.predict,
            )  # fmt: skip
            note_training(self.folder / SETTINGS_FILE, self.facts(epochs, rows))
        self.trainer.accelerator.wait_for_everyone()
        return self.facts(epochs, rows)

    def train_epoch(self, batches: Iterator[Batch], log: TrainingLog | None, bar: ProgressLines) -> dict[str, Any]:
        """One epoch, its validation if due, its line in the log, its state on disk."""
        epoch, settings = self.epoch, self.settings
        row = self.run_steps(batches, bar)
        due = settings.validate_every and (epoch + 1) % settings.validate_every == 0
        scores: dict[str, Any] = {}
        if self.validate is not None and (due or epoch + 1 == settings.epochs):
            scores = dict(self.validate(self.trainer.model)) if self.main else {}
        pictures = {name: scores.pop(name) for name in list(scores) if isinstance(scores[name], np.ndarray)}
        scores = broadcast_object_list([scores])[0]
        if scores:
            row["validation"] = scores
            held_out = {f"held-out {name}": f"{value:.4f}" for name, value in scores.items()}
            bar.set_postfix({"loss": f"{row['loss']:.4f}", **held_out})
        self.stopped = self.keeper.see(epoch, next(iter(scores.values()), None), self.trainer.model)
        self.epoch += 1
        if log is not None:
            log.write(row)
            for name, picture in pictures.items():
                log.picture(name, picture, epoch)
            state = {"trainer": self.trainer.state(), "keeper": self.keeper.state()}
            save_state(self.folder / LAST, {**state, "epoch": self.epoch, "stopped": self.stopped})
        return row

    def run_steps(self, batches: Iterator[Batch], bar: ProgressLines) -> dict[str, Any]:
        """The optimizer steps of one epoch; returns its row for the log."""
        trainer, settings, epoch = self.trainer, self.settings, self.epoch
        trainer.begin_epoch(epoch)
        losses, norms, waited, rate = [], [], 0.0, 0.0
        started = time.perf_counter()
        for index in range(settings.steps_per_epoch):
            before = time.perf_counter()
            taken = [next(batches) for _ in range(settings.accumulate)]
            waited += time.perf_counter() - before
            try:
                result = trainer.step(taken, epoch, index)
            except BadLoss as error:
                self.note_bad_batch(error, index)
                raise
            if not result.skipped:
                losses.append(result.loss)
                norms.append(result.norm)
            rate = result.rate
            bar.set_postfix(loss=f"{result.loss:.4f}", refresh=False)
            bar.update()
        seconds = time.perf_counter() - started
        samples = settings.steps_per_epoch * settings.accumulate * settings.batch_size
        samples *= trainer.accelerator.num_processes
        return {
            "epoch": epoch,
            "loss": float(np.mean(losses)) if losses else float("nan"),
            "gradient_norm": float(np.mean(norms)) if norms else float("nan"),
            "learning_rate": rate,
            "skipped": trainer.skipped,
            "seconds": seconds,
            "images_per_second": samples / seconds,
            "wait_share": waited / seconds,
        }

    def note_bad_batch(self, error: BadLoss, index: int) -> None:
        """Save where the loss broke and which samples every process had."""
        names = gather_object(error.batch_ids)
        if self.main:
            document = {"epoch": self.epoch, "step": index, "message": str(error), "samples": names}
            write_atomic(self.folder / BAD_BATCH, json.dumps(document, indent=1) + "\n")

    def facts(self, epochs: list[int], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What is worth keeping about the training."""
        last = rows[-1] if rows else {}
        return {
            "epochs": self.epoch,
            "stopped_early": self.stopped,
            "kept": self.settings.keep,
            "kept_epochs": epochs or [self.epoch - 1],
            "selected_on_held_out_fold": self.settings.selects,
            "precision": self.trainer.precision,
            "processes": self.trainer.accelerator.num_processes,
            "skipped": self.trainer.skipped,
            "loss": last.get("loss"),
            "validation": last.get("validation"),
            "images_per_second": float(np.mean([row["images_per_second"] for row in rows])) if rows else None,
            "wait_share": float(np.mean([row["wait_share"] for row in rows])) if rows else None,
        }


def note_training(path: Path, facts: Mapping[str, Any]) -> None:
    """Say in `model.json` how the weights were chosen; nothing that predicts reads it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    names = ("kept", "kept_epochs", "selected_on_held_out_fold")
    document["training"] = {name: facts[name] for name in names}
    write_atomic(path, json.dumps(document, indent=2) + "\n")


def worker_count(workers: int | None, device: torch.device) -> int:
    """Loader processes: as asked; else none on a CPU, whose cores the steps need, up to 8 for a GPU."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else max(1, min(8, (os.cpu_count() or 2) - 1))
