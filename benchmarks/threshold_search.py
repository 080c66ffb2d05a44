"""Seconds that stage 06 takes for predictions of the size of Data Science Bowl 2018's: 590 drawn images.

    python benchmarks/threshold_search.py                    # a pixel-count metric, 256 thresholds, 1,000 rounds
    python benchmarks/threshold_search.py --rules all        # every rule that follows from pixel counts
    python benchmarks/threshold_search.py --instances        # watershed, twelve candidates, the host's metric

Probabilities and masks are drawn, written to a temporary folder as stage 05 does, and read back image by image.
Wall-clock and processor seconds are printed: on a machine that others use as well, the second is the one to read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from paced import processor_seconds

from inference.predict.store import open_prediction, write_prediction
from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.scores.criteria import Criteria, tuning_metric
from pipeline.tuning.search import tune
from submissions.host.competition import Competition
from submissions.host.masks import Truth

SIZES = {(256, 256): 334, (256, 320): 112, (520, 696): 92, (360, 360): 16, (1024, 1024): 16, (512, 640): 19}
LARGEST = {(1040, 1388): 1}


@dataclass(frozen=True)
class StoredItem:
    """A drawn image on disk."""

    image_id: str
    fold: int
    folder: Path
    stratum: str = "all"
    stack: str = ""
    z: int = 0
    block: None = None

    @property
    def group(self) -> str:
        """Each image is its own."""
        return self.image_id

    @property
    def fields(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def probs(self) -> np.ndarray:
        """uint8 (1, H, W)."""
        with open_prediction(self.folder / f"{self.image_id}.h5") as prediction:
            return prediction.read()

    def truth(self) -> Truth:
        """Instances of the drawn discs."""
        label = cv2.imread(str(self.folder / f"{self.image_id}.png"), cv2.IMREAD_UNCHANGED).astype(np.int32)
        return Truth((label > 0)[None, None], None, label[None])


def draw(folder: Path) -> list[StoredItem]:
    """590 images of touching discs, about one for every 1,600 pixels, and noisy probabilities of them."""
    rng, items = np.random.default_rng(0), []
    shapes = [shape for shape, number in (SIZES | LARGEST).items() for _ in range(number)]
    for n, shape in enumerate(shapes):
        label = np.zeros(shape, np.uint16)
        for k in range(max(4, shape[0] * shape[1] // 1600)):
            row, col = (int(rng.integers(0, size)) for size in shape)
            cv2.circle(label, (col, row), int(rng.integers(5, 14)), k + 1, -1)
        noise = cv2.GaussianBlur(rng.normal(0, 4, shape), (0, 0), 3)
        smooth = cv2.GaussianBlur((label > 0).astype(np.float64), (0, 0), 1.5)
        probs = np.rint(255 / (1 + np.exp(-9 * (smooth - 0.45) - noise))).astype(np.uint8)
        write_prediction(folder / f"im{n:04d}.h5", probs[None], ["nucleus"])
        cv2.imwrite(str(folder / f"im{n:04d}.png"), label)
        items.append(StoredItem(f"im{n:04d}", n % 5, folder))
    return items


def main() -> None:
    """Draw, tune, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", action="store_true", help="the metric over instances, by watershed")
    parser.add_argument("--rules", choices=["global", "all"], default="global")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    name = "dsb2018_precision" if arguments.instances else "dice"
    contract = Competition.model_validate(
        {
            "name": "drawn",
            "images": {"train": "{id}.png"},
            "masks": {"kind": "images", "path": "{id}.png", "instances": True},
            "classes": ["nucleus"],
            "metric": {"name": name},
        }
    )
    rules = None if arguments.rules == "all" or arguments.instances else ["global"]
    settings = TuneSettings(rules=rules)
    metric = tuning_metric(contract, settings)
    criteria = Criteria(contract, metric, settings, contract.classes, arguments.workers)
    with tempfile.TemporaryDirectory() as folder:
        items = draw(Path(folder))
        before, started = processor_seconds(), time.perf_counter()
        result = tune(criteria, items)
        seconds, processor = time.perf_counter() - started, processor_seconds() - before
    print(f"{len(items)} images, {metric.name}, {len(result.rules)} rule(s), {settings.rounds} bootstrap rounds")
    print(f"{seconds:.1f} s with {arguments.workers} processes; {processor:.1f} s of processor time")
    print(f"{result.chosen.name} {result.chosen.fit.values}: {result.cv:.4f}, nested {result.nested:.4f}")


if __name__ == "__main__":
    main()
