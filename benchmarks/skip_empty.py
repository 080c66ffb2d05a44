"""What leaving out empty images would gain: a first pass at a quarter of the side says where there is nothing.

python benchmarks/skip_empty.py RUN --data DIR [--images 401]      held-out images of a run's fold, whole images

An image is left out where the first pass nowhere reaches q. The largest q is learned on half of the images by which
their mean Dice (1 where nothing is and nothing is said) falls by at most 0.001 at the upper end of a 95 % interval; the
other half says what it leaves out, saves and loses. Processor seconds; the first pass is counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pairs import dice

from inference.predict.members import ReadyMember
from inference.predict.predictor import predict_image, prepare_members
from inference.predict.store import open_prediction
from inference.weights import LoadedModel, load_model
from pipeline.report.finished_run import open_finished
from submissions.host.listed_images import ListedImages
from submissions.images.readers import ImageReader

QUARTER, LOST, ROUNDS = 0.25, 0.001, 2000


@dataclass(frozen=True)
class Tried:
    """One image: the first pass's highest q, Dice of the full pass and of nothing, seconds of both passes."""

    top: int
    full_dice: float
    empty_dice: float
    full: float
    first: float

    def lost(self, q: int) -> float:
        """Dice lost where the image is left out below q."""
        return self.full_dice - self.empty_dice if self.top < q else 0.0


def predicted(ready: list[ReadyMember], reader: ImageReader) -> tuple[np.ndarray, float]:
    """q uint8 (H, W) of the first class, and processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        report = predict_image(ready, reader, [0], None, Path(folder) / "image.h5")
        seconds = time.process_time() - began
        with open_prediction(report.path) as prediction:
            return prediction.read(0), seconds


def quartered(model: LoadedModel) -> LoadedModel:
    """The model that sees a quarter of the side, by one view."""
    config = model.input_config.model_copy(update={"scale": model.input_config.scale * QUARTER})
    plain = model.predict_config.model_copy(update={"views": ["identity"]})
    return replace(model, input_config=config, predict_config=plain)


def learned(images: list[Tried]) -> int:
    """The largest q by which these images lose at most LOST, at the upper end of the interval of their mean."""
    drawn = np.random.default_rng(0).integers(0, len(images), (ROUNDS, len(images)))
    for q in range(250, 0, -5):
        lost = np.array([one.lost(q) for one in images])
        if np.quantile(lost[drawn].mean(axis=1), 0.975) <= LOST:
            return q
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run that has been through stage 06")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=401, help="the first one warms up")
    parser.add_argument("--fold", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = open_finished(arguments.run, data=arguments.data)
    items = [item for unit in run.units for item in unit.items if item.fold == arguments.fold]
    table = pd.DataFrame([dict(item.fields) for item in items])
    images = ListedImages(run.space.competition, arguments.data, table)
    model = load_model(arguments.run / f"fold_{arguments.fold}")
    ready, first = prepare_members([model], "cpu"), prepare_members([quartered(model)], "cpu")
    found = []
    for item in items[:: max(1, len(items) // arguments.images)][: arguments.images]:
        reader, true = images.open_alone(item.image_id), item.truth().planes[0, 0]
        (q, full), (low, cheap) = predicted(ready, reader), predicted(first, reader)
        nothing = np.zeros(true.shape, bool)
        found.append(Tried(int(low.max()), dice(q >= 128, true), dice(nothing, true), full, cheap))
    half = len(found) // 2
    q, rest = learned(found[1 : half + 1]), found[half + 1 :]
    full, cheap = sum(one.full for one in rest), sum(one.first for one in rest)
    left = cheap + sum(one.full for one in rest if one.top >= q)
    print(
        f"{len(rest)} images, {np.mean([one.empty_dice for one in rest]):.0%} of them empty: "
        f"{np.mean([one.top < q for one in rest]):.0%} are left out below q {q}; first pass {cheap / full:.1%} of the "
        f"time, {full / left:.2f} times as fast, Dice lost {np.mean([one.lost(q) for one in rest]):.4f} of "
        f"{np.mean([one.full_dice for one in rest]):.4f}"
    )


if __name__ == "__main__":
    main()
