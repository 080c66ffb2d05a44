"""A host of drawn NIfTI volumes with thick slices, and an experiment of three dimensions small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import yaml
from tiny_run import EXPERIMENT

from submissions.rle.codec import Dialect, encode

SPACING = (2.0, 1.0, 1.0)  # z, y, x in mm
SHAPES = [(6, 19, 22), (7, 17, 20), (6, 20, 18), (8, 18, 21)]  # (Z, H, W)

EXPERIMENT_3D: dict[str, Any] = {
    "folds": {"n": 2},
    "input": {"dims": 3, "channels": 1, "mean": [0.5], "std": [0.25], "normalisation": "percentile"},
    "model": {
        "architecture": "unet3d", "weights": "none",
        "options": {"features": [6, 8], "strides": [1, [1, 2, 2]], "depths": [1, 1], "deep_supervision": False},
    },
    "loss": {"name": "ce_dice"},
    "augment": {"recipe": "heavy"},
    "train": {**EXPERIMENT["train"], "epochs": 2, "steps_per_epoch": 3, "patch": [4, 16, 16], "lr": 0.01},
    "predict": {"tile": [4, 16, 16], "views": ["identity", "zflip+hflip"]},
    "tune": {"rounds": 100, "copies": 0},
}  # fmt: skip


def draw_volume(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 and label uint8 (Z, H, W): a bright ball in noise, void at one corner."""
    depth, height, width = SHAPES[number % len(SHAPES)]
    z, y, x = np.meshgrid(np.arange(depth) * 2.0, np.arange(height), np.arange(width), indexing="ij")
    far = (z - depth) ** 2 + (y - 8 - number % 3) ** 2 + (x - 9) ** 2
    label = (far < 30).astype(np.uint8)
    noise = np.random.default_rng(number).integers(0, 60, label.shape)
    image = (label * 120 + noise).astype(np.uint8)
    label[0, :3, :3] = 2  # not labelled
    return image, label


def save_volume(path: Path, array: np.ndarray) -> None:
    """Write (Z, H, W) as NIfTI with the spacing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine), path)


def write_volume_host(folder: Path, *, train: int = 4, test: int = 2) -> dict[str, Any]:
    """Volumes, labels, a sample and a solution of one row per slice; returns the contract as a document."""
    rows = []
    for number in range(train + test):
        image, label = draw_volume(number)
        kind = "train" if number < train else "test"
        save_volume(folder / kind / f"v{number}.nii.gz", image)
        if number < train:
            save_volume(folder / "labels" / f"v{number}.nii.gz", label)
        else:
            rows += [(f"v{number}_{z}", encode(plane == 1, Dialect())) for z, plane in enumerate(label)]
    table = pd.DataFrame(rows, columns=["id", "rle"])
    table.to_csv(folder / "solution.csv", index=False)
    table.assign(rle="1 1").to_csv(folder / "sample_submission.csv", index=False)
    return {
        "name": "drawn3d", "images": {"kind": "volumes", "train": "train/{id}.nii.gz", "test": "test/{id}.nii.gz"},
        "masks": {
            "kind": "images", "path": "labels/{id}.nii.gz", "values": {0: "background", 1: "ball", 2: "void"},
        },
        "classes": ["background", "ball"], "exclusive": True, "metric": {"name": "dice", "classes": ["ball"]},
        "submission": {"id_template": "{id}_{z}"},
    }  # fmt: skip


def write_volume_experiment(folder: Path, *, name: str = "tiny", **change: Any) -> list[str]:
    """Host, contract and experiment under `folder` (the host once); returns the arguments that every stage takes."""
    if not (folder / "data").exists():
        contract = write_volume_host(folder / "data")
        (folder / "drawn3d.yaml").write_text(yaml.safe_dump(contract))
    document = {"name": name, "competition": str(folder / "drawn3d.yaml"), **EXPERIMENT_3D, **change}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs")]
    return [str(folder / f"{name}.yaml"), *places, "--device", "cpu"]
