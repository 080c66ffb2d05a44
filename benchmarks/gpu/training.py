"""Part 3: training beside the smp recipe, what a step waits for data, compiled and with CUDA graphs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from benchmarks.gpu.place import Place
from benchmarks.gpu.rows import Row
from benchmarks.peers import smp_recipe
from benchmarks.prediction_speed import draw_discs
from benchmarks.training_speed import Ours
from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment
from pipeline.training.fold_training import worker_count

ENCODER, COUNT = "tf_efficientnet_b0", 48
MODEL = {"architecture": "unet", "encoder": ENCODER, "weights": "none"}


class Side(Protocol):
    """A training that is asked for one step after the other."""

    def step(self) -> float:
        """One batch; returns its loss."""
        ...


def run(place: Place) -> Iterator[Row]:
    """EfficientNet-B0 Unet, batches of 16 patches of 512 x 512; on a CPU 2 of 64 x 64."""
    size, batch, steps, rounds = sizes(place)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store, names = write_data(folder, size, 6 if place.small else COUNT)
        ours = ours_of(place, store, names, size=size, batch=batch, steps=steps * rounds + 8)
        yield from _beside_the_recipe(place, ours, folder, batch=batch, steps=steps, rounds=rounds, size=size)
        yield Row("loader processes of either side", worker_count(None, place.device) or 2)


def sizes(place: Place) -> tuple[int, int, int, int]:
    """Side of a patch, batch, steps a round, rounds."""
    return (64, 2, 2, 1) if place.small else (512, 16, 20, 3)


def _beside_the_recipe(
    place: Place, ours: Ours, folder: Path, *, batch: int, steps: int, rounds: int, size: int
) -> Iterator[Row]:
    total, workers = steps * rounds + 8, worker_count(None, place.device) or 2
    sides: dict[str, Side] = {"ours": ours}
    for name, amp in (("smp recipe", False), *([] if place.small else [("smp recipe under fp16 autocast", True)])):
        sides[name] = smp_recipe.Recipe(
            folder, steps=total, size=size, batch=batch, encoder=None, name=ENCODER, device=str(place.device), amp=amp,
            workers=workers,
        )  # fmt: skip
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.step()
    ours.waited = spent = 0.0
    place.forget_peak()
    for _ in range(rounds):
        for name, side in sides.items():
            taken = place.seconds(lambda side=side: [side.step() for _ in range(steps)])
            speeds[name].append(batch * steps / taken)
            spent += taken if name == "ours" else 0.0
    for name, found in speeds.items():
        yield Row(f"{name}: {size} x {size}, batches of {batch}", statistics.median(found), "images/s")
    yield Row("ours: waiting for data", ours.waited / spent, "of the time", place.bar(0.05), below=True)
    for name in list(speeds)[1:]:
        ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds[name], strict=True))
        yield Row(f"times faster than the {name}", ratio, "", place.bar(1.5))
    yield Row("peak memory of all sides together", place.peak_gb(), "GB")
    yield Row("precision of ours", ours.trainer.precision)


def write_data(folder: Path, size: int, count: int) -> tuple[Store, list[str]]:
    """Drawn images a quarter larger than a patch, as PNG files for the recipe and as a store for ours."""
    store = create_store(folder / "store")
    names = [f"image{number:03d}" for number in range(count)]
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for number, name in enumerate(names):
        image, mask = draw_discs(size * 5 // 4, number)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask.astype(np.uint8) * 255)
        store.write(name, image[None], mask[None, None].astype(np.uint8))
    return store, names


def ours_of(
    place: Place, store: Store, names: list[str], *, size: int, batch: int, steps: int, model: dict[str, Any] = MODEL
) -> Ours:
    """Our side on this device, with as many loader processes as a training takes there."""
    settings = Experiment(
        name="speed", competition="drawn", model=model,
        train={"epochs": 1, "steps_per_epoch": steps, "batch_size": batch, "patch": (size, size), "ema": 0.9},
    )  # fmt: skip
    workers = worker_count(None, place.device)
    return Ours(settings, store, names, device=str(place.device), workers=workers, pin=not place.small)
