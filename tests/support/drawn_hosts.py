"""Tiny competitions on disk, laid out as hosts do; drawn, non-square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from submissions.host.competition import Competition
from submissions.host.settings import validate
from submissions.rle.codec import Dialect, encode

SHAPE = (40, 56)


def draw_mask(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """bool (H, W): one or two discs and a bar, never symmetric."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for _ in range(2):
        centre = (int(rng.integers(8, shape[1] - 8)), int(rng.integers(8, shape[0] - 8)))
        cv2.circle(mask, centre, int(rng.integers(4, 8)), 1, -1)
    mask[3:6, 4:20] = 1
    return mask.astype(bool)


def draw_image(mask: np.ndarray, seed: int) -> np.ndarray:
    """uint8 (H, W, 3): bright where the mask is, with noise."""
    rng = np.random.default_rng(seed)
    grey = np.where(mask, 180, 60) + rng.integers(-20, 20, mask.shape)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def write(path: Path, pixels: np.ndarray) -> None:
    """Write an image, as OpenCV has its channels (BGR), into a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def white(mask: np.ndarray) -> np.ndarray:
    """uint8: 255 where the mask is."""
    return mask.astype(np.uint8) * 255


def write_rle_host(folder: Path, *, train: int = 8, test: int = 3, empty: int = 1) -> Competition:
    """train/, test/, train.csv with runs (the last `empty` ones blank), sample and solution."""
    dialect = Dialect()
    rows, solution = [], []
    for split, count in (("train", train), ("test", test)):
        (folder / split).mkdir(parents=True)
        for index in range(count):
            seed = index if split == "train" else 100 + index
            mask = draw_mask(seed)
            if split == "train" and index >= train - empty:
                mask = np.zeros(SHAPE, bool)
            name = f"{split}{index:02d}"
            cv2.imwrite(str(folder / split / f"{name}.png"), draw_image(mask, seed))
            (rows if split == "train" else solution).append({"id": name, "rle": encode(mask, dialect)})
    table = pd.DataFrame(rows).assign(patient=[f"p{index // 2}" for index in range(train)])
    table.to_csv(folder / "train.csv", index=False)
    truth = pd.DataFrame(solution, columns=["id", "rle"])
    truth.to_csv(folder / "solution.csv", index=False)
    truth.assign(rle="1 1").to_csv(folder / "sample_submission.csv", index=False)
    return rle_contract()


def rle_contract(**change: Any) -> Competition:
    """The contract of `write_rle_host`."""
    document: dict[str, Any] = {
        "name": "drawn",
        "images": {"train": "train/{id}.png", "test": "test/{id}.png"},
        "tables": [{"file": "train.csv"}],
        "masks": {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle"},
        "classes": ["thing"],
        "group": "patient",
        "metric": {"name": "dice"},
        "submission": {},
    }
    return validate(Competition, {**document, **change}, "drawn.yaml")
