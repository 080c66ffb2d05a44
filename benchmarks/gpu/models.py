"""Part 4: the ten largest networks of the table, and all of three dimensions, learn two drawn samples."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.place import Place
from benchmarks.gpu.rows import Row
from benchmarks.prediction_speed import draw_discs
from inference.config import ModelConfig
from inference.models import MODELS, build_model
from inference.models.figures import read_figures
from pipeline.settings.training import LossSettings, TrainSettings
from pipeline.training.loader import Batch
from pipeline.training.trainer import Trainer, start_processes

LARGEST, EPOCHS = 10, 2
SIDE, BOX, SAMPLES = 256, (32, 96, 96), 2


def chosen(place: Place) -> list[str]:
    """Names of networks that segment, the largest first; on a CPU the two lightest of two and of three dimensions."""
    names = [name for name, row in MODELS.items() if row.task == "segment"]
    names = [name for name in names if name != "maskformer" or importlib.util.find_spec("transformers")]
    if place.small:
        light = sorted(names, key=lambda name: read_figures()[name][1])
        return [next(name for name in light if MODELS[name].dims == dims) for dims in (2, 3)]
    large = sorted(names, key=lambda name: -read_figures()[name][0])
    return large[:LARGEST] + [name for name in large[LARGEST:] if MODELS[name].dims == 3]


def run(place: Place) -> Iterator[Row]:
    """Mean loss of the second epoch over that of the first, and the peak memory; what does not fit says so."""
    for name in chosen(place):
        place.forget_peak()
        try:
            first, second = learn(place, name)
        except (RuntimeError, ValueError) as error:
            yield Row(f"{name}: failed", str(error)[:200])
            continue
        finally:
            gc.collect()
        yield Row(f"{name}: loss of epoch 2 by that of epoch 1", second / first, "", 1.0, below=True)
        yield Row(f"{name}: {read_figures()[name][0] / 1e6:.0f} M parameters, peak memory", place.peak_gb(), "GB")


def learn(place: Place, name: str) -> tuple[float, float]:
    """Mean losses of two epochs on one batch."""
    steps = 3 if place.small else 8
    row = MODELS[name]
    config = ModelConfig(architecture=name, **({"encoder": row.encoder} if row.takes_encoder else {}))
    settings = TrainSettings(epochs=EPOCHS, steps_per_epoch=steps, batch_size=SAMPLES, lr=3e-4, warmup=0.0)
    accelerator, device = start_processes(str(place.device))
    torch.manual_seed(0)
    trainer = Trainer(
        build_model(config), settings, LossSettings(), accelerator=accelerator, device=device, seed=0, in_channels=3
    )
    batch, losses = draw_batch(row.dims, 64 if place.small else SIDE), []
    for epoch in range(EPOCHS):
        trainer.begin_epoch(epoch)
        losses.append(np.mean([trainer.step([batch], epoch, index).loss for index in range(steps)]))
    return float(losses[0]), float(losses[1])


def draw_batch(dims: int, side: int) -> Batch:
    """Two drawn samples with their masks, as the loader gives them."""
    pairs = [draw_discs(side, number) for number in range(SAMPLES)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])).float().permute(0, 3, 1, 2) / 255 - 0.5
    target = torch.from_numpy(np.stack([mask[None] for _, mask in pairs]).astype(np.uint8))
    if dims == 3:
        images, target = _deep(images), _deep(target)
    return Batch(images.contiguous(), target.contiguous(), torch.ones(SAMPLES), [str(n) for n in range(SAMPLES)])


def _deep(planes: Tensor) -> Tensor:
    """Planes as slices of a volume, images with grain of their own."""
    depth, height, width = (min(size, planes.shape[-1]) for size in BOX)
    volume = planes[:, :, None, :height, :width].repeat(1, 1, depth, 1, 1)
    return volume + 0.1 * torch.randn_like(volume) if volume.is_floating_point() else volume
