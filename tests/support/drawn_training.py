"""A drawn competition for tests of training; also a script that one or several processes run.

torchrun --nproc_per_node 2 tests/support/drawn_training.py STORE FOLDER BATCH
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.store import Store, create_store, open_store
from pipeline.data.volume_index import write_box_index
from pipeline.experiment import Experiment
from pipeline.training.fold_training import train_fold

COUNT = 6
VOLUME_PATCH = (4, 16, 16)


def draw_store(folder: Path) -> Store:
    """Images of 40 x 56 with a bright rectangle on noise, and its mask; the last one is empty."""
    store = create_store(folder, "memmap")
    generator = np.random.default_rng(3)
    for number in range(COUNT):
        image = generator.integers(0, 80, (1, 40, 56, 3), dtype=np.uint8)
        mask = np.zeros((1, 1, 40, 56), np.uint8)
        top, left = 4 + 3 * number, 6 + 4 * number
        if number < COUNT - 1:
            mask[0, 0, top : top + 12, left : left + 16] = 1
        image[mask[:, 0] == 1] += 120
        store.write(f"im{number}", image, mask)
    return store


def draw_volume_store(folder: Path) -> Store:
    """Volumes of 6 x 20 x 26 with a bright box in noise, its label, and the patch index."""
    store = create_store(folder, "memmap")
    generator = np.random.default_rng(4)
    for number in range(COUNT):
        image = generator.integers(0, 80, (6, 20, 26, 1), dtype=np.uint8)
        label = np.zeros((6, 20, 26), np.uint8)
        label[1:4, 2 + number : 9 + number, 5:15] = 1
        image[label == 1] += 120
        store.write(f"im{number}", image, label)
    write_box_index(store, VOLUME_PATCH, ["background", "box"])
    return store


def drawn_volume_experiment(**train: Any) -> Experiment:
    """A 3D network, with nothing in it that depends on the batch, and SGD."""
    chosen = {
        "epochs": 2, "steps_per_epoch": 2, "batch_size": 2, "patch": VOLUME_PATCH, "precision": "fp32", "ema": 0.9,
        "optimizer": "sgd", "lr": 0.01, **train,
    }  # fmt: skip
    options = {"features": [4, 6, 8], "strides": [1, [1, 2, 2], 2], "depths": [1, 1, 1], "deep_supervision": True}
    classes = ["background", "box"]
    return Experiment(
        name="drawn",
        competition="drawn",
        model={
            "architecture": "unet3d", "in_channels": 1, "classes": classes, "activation": "softmax", "weights": "none",
            "options": options,
        },
        input={"dims": 3, "channels": 1, "mean": [0.5], "std": [0.25]},
        loss={"name": "ce_dice"},
        train=chosen,
        augment={"recipe": "light"},
        predict={"tile": VOLUME_PATCH},
    )  # fmt: skip


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The inventory and two folds."""
    names = [f"im{number}" for number in range(COUNT)]
    inventory = pd.DataFrame({"image_id": names, "split": "train", "stack": names, "z": 0})
    inventory["empty"] = [0] * (COUNT - 1) + [1]
    inventory["site"] = ["a"] * (COUNT - 2) + ["b"] * 2
    folds = pd.DataFrame({"image_id": names, "fold": np.arange(COUNT) % 2, "excluded_from": ""})
    return inventory, folds


def drawn_experiment(norm: str = "batch", **train: Any) -> Experiment:
    """A network small enough to train in a second."""
    chosen = {
        "epochs": 3,
        "steps_per_epoch": 2,
        "batch_size": 2,
        "patch": (32, 48),
        "precision": "fp32",
        "ema": 0.9,
        "lr": 0.003,
        **train,
    }
    model = {"architecture": "plain_unet", "options": {"channels": [8, 16, 24], "norm": norm}}
    return Experiment(
        name="drawn",
        competition="drawn",
        model=model,
        input={"mean": [0.5], "std": [0.25]},
        train=chosen,
        augment={"recipe": "none"},
    )


def train_drawn(store: Store, folder: Path, experiment: Experiment, **options: Any) -> dict[str, Any]:
    """Train fold 0 on the CPU."""
    inventory, folds = tables()
    return train_fold(
        experiment, 0, store=store, folds=folds, inventory=inventory, folder=folder, device="cpu", **options
    )


def main() -> None:
    """Train without anything that depends on the batch: group norm, SGD, float32; the encoder joins late."""
    store, folder, batch = open_store(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    experiment = (
        drawn_volume_experiment(batch_size=batch)
        if store.image("im0").shape[0] > 1
        else drawn_experiment(
            "group", batch_size=batch, optimizer="sgd", lr=0.01, validate_every=2, freeze="encoder", freeze_epochs=1
        )
    )
    facts = train_drawn(store, folder, experiment, validate=lambda model: {"dice": 0.5})
    with (folder / f"process_{os.environ['RANK']}.json").open("x") as file:
        json.dump(facts, file)


if __name__ == "__main__":
    main()
