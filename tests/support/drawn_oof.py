"""Drawn out-of-fold predictions: discs, and noisy probabilities of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.scores.criteria import Criteria, tuning_metric
from submissions.host.competition import Competition
from submissions.host.masks import Truth


@dataclass
class DrawnItem:
    """An item whose arrays are in memory."""

    image_id: str
    fold: int
    given: np.ndarray
    true: Truth
    group: str = ""
    stratum: str = "all"
    stack: str = ""
    z: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    block: None = None

    def probs(self) -> np.ndarray:
        """uint8 (C, H, W) or (C, Z, H, W)."""
        return self.given

    def truth(self) -> Truth:
        """What was drawn."""
        return self.true


def discs(rng: np.random.Generator, shape: tuple[int, int], number: int) -> np.ndarray:
    """int32 (H, W): instances 1..n, later ones over earlier ones."""
    label = np.zeros(shape, np.int32)
    row, col = np.ogrid[: shape[0], : shape[1]]
    for n in range(number):
        centre, radius = rng.integers(0, shape), rng.integers(3, 7)
        label[(row - centre[0]) ** 2 + (col - centre[1]) ** 2 <= radius**2] = n + 1
    return label


def noisy(rng: np.random.Generator, mask: np.ndarray, *, on: float = 0.62, off: float = 0.2) -> np.ndarray:
    """uint8: probabilities around `on` inside the mask and `off` outside, with noise."""
    centre = np.where(mask, on, off)
    return np.rint(255 * np.clip(centre + rng.normal(0, 0.12, mask.shape), 0, 1)).astype(np.uint8)


def draw_items(
    number: int = 24,
    *,
    classes: int = 1,
    folds: int = 3,
    seed: int = 0,
    instances: bool = False,
    empty_every: int = 0,
    on: float = 0.62,
) -> list[DrawnItem]:
    """Images of unequal, non-square size; a group is two images, a stratum half of the groups."""
    rng, items = np.random.default_rng(seed), []
    for n in range(number):
        shape = (30 + n % 3, 41 + n % 4)
        none = empty_every and n % empty_every == 0
        labels = [discs(rng, shape, 0 if none else 4) for _ in range(classes)]
        planes = np.stack([label > 0 for label in labels])
        probs = np.stack([noisy(rng, plane, on=on) for plane in planes])
        truth = Truth(planes[:, None], None, labels[0][None] if instances else None)
        items.append(
            DrawnItem(f"im{n:03d}", n // 2 % folds, probs, truth, group=f"g{n // 2}", stratum="ab"[n // 2 % 2])
        )
    return items


def draw_exclusive(number: int = 12, *, folds: int = 3, seed: int = 0) -> list[DrawnItem]:
    """Images of three classes that exclude each other, the first of them background; some pixels are void."""
    rng, items = np.random.default_rng(seed), []
    for n in range(number):
        shape = (26, 35 + n % 3)
        label = np.minimum(discs(rng, shape, 4), 2)
        planes = np.arange(3)[:, None, None] == label
        valid = rng.random(shape) > 0.05
        scores = np.stack([noisy(rng, plane, on=0.5) for plane in planes]).astype(float)
        probs = np.rint(255 * scores / scores.sum(axis=0)).astype(np.uint8)
        truth = Truth((planes & valid)[:, None], valid[None])
        items.append(DrawnItem(f"im{n:03d}", n % folds, probs, truth, group=f"g{n}"))
    return items


def drawn_contract(metric: str = "dice", **more: Any) -> Competition:
    """A contract for drawn items; `rows` says what a submission row is, None leaves the submission out."""
    rows = more.pop("rows", "image")
    params = more.pop("params", {})
    document: dict[str, Any] = {
        "name": "drawn",
        "images": {"train": "train/{id}.png", "test": "test/{id}.png"},
        "masks": {"kind": "rle", "table": {"file": "train.csv"}, "instances": more.pop("instances", False)},
        "classes": ["disc"],
        "metric": {"name": metric, "params": params, "unit": more.pop("unit", "image")},
        **more,
    }
    if rows is not None:
        document["submission"] = {"rows": rows}
        if rows == "image_class":
            document["submission"]["class_column"] = "class"
    return Competition.model_validate(document)


def drawn_criteria(
    contract: Competition, channels: Sequence[str] | None = None, workers: int = 1, **tune: Any
) -> Criteria:
    """Criteria of this contract with these settings of `tune`; the channels are the classes where none are given."""
    settings = TuneSettings.model_validate({"rounds": 100, **tune})
    return Criteria(contract, tuning_metric(contract, settings), settings, channels or contract.classes, workers)
