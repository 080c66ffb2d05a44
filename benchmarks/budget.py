"""Where the processor time of a whole run goes, stage by stage, beside the floor: the network's own passes.

    python benchmarks/budget.py tgs-salt --data ../shared/data/tgs-salt --steps 40
    python benchmarks/budget.py dsb2018 --data ../shared/data/dsb2018 --steps 20

Stages 01 to 07 run in this process; every batch that a network sees is counted by its shape, and afterwards the same
passes are timed alone: forward and backward of the training's batches, forward of those of the predictions. `--steps`
trains one epoch of so many; the last column scales what a step takes to the experiment's own number of steps. Views and
the rest of the settings are the experiment's, but `--set` changes any.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from inference.predict import members
from inference.predict.members import ReadyMember
from inference.predict.precision import DTYPES
from pipeline.experiment import load_experiment
from pipeline.sequence import STAGES, run_stage_named
from pipeline.training.trainer import Trainer

REPEATS = 3


class Passes:
    """What networks were shown while stages ran, and what it takes alone."""

    def __init__(self) -> None:
        self.shown: Counter[tuple[int, ...]] = Counter()
        self.member: ReadyMember | None = None
        self.trainer: Trainer | None = None
        self.batch: Any = None
        self.steps, self.step_seconds = 0, 0.0

    def watching(self) -> mock._patch[Any]:
        """A patch under which predictions are counted."""
        inside = members._forward

        def counted(member: ReadyMember, x: torch.Tensor, batch_size: int) -> torch.Tensor:
            self.member = member
            self.shown[(batch_size, *x.shape)] += 1
            return inside(member, x, batch_size)

        return mock.patch.object(members, "_forward", counted)

    def watching_steps(self) -> mock._patch[Any]:
        """A patch under which steps of training are counted and timed."""
        inside = Trainer.step

        def counted(trainer: Trainer, batches: Any, epoch: int, index: int) -> Any:
            self.trainer, self.batch = trainer, batches[0]
            began = time.process_time()
            found = inside(trainer, batches, epoch, index)
            self.step_seconds += time.process_time() - began
            self.steps += 1
            return found

        return mock.patch.object(Trainer, "step", counted)

    @torch.inference_mode()
    def predicting(self) -> float:
        """Processor seconds of the passes that were counted, the network alone."""
        total = 0.0
        for (batch_size, *shape), count in self.shown.items():
            assert self.member is not None
            member, x = self.member, torch.randn(shape).to(self.member.dtype)
            total += count * fastest(lambda member=member, x=x, size=batch_size: members._forward(member, x, size))
        return total

    def training(self) -> float:
        """Processor seconds of forward and backward of one step."""
        if self.trainer is None:
            return 0.0
        net, dtype, images = self.trainer.net, DTYPES[self.trainer.precision], self.batch.images

        def once() -> None:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                made = net(images)
            sum((one.float().mean() for one in tensors_of(made)), torch.zeros(())).backward()

        return fastest(once)


def tensors_of(made: Any) -> list[torch.Tensor]:
    """What a network in training gives: a tensor, or several under names or in order, one within another."""
    if isinstance(made, torch.Tensor):
        return [made]
    parts = made.values() if isinstance(made, dict) else made
    return [one for part in parts for one in tensors_of(part)]


def fastest(work: Callable[[], Any]) -> float:
    """Least processor seconds of a few runs, after one that makes its buffers."""
    work()
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def run_stage(number: str, words: list[str]) -> tuple[float, Passes]:
    """Processor seconds of a stage, and what its networks were shown."""
    passes, began = Passes(), time.process_time()
    with passes.watching(), passes.watching_steps():
        run_stage_named(STAGES[number], words)
    return time.process_time() - began, passes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40, help="steps of training, in one epoch and one fold")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    train = load_experiment(arguments.experiment).train
    full = train.epochs * train.steps_per_epoch
    settings = [
        "train.workers=0",
        "train.epochs=1",
        f"train.steps_per_epoch={arguments.steps}",
        "folds.use=[0]",
        *arguments.set,
    ]
    rows: list[tuple[str, float, float, float, float]] = []
    with tempfile.TemporaryDirectory() as runs:
        words = [arguments.experiment, "--data", str(arguments.data), "--runs", runs, "--workers", "0"]
        words += [word for setting in settings for word in ("--set", setting)]
        for number, name in STAGES.items():
            seconds, passes = run_stage(number, words)
            step, floor = passes.training(), passes.predicting()
            more = full - passes.steps if passes.steps else 0
            longer = more * passes.step_seconds / max(1, passes.steps)
            rows.append(
                (name, seconds, floor + passes.steps * step, seconds + longer, floor + (passes.steps + more) * step)
            )
            print(f"{name}: {seconds:.1f} s, the network alone {rows[-1][2]:.1f} s", flush=True)
    print(f"| {arguments.experiment} | {arguments.steps} steps: s | network alone | {full} steps: s | network alone |")
    print("|---|---|---|---|---|")
    totals = [sum(row[column] for row in rows) for column in range(1, 5)]
    for name, *values in [*rows, ("all", *totals)]:
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    print(f"over the network alone: {totals[0] / totals[1] - 1:.0%}, with all steps {totals[2] / totals[3] - 1:.0%}")


if __name__ == "__main__":
    main()
