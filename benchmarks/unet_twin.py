"""What skips are worth: the U-Net beside its encoder-decoder twin, the same layers, data and number of steps.

    python benchmarks/unet_twin.py isbi2012 --data ../shared/data/isbi2012 [--steps 200] [--picture twin.png]

One fold of the experiment is held out; two plain networks without pretrained weights are trained by stage 04 with the
same seed, hence on the same patches in the same order, and predicted by stage 05. Intersection over union at 0.5 of the
first class and of the rest, over all held-out images; the picture shows the one in the middle.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from paced import run_stage

from inference.predict.store import open_prediction, prediction_path
from pipeline.data.fold_tables import open_folds
from pipeline.experiment import load_experiment
from pipeline.inventory_table import read_inventory
from pipeline.pictures import new_figure, save_figure
from pipeline.sequence import STAGES
from pipeline.workspace import open_workspace, stage_parser
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.masks import MaskReader
from submissions.table.show import overlay, shown

TWINS = {"encoder_decoder": "encoder-decoder", "plain_unet": "U-Net (the same with skips)"}
CHANNELS = "[16, 32, 64, 128, 256]"
Pair = tuple[np.ndarray, np.ndarray]


def train_twin(name: str, architecture: str, data: Path, runs: Path, steps: int) -> dict[str, np.ndarray]:
    """Train and predict the held-out fold; returns image id -> mask at 0.5, bool (H, W)."""
    settings = [
        f"name={architecture}", "folds.use=[0]", f"model.architecture={architecture}",
        "model.weights=none", f"model.options={{channels: {CHANNELS}}}", "train.epochs=1",
        f"train.steps_per_epoch={steps}", "train.validate_images=1", "predict.views=[identity]",
    ]  # fmt: skip
    arguments = [name, "--data", str(data), "--runs", str(runs), *(word for one in settings for word in ("--set", one))]
    for number in ("01", "02", "03", "04", "05"):
        run_stage(STAGES[number], arguments)
    space = open_workspace(stage_parser("").parse_args(arguments))
    folds, _ = open_folds(space)
    found = {}
    for image_id in folds.loc[folds["fold"] == 0, "image_id"]:
        with open_prediction(prediction_path(space.own / "oof", image_id)) as prediction:
            found[image_id] = prediction.read()[0] >= 128
    return found


def read_pairs(name: str, data: Path, runs: Path, wanted: list[str]) -> dict[str, Pair]:
    """Image id -> pixels (H, W, C) and truth, bool (H, W)."""
    competition = load_competition(load_experiment(name).competition)
    table, _ = read_inventory(runs / competition.name / "inventory")
    images, masks = ListedImages(competition, data, table), MaskReader(competition, data)
    found = {}
    for image_id in wanted:
        source, slices = images.open(image_id)
        truth = masks.read(images.row(image_id), (1, *source.shape[1:3])).planes[0, 0]
        found[image_id] = (source.read(slices[0]), truth)
    return found


def iou(said: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Intersection over union of all pixels together."""
    inside = sum(int((a & b).sum()) for a, b in zip(said, truth, strict=True))
    return inside / sum(int((a | b).sum()) for a, b in zip(said, truth, strict=True))


def draw(
    pairs: dict[str, Pair], masks: dict[str, dict[str, np.ndarray]], scores: pd.DataFrame, to: Path,
    titles: dict[str, str],
) -> None:  # fmt: skip
    """The image in the middle, its centre enlarged: image, truth, and each network's errors under its title."""
    middle = sorted(pairs)[len(pairs) // 2]
    image, truth = pairs[middle]
    height, width = truth.shape
    centre = np.s_[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4]
    panels = [(shown(image), middle), (overlay(image, truth), "truth")]
    for name, title in titles.items():
        score = scores.loc[title]
        text = f"{title}\nIoU " + ", ".join(f"{key} {value:.3f}" for key, value in score.items())
        panels.append((overlay(image, masks[name][middle], truth), text))
    figure, axes = new_figure(2, len(panels), 3 * len(panels), 6.6)
    for column, (picture, title) in enumerate(panels):
        for axis, part in zip(axes[:, column], (picture, picture[centre]), strict=True):
            axis.imshow(part, interpolation="nearest")
            axis.axis("off")
        axes[0, column].set_title(title, fontsize=9)
    figure.suptitle("green: right, blue: missed, red: too much; below, the centre enlarged", fontsize=9)
    save_figure(figure, to)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="isbi2012, demo, ...")
    parser.add_argument("--data", type=Path, required=True, help="folder of the host's files")
    parser.add_argument("--steps", type=int, default=200, help="training steps of each, of the experiment's batch size")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        masks = {one: train_twin(arguments.experiment, one, arguments.data, runs, arguments.steps) for one in TWINS}
        pairs = read_pairs(arguments.experiment, arguments.data, runs, sorted(masks["plain_unet"]))
    name = load_competition(load_experiment(arguments.experiment).competition).classes[0]
    truth = [pairs[one][1] for one in sorted(pairs)]
    rows = {}
    for twin, title in TWINS.items():
        said = [masks[twin][one] for one in sorted(pairs)]
        rows[title] = {name: iou(said, truth), "the rest": iou([~one for one in said], [~one for one in truth])}
    scores = pd.DataFrame(rows).T
    print(scores.round(4).to_string())
    if arguments.picture:
        draw(pairs, masks, scores, arguments.picture, TWINS)


if __name__ == "__main__":
    main()
