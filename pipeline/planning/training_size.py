"""How much a first experiment trains: folds, working scale, patches and steps that memory and time are enough for."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from inference.models import build_model
from pipeline.data.resolution_ceiling import ceilings
from pipeline.experiment import Experiment
from pipeline.planning.images_seen import ImagesSeen, rows_seen
from pipeline.settings.training import LossSettings, TrainSettings
from pipeline.training.loader import Batch
from pipeline.training.trainer import Trainer, start_processes
from submissions.host.competition import Competition
from submissions.host.masks import MaskReader

MULTIPLE = 32  # what the encoder's five halvings need
LARGEST_PATCH, QUICK_PATCH, LEAST_PATCH = 512, 256, 128
SMALLEST_SIDE, LARGEST_SIDE = 96, 2048
BYTES_A_PIXEL = 3000  # of a training patch: activations, gradients and optimizer of the usual model, in fp32
BATCHES = (2, 16)
STEPS, EPOCHS = (10, 200), (8, 20)
STEPS_IN_ALL = {"cpu": 1500, "cuda": 8000}
SAMPLES = 2000  # that a fold should be shown where time is short
QUICK_SCALES = (0.75, 0.5, 0.375)  # of the working size, until there is time for so many
KEPT = 0.95  # of a perfect answer's score at the smaller size
ASKED = 8  # images that say what a smaller size would lose
QUICK_EPOCH = 25  # steps: validations between epochs then take little of the time
IN_STEPS = 0.75  # of the minutes asked for; the rest starts, loads and validates
TIMED = {"cpu": (4, 192), "cuda": (16, 256)}  # samples and side of the batch whose steps are timed
TIMED_STEPS = 5


@dataclass(frozen=True)
class TrainingSize:
    """Folds that are trained, working scale, (height, width) of patches, samples a batch.

    fits: patches that memory holds; patches: of all training images together; pixels: of patches that there is time to
    train on, all folds together, infinite where nobody said so.
    """

    folds: int
    scale: float
    patch: tuple[int, int]
    batch: int
    fits: int
    patches: int
    pixels: float = math.inf

    @property
    def samples(self) -> float:
        """Samples that there is time to show each fold."""
        return self.pixels / (self.folds * self.patch[0] * self.patch[1])

    def epochs(self, device: str) -> tuple[int, int]:
        """Epochs, and steps of each. Raises ValueError where there is no time for the fewest steps."""
        if math.isinf(self.pixels):
            steps = max(STEPS[0], min(STEPS[1], math.ceil(self.patches / self.batch)))
            most = EPOCHS[1] if device == "cpu" else 3 * EPOCHS[1]
            return max(EPOCHS[0], min(most, STEPS_IN_ALL[device] // steps)), steps
        steps = int(self.samples / self.batch)
        if steps < STEPS[0]:
            raise ValueError(
                f"there is time for {steps} step(s) of {self.batch} patches of {self.patch[0]} x {self.patch[1]} on "
                f"{device}, expected time for {STEPS[0]} or more: give --minutes more"
            )
        epochs = max(1, min(EPOCHS[1], steps // QUICK_EPOCH))
        return epochs, steps // epochs


def training_size(
    seen: ImagesSeen, folds: int, scales: Sequence[float], *, memory: float, pixels: float = math.inf
) -> TrainingSize:
    """The size for so many folds and bytes of memory.

    Where there is no time to show each fold SAMPLES samples, it has one fold; where that is not enough, smaller
    patches, then the next of `scales`, and patches that are smaller yet. Where nothing is enough, the least of these.
    """
    *tried, least = [
        (folds, scales[0], LARGEST_PATCH), (1, scales[0], LARGEST_PATCH), *((1, one, QUICK_PATCH) for one in scales),
        (1, scales[-1], LEAST_PATCH),
    ]  # fmt: skip
    for sizes in tried:
        found = _sized(seen, *sizes, memory=memory, pixels=pixels)
        if found.samples >= SAMPLES:
            return found
    return _sized(seen, *least, memory=memory, pixels=pixels)


def _sized(seen: ImagesSeen, folds: int, scale: float, largest: int, *, memory: float, pixels: float) -> TrainingSize:
    patch = _patch(seen, scale, largest)
    area = seen.size[0] * seen.size[1] * scale * scale
    patches = max(1, round(seen.slices * max(1.0, area / (patch[0] * patch[1]))))
    fits = 2 ** int(math.log2(max(1, memory / (BYTES_A_PIXEL * patch[0] * patch[1]))))
    batch = max(BATCHES[0], min(BATCHES[1], fits, 2 ** int(math.log2(max(2, patches // 3)))))
    return TrainingSize(folds, scale, patch, batch, fits, patches, pixels)


def quick_scales(competition: Competition, data: Path, size: tuple[int, int]) -> list[float]:
    """The working scale, and smaller ones at which a perfect answer keeps KEPT of its score on some training images.

    Only the working scale where no image could be asked.
    """
    scale = working_scale(size)
    scales = [round(scale * one, 3) for one in QUICK_SCALES if min(size) * scale * one >= SMALLEST_SIDE]
    masks = MaskReader(competition, data)
    kept: dict[float, list[float]] = {one: [] for one in (scale, *scales)}
    for row in rows_seen(competition, data, ASKED) if scales else ():
        try:
            table = ceilings(competition, masks, [row], list(kept))
        except (ValueError, OSError):  # stage 01 lists them all
            continue
        for one, score in zip(table["scale"], table["score"], strict=True):
            kept[one].append(score)
    if np.isnan(kept[scale]).all():  # or there is none
        return [scale]
    means = {one: float(np.nanmean(scores)) for one, scores in kept.items()}
    return [scale, *(one for one in scales if means[one] >= KEPT * means[scale])]


def working_scale(size: tuple[int, int]) -> float:
    """Small images are enlarged, as the encoder halves them five times; very large ones are worked on at half."""
    if min(size) < SMALLEST_SIDE:
        return round(min(3.0, SMALLEST_SIDE / min(size)), 3)
    return 0.5 if LARGEST_SIDE < max(size) < 4 * LARGEST_SIDE else 1.0


def _patch(seen: ImagesSeen, scale: float, largest: int) -> tuple[int, int]:
    if seen.count == 1:  # windows lie beside the blocks that are held out
        room = (max(seen.size) // 2 - block_buffer(seen.size)) * scale
        side = max(MULTIPLE, min(largest, MULTIPLE * int(room / MULTIPLE)))
        return side, side
    height, width = (min(largest, MULTIPLE * math.ceil(side * scale / MULTIPLE)) for side in seen.size)
    return height, width


def block_buffer(size: tuple[int, int]) -> int:
    """Pixels between a block of one image that is held out and what is trained on."""
    return max(2, min(64, min(size) // 16))


def machine() -> tuple[str, float]:
    """('cuda' or 'cpu', bytes of memory that training may take there)."""
    if torch.cuda.is_available():
        return "cuda", 0.6 * torch.cuda.get_device_properties(0).total_memory
    return "cpu", 0.25 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def pixels_in(minutes: float, experiment: Experiment) -> float:
    """Pixels of patches that an experiment can be trained on in so many minutes here, by the fastest of a few steps.

    A quarter of the minutes is left for what is not steps; what else a processor is doing just now does not count.
    Raises ValueError where `minutes` is not positive.
    """
    if not minutes > 0:
        raise ValueError(f"--minutes is {minutes:g}, expected more than 0")
    accelerator, device = start_processes(None)
    count, side = TIMED[device.type]
    model, classify = experiment.model, experiment.task == "classify"
    loss = LossSettings(name="classify", params={"mode": "sigmoid"}) if classify else LossSettings()
    trainer = Trainer(
        build_model(model), TrainSettings(), loss, accelerator=accelerator, device=device, seed=0,
        in_channels=model.in_channels,
    )  # fmt: skip
    trainer.begin_epoch(0)
    images = torch.randn(count, model.in_channels, side, side).contiguous(memory_format=torch.channels_last)
    target = torch.zeros(count, len(model.classes), *(() if classify else (side, side)))
    batch = Batch(images, target, torch.ones(count), [""] * count)
    clock = _processor_clock if device.type == "cpu" else time.perf_counter
    times = []
    for index in range(TIMED_STEPS):
        began = clock()
        trainer.step([batch], 0, index)
        times.append(clock() - began)
    return IN_STEPS * 60 * minutes * count * side * side / min(times[1:])


def _processor_clock() -> float:
    """Seconds that a thread of this process has computed: those of the clock, were the processor not shared."""
    return time.process_time() / torch.get_num_threads()
