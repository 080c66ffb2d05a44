"""Greedy selection of an ensemble: eight runs of 800 drawn images of 101 x 101, three folds; seconds.

python benchmarks/selection_speed.py [--runs 8] [--images 800]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.search.ensemble_selection import select_ensemble
from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.scores.criteria import Criteria
from submissions.host.competition import load_competition
from submissions.host.masks import Truth
from submissions.metrics import build_metric

SIDE = 101


@dataclass(frozen=True)
class Drawn:
    """An image with a prediction of it, both in memory."""

    image_id: str
    fold: int
    group: str
    said: np.ndarray
    true: np.ndarray
    stratum: str = ""
    stack: str = ""
    z: int = 0
    block: None = None

    @property
    def fields(self) -> dict[str, Any]:
        return {}

    def probs(self) -> np.ndarray:
        return self.said

    def truth(self) -> Truth:
        return Truth(self.true[:, None])


def draw(runs: int, images: int) -> dict[str, list[Drawn]]:
    """Runs whose errors are independent; each is noisier than the one before."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Drawn]] = {f"run{number}": [] for number in range(runs)}
    for index in range(images):
        true = np.zeros((1, SIDE, SIDE), bool)
        top, left = rng.integers(0, SIDE - 40, 2)
        true[0, top : top + 40, left : left + 30] = True
        for number, items in enumerate(found.values()):
            noisy = 128 + 70 * (true * 2.0 - 1) + rng.normal(0, 60 + 5 * number, true.shape)
            said = np.clip(noisy, 0, 255).astype(np.uint8)
            items.append(Drawn(f"i{index:05d}", index % 3, f"i{index:05d}", said, true))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--images", type=int, default=800)
    arguments = parser.parse_args()
    library = draw(arguments.runs, arguments.images)
    criteria = Criteria(load_competition("tgs-salt"), build_metric("dice"), TuneSettings(), ["salt"])
    began = time.perf_counter()
    found = select_ensemble(criteria, library, dict.fromkeys(library, 1.0))
    print(f"{time.perf_counter() - began:.1f} s; chosen {found.counts}, nested {found.nested:.4f} ({found.single:.4f})")


if __name__ == "__main__":
    main()
