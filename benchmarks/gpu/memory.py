"""Part 5: a batch that does not fit: the largest that does is found, and training goes on with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.models import draw_batch
from benchmarks.gpu.place import T4_BYTES, Place, limit_memory
from benchmarks.gpu.rows import Row
from inference.config import ModelConfig
from inference.models import build_model
from pipeline.settings.training import LossSettings, TrainSettings
from pipeline.training.trainer import Trainer, start_processes

LIMIT = 6e9  # bytes that the process may have of a GPU, so that a batch of some hundreds is too large
MOST_ON_CPU = 5  # samples, beyond which a CPU plays a GPU whose memory is full


class Full(nn.Module):
    """A network on a CPU that says what a GPU says of too many samples."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        """As the network; raises torch.OutOfMemoryError for more than `MOST_ON_CPU` samples."""
        if len(x) > MOST_ON_CPU:
            raise torch.OutOfMemoryError("CUDA out of memory (played)")
        return self.model(x)


def run(place: Place) -> Iterator[Row]:
    """From the sentence about the batch to steps with the one it names."""
    side, asked = (64, 16) if place.small else (256, 1024)
    limit_memory(place, LIMIT)
    try:
        sentence = refusal(place, side, asked)
        yield Row("said of the batch that is too large", sentence)
        found = re.search(r"batch_size=(\d+)", sentence)
        if found is None:
            raise RuntimeError(f"no batch is named: {sentence}")
        fits = int(found[1])
        yield Row(f"largest batch of {side} x {side} that fits, of {asked}", fits, "samples", 1)
        yield Row("steps made with it afterwards", len(_steps(place, side, fits)), "steps", 3)
    finally:
        limit_memory(place, T4_BYTES if place.pretend else 1e15)


def refusal(place: Place, side: int, asked: int) -> str:
    """What the first step with a batch says; RuntimeError where it fits."""
    try:
        _steps(place, side, asked)
    except ValueError as error:
        return str(error)
    raise RuntimeError(f"a batch of {asked} fits into {LIMIT / 1e9:g} GB")


def _steps(place: Place, side: int, size: int) -> list[float]:
    settings = TrainSettings(epochs=1, steps_per_epoch=3, batch_size=size)
    accelerator, device = start_processes(str(place.device))
    model: nn.Module = build_model(ModelConfig(architecture="unet", encoder="tf_efficientnet_b0"))
    trainer = Trainer(
        Full(model) if place.small else model, settings, LossSettings(),
        accelerator=accelerator, device=device, seed=0, in_channels=3,
    )  # fmt: skip
    trainer.begin_epoch(0)
    batch = draw_batch(2, side).first(size)
    return [trainer.step([batch], 0, index).loss for index in range(3)]
