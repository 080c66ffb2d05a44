"""Volumes of `hippocampus`: our 2.5D network, our 3D network and their mean beside nnU-Net's 2d, 3d_fullres and theirs.

    python benchmarks/volumes.py --data ../shared/data/hippocampus --out OUT --minutes 25 --peer PEER/bin/python
        [--sides 2.5D 3D ...] [--fold 0] [--volumes 40]

Every side trains on the same cases of one fold for the same minutes of one processor (its own processor time, start of
the process included, so that what else the machine computes does not count), and predicts the same held-out volumes
with its own defaults; `benchmarks/peers/nnunet.py` says how nnU-Net is installed for `--peer` and how it is cut to the
time. Ours are the experiments `hippocampus` and `hippocampus-3d`, their number of steps measured to fit. Decoding the
host's files beforehand (stage 03, nnU-Net's preprocessing) is not part of the minutes. A side that is done is kept
under OUT, so that sides can be run one by one. The table: mean Dice of a volume of both structures by the largest
probability, steps, minutes that the training took, and processor seconds a volume from file to file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from paced import Pace, pace_of, run_alone, run_stage
from peers.nnunet import write_raw

from inference.predict.image_list import predict_listed
from inference.predict.store import open_prediction
from inference.weights import load_model
from pipeline.data.fold_tables import open_folds
from pipeline.workspace import Workspace, open_workspace, stage_parser
from submissions.host.listed_images import ListedImages
from submissions.host.masks import MaskReader

PEER = Path(__file__).parent / "peers" / "nnunet.py"
OURS = {"2.5D": ("hippocampus",), "3D": ("hippocampus-3d",), "2.5D + 3D": ("hippocampus", "hippocampus-3d")}
THEIRS = {"nnU-Net 2d": ("2d",), "nnU-Net 3d": ("3d_fullres",), "nnU-Net 2d + 3d": ("2d", "3d_fullres")}
STRUCTURES = (1, 2)  # of the labels: anterior, posterior


@dataclass(frozen=True)
class Budget:
    """What is shared by all sides."""

    data: Path
    out: Path
    minutes: float
    fold: int
    volumes: int | None


def arguments_of(name: str, budget: Budget, *more: str) -> list[str]:
    """The arguments of every stage of one experiment."""
    fixed = [f"folds.use=[{budget.fold}]", "train.validate_images=1", f"name={name}", *more]
    settings = [word for one in fixed for word in ("--set", one)]
    return [name, "--data", str(budget.data), "--runs", str(budget.out / "runs"), *settings]


def workspace(name: str, budget: Budget) -> Workspace:
    """The experiment's folders."""
    return open_workspace(stage_parser("").parse_args(arguments_of(name, budget)))


def prepare(budget: Budget) -> pd.DataFrame:
    """Stages 01 to 03 of both experiments; returns the fold table."""
    for name in () if (budget.out / "prepared").exists() else ("hippocampus", "hippocampus-3d"):
        for script in ("01_check_data", "02_make_folds", "03_prepare_data"):
            run_stage(script, arguments_of(name, budget))
    (budget.out / "prepared").touch()
    return open_folds(workspace("hippocampus", budget))[0]


def measure_ours(name: str, budget: Budget) -> Pace:
    """What stage 04 takes, of two short trainings; measured once."""
    note = budget.out / f"pace_{name}.json"
    if not note.is_file():
        run_stage("02_make_folds", arguments_of(name, budget, f"name={name}-probe"))
        pace = pace_of(lambda steps: train_steps(name, budget, steps, f"name={name}-probe"))
        note.write_text(json.dumps(asdict(pace)))
    return Pace(**json.loads(note.read_text()))


def train_steps(name: str, budget: Budget, steps: int, *more: str) -> float:
    """Stage 04 of so many steps; returns its processor seconds."""
    planned = arguments_of(name, budget, "train.epochs=1", f"train.steps_per_epoch={steps}", *more)
    return run_stage("04_train", [*planned, "--overwrite"])


def train_ours(name: str, budget: Budget) -> dict[str, Any]:
    """Stage 04 with as many steps as fit; measuring them does not count."""
    steps = measure_ours(name, budget).steps_within(budget.minutes)
    return {"steps": steps, "seconds": train_steps(name, budget, steps)}


def predict_ours(names: Iterable[str], held_out: list[str], budget: Budget) -> dict[str, Any]:
    """Predict the held-out volumes by one or both networks; returns their Dice and the seconds a volume."""
    spaces = [workspace(name, budget) for name in names]
    space = spaces[0]
    listing, _ = space.training_images()
    images = ListedImages(space.competition, budget.data, listing)
    masks = MaskReader(space.competition, budget.data)
    members = [load_model(one.fold(budget.fold)) for one in spaces]
    folder = budget.out / "predicted" / "+".join(one.experiment.name for one in spaces)
    for image_id in held_out:
        (folder / f"{image_id}.h5").unlink(missing_ok=True)
    began = time.process_time()
    found = {one.image_id: one.path for one in predict_listed(members, images, held_out, folder)}
    seconds = (time.process_time() - began) / len(held_out)
    rows = {str(row["image_id"]): row for row in listing.to_dict("records")}
    scores = []
    for image_id, path in found.items():
        with open_prediction(path) as prediction:
            label = prediction.read().argmax(0)
        truth = masks.read(rows[image_id], images.open_alone(image_id).shape[:3]).label
        scores.append(dice_of(label, truth))
    return {"dice": scores, "seconds a volume": seconds}


def prepare_theirs(peer: str, folds: pd.DataFrame, budget: Budget) -> None:
    """nnU-Net's raw folder of our cases and folds, planned and preprocessed."""
    root = budget.out / "nnunet"
    if (root / "preprocessed").is_dir():
        return
    cases = {
        name: (budget.data / f"images/{name}.nii.gz", budget.data / f"labels/{name}.nii.gz")
        for name in sorted(folds["image_id"])
    }
    numbers = sorted(set(folds["fold"]))
    splits = [
        tuple(sorted(folds.loc[folds["fold"].eq(n) == held, "image_id"]) for held in (False, True)) for n in numbers
    ]
    write_raw(root, cases, ["background", "anterior", "posterior"], splits)
    run_alone([peer, str(PEER), str(root), "plan"])


def theirs(peer: str, configuration: str, budget: Budget) -> None:
    """Train and predict one configuration of nnU-Net, where its notes are not there yet."""
    root, fold = budget.out / "nnunet", ["--fold", str(budget.fold)]
    limit = ["--volumes", str(budget.volumes)] if budget.volumes else []
    for what, more in (("train", ["--minutes", str(budget.minutes)]), ("predict", limit)):
        if not (root / f"{what}_{configuration}_fold{budget.fold}.json").is_file():
            run_alone([peer, str(PEER), str(root), what, configuration, *fold, *more])


def their_scores(configurations: Iterable[str], held_out: list[str], budget: Budget) -> list[list[float]]:
    """Dice of nnU-Net's mean probabilities over the configurations, a row a volume."""
    scores = []
    for name in held_out:
        files = [budget.out / "nnunet" / "predicted" / f"{one}_fold{budget.fold}" / name for one in configurations]
        probs = np.mean([np.load(f"{file}.npz")["probabilities"] for file in files], axis=0)
        truth = np.asarray(nib.load(budget.data / "labels" / f"{name}.nii.gz").dataobj).transpose(2, 1, 0)
        scores.append(dice_of(probs.argmax(0), truth))
    return scores


def dice_of(label: np.ndarray, truth: np.ndarray) -> list[float]:
    """Dice of each structure in one volume; 1 where neither shows it. Raises ValueError for unequal shapes."""
    if label.shape != truth.shape:
        raise ValueError(f"the prediction has shape {label.shape}, the truth {truth.shape}")
    found = []
    for value in STRUCTURES:
        mine, real = label == value, truth == value
        total = int(mine.sum()) + int(real.sum())
        found.append(2 * int((mine & real).sum()) / total if total else 1.0)
    return found


def side(name: str, held_out: list[str], peer: str | None, budget: Budget) -> dict[str, Any] | None:
    """What one side did, measured now where it was not; None where a part of it was not run."""
    note = budget.out / f"{name.replace(' ', '')}_fold{budget.fold}.json"
    if note.is_file():
        return dict(json.loads(note.read_text()))
    if name in OURS:
        if len(OURS[name]) > 1:
            if any(not (budget.out / f"{one}_fold{budget.fold}.json").is_file() for one in ("2.5D", "3D")):
                return None
            done: dict[str, Any] = {}
        else:
            done = train_ours(OURS[name][0], budget)
        done |= predict_ours(OURS[name], held_out, budget)
    else:
        root, parts = budget.out / "nnunet", []
        for one in THEIRS[name]:
            if peer is not None:
                theirs(peer, one, budget)
            notes = [root / f"{what}_{one}_fold{budget.fold}.json" for what in ("train", "predict")]
            if not all(path.is_file() for path in notes):
                return None
            parts.append(json.loads(notes[0].read_text()) | json.loads(notes[1].read_text()))
        done = dict(parts[0]) if len(parts) == 1 else {"seconds a volume": sum(p["seconds a volume"] for p in parts)}
        done["dice"] = their_scores(THEIRS[name], held_out, budget)
    note.write_text(json.dumps(done, indent=1))
    return done


def main() -> None:
    """Run the sides that are asked for, and print the table of all that are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="runs, notes and predictions")
    parser.add_argument("--peer", help="the Python of an environment with nnunetv2")
    parser.add_argument("--minutes", type=float, default=25.0, help="of one processor, a side")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--volumes", type=int, help="held-out volumes that are predicted (default: all)")
    parser.add_argument("--sides", nargs="+", choices=[*OURS, *THEIRS], default=[*OURS, *THEIRS])
    arguments = parser.parse_args()
    budget = Budget(
        arguments.data.resolve(), arguments.out.resolve(), arguments.minutes, arguments.fold, arguments.volumes
    )
    folds = prepare(budget)
    if arguments.peer:
        prepare_theirs(arguments.peer, folds, budget)
    held_out = sorted(folds.loc[folds["fold"] == budget.fold, "image_id"])[: budget.volumes]
    rows = []
    for name in arguments.sides:
        done = side(name, held_out, arguments.peer, budget)
        if done is not None:
            anterior, posterior = np.mean(done["dice"], axis=0)
            rows.append({
                "side": name, "anterior": anterior, "posterior": posterior, "mean": (anterior + posterior) / 2,
                "steps": done.get("steps", ""), "minutes": done.get("seconds", np.nan) / 60,
                "seconds a volume": done["seconds a volume"],
            })  # fmt: skip
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
