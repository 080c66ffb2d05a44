"""Mean Dice per image after equal processor minutes: ours beside the recipes that people start from, on real data.

    pip install --no-deps --target PEERS monai==1.6.1
    PYTHONPATH=PEERS python benchmarks/equal_budget.py --data ../shared/data --out OUT [--minutes 10] [--seeds 0 1]
        [--sets dsb2018 tgs-salt monuseg pets] [--sides ours planned random smp monai torchvision nnunet]
        [--images 150] [--peer PEER/bin/python]
    python benchmarks/equal_budget.py --out OUT            # the table of what is there

Of each set the experiment of that name is split into five folds by the seed, and fold 0 is held out; of `pets`, pet
against ground, it is the experiment that `new-competition` writes for a plain folder of images and masks. Ours is stage
04 as a user runs it, `random` the same without pretrained weights, `planned` the experiment that `new-competition`
writes for these minutes, on the same folds. The others train on the same images as PNG files,
smp's recipe from the same encoder weights, MONAI's tutorial, torchvision's reference script and nnU-Net from random
ones (`benchmarks/peers/` says what each does, and how nnU-Net is installed for `--peer`). Minutes are of the processor
time of one thread, loader processes included, so what else the machine does makes no difference; how many steps fit is
measured before and not counted, nor is decoding the host's files (stage 03, PNG files, nnU-Net's preprocessing). All
predict the held-out images whole (at most `--images` of them, drawn at random), and Dice is 1 where both masks are
empty: `dice` where a pixel is foreground at 0.5, `chosen` at the best of 19 thresholds for the other half of the
images, as competitors choose theirs (nnU-Net gives masks alone). `over smp` is the difference of `chosen` to the
recipe's of the same set and seed, on the same images, with 95 % by bootstrap over images. What OUT has is not measured
again, so sets and sides can be run one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent))

from paced import pace_of, processor_seconds, run_alone, run_stage
from pairs import dice, pairs_of, write_pair
from peers.monai_loop import Loop
from peers.nnunet import write_raw
from peers.smp_recipe import Recipe
from peers.torchvision_reference import Reference
from pets_binary import lay_out, names_of

from inference.config import ModelConfig
from inference.models import build_model
from inference.models.pretrained import load_encoder_weights
from inference.predict.store import open_prediction, prediction_path
from pipeline.data.fold_tables import open_folds
from pipeline.experiment import load_experiment
from pipeline.workspace import Workspace, open_workspace, stage_parser
from submissions.metrics.intervals import interval_of, resample

PEER = Path(__file__).parent / "peers" / "nnunet.py"
SIZES = {"dsb2018": 256, "tgs-salt": 128, "monuseg": 256, "pets": 256}  # of the smp recipe's crops
OURS, RECIPES = ("ours", "planned", "random"), ("smp", "monai", "torchvision")
SIDES = (*OURS, *RECIPES, "nnunet")
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
FIXED = ("folds.n=5", "folds.use=[0]", "predict.views=[identity]", "train.validate_images=1")
Known = Mapping[str, tuple[np.ndarray, np.ndarray]]


class Trainable(Protocol):
    """A peer's network and its training loop."""

    batch: int

    def step(self) -> float:
        """One batch; returns its loss."""

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (H, W) of an RGB image (H, W, 3) uint8."""


@dataclass(frozen=True)
class Task:
    """A set of which the seed holds images out, and where its files are kept."""

    name: str
    seed: int
    data: Path
    out: Path

    @property
    def folder(self) -> Path:
        """Files of this set and seed."""
        return self.out / f"{self.name}-{self.seed}"

    def stage_arguments(self, run: str, *more: str) -> list[str]:
        """Arguments of a stage, for the run of that name."""
        experiment, data = self.name, self.data / self.name
        if self.name == "pets":
            experiment, data = str(self.folder / "pet-baseline.yaml"), self.folder / "plain"
        settings = [f"name={run}", f"seed={self.seed}", *FIXED, *more]
        if run.startswith("planned"):
            folds = load_experiment(experiment).folds.method
            experiment = str(self.planned.with_name("planned-baseline.yaml"))
            settings += [f"competition={self.name}", f"folds.method={folds}"]
        shared = [experiment, "--data", str(data), "--runs", str(self.folder / "runs")]
        return [*shared, *(word for one in settings for word in ("--set", one))]

    @property
    def planned(self) -> Path:
        """The contract that `new-competition --minutes` writes beside the experiment of side `planned`."""
        return self.folder / "planned.yaml"

    def stage(self, script: str, run: str, *more: str) -> float:
        """Make a stage (again); returns its processor seconds."""
        return run_stage(script, [*self.stage_arguments(run, *more), "--overwrite"])

    def workspace(self, run: str) -> Workspace:
        """Folders and settings of a run."""
        return open_workspace(stage_parser("").parse_args(self.stage_arguments(run)))


def lay_out_pets(task: Task) -> None:
    """Pets as a plain folder of images and masks, and what `new-competition` writes for it."""
    plain, contract = task.folder / "plain", task.folder / "pet.yaml"
    if not contract.is_file():
        lay_out(task.data / "pets", plain, names_of(task.data / "pets"))
        run_alone([sys.executable, "-m", "pipeline", "new-competition", str(plain), "--out", str(contract)])


def prepare(task: Task, limit: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stages 01 to 03, and PNG files for the peers; returns the held-out images (H, W, 3) and masks (H, W), `limit`."""
    done = task.folder / "prepared"
    if not done.exists():
        if task.name == "pets":
            lay_out_pets(task)
        for script in ("01_check_data", "02_make_folds", "03_prepare_data"):
            task.stage(script, "ours")
    space = task.workspace("ours")
    listing, _ = space.training_images()
    folds = open_folds(space)[0]
    held_out = folds.loc[folds["fold"] == 0, "image_id"]
    scored = set(held_out.sample(min(limit, len(held_out)), random_state=0))
    wanted = scored if done.exists() else set(folds["image_id"]) - (set(held_out) - scored)
    known = {}
    for name, pixels, planes in pairs_of(space, listing[listing["image_id"].astype(str).isin(wanted)]):
        mask = planes.any(axis=0)
        if name in scored:
            known[name] = (pixels, mask)
        else:
            write_pair(task.folder / "png", name, pixels, mask)
    done.touch()
    return known


def measure_ours(task: Task, side: str, known: Known, minutes: float) -> dict[str, Any]:
    """Stage 04 within the minutes, and stage 05."""
    weights = ["model.weights=none"] if side == "random" else []

    def train(run: str, steps: int, *more: str) -> float:
        return task.stage("04_train", run, *weights, "train.epochs=1", f"train.steps_per_epoch={steps}", *more)

    if side == "planned":
        plan(task, minutes)
    task.stage("02_make_folds", f"{side}-probe")
    steps = pace_of(lambda few: train(f"{side}-probe", few, "train.warmup=0")).steps_within(minutes)
    if side != "ours":
        task.stage("02_make_folds", side)
    seconds = train(side, steps)
    task.stage("05_predict_oof", side, *weights, "train.epochs=1", f"train.steps_per_epoch={steps}")
    space, said = task.workspace(side), {}
    for name in known:
        with open_prediction(prediction_path(space.own / "oof", name)) as prediction:
            said[name] = np.asarray(prediction.read()[0] / 255)
    return told(said, known) | {"steps": steps, "batch": space.experiment.train.batch_size, "minutes": seconds / 60}


def plan(task: Task, minutes: float) -> None:
    """What `new-competition` writes for the host's folder and these minutes, and stage 03 at its size."""
    if task.name == "pets":
        raise SystemExit("pets: what `new-competition` writes is the side `ours`; leave out `planned`")
    asked = [str(task.data / task.name), "--name", "planned", "--out", str(task.planned), "--minutes", str(minutes)]
    if not task.planned.is_file():
        run_alone([sys.executable, "-m", "pipeline", "new-competition", *asked])
    task.stage("03_prepare_data", "planned")


def measure_recipe(task: Task, side: str, known: Known, minutes: float) -> dict[str, Any]:
    """A peer's loop within the minutes; what Python takes to start is not counted, as it started already."""
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    build = builder_of(side, task)

    def train(steps: int) -> tuple[Trainable, float]:
        before, recipe = processor_seconds(), build(steps)
        for _ in range(steps):
            recipe.step()
        return recipe, processor_seconds() - before

    train(1)  # what is imported and compiled once
    steps = pace_of(lambda few: train(few)[1]).steps_within(minutes)
    recipe, seconds = train(steps)
    said = {name: recipe.predict(image) for name, (image, _) in known.items()}
    return told(said, known) | {"steps": steps, "batch": recipe.batch, "minutes": seconds / 60}


def builder_of(side: str, task: Task) -> Callable[[int], Trainable]:
    """Builds a peer's loop for a number of steps."""
    folder = task.folder / "png"
    if side == "monai":
        return lambda _: Loop(folder)
    if side == "torchvision":
        return lambda steps: Reference(folder, steps=steps)
    size, encoder = SIZES[task.name], imagenet_encoder()
    return lambda steps: Recipe(folder, steps=steps, size=size, batch=16, encoder=encoder)


def measure_nnunet(task: Task, peer: str, known: Known, minutes: float) -> dict[str, Any]:
    """nnU-Net's 2D configuration, planned by its own rules, in an environment of its own."""
    root, folders = task.folder / "nnunet", (task.folder / "png", task.folder / "held_out")
    if not (root / "preprocessed").is_dir():
        for name, pair in known.items():
            write_pair(folders[1], name, *pair)
        files = [path for folder in folders for path in sorted((folder / "images").glob("*.png"))]
        cases = {path.stem: (path, path.parents[1] / "masks" / path.name) for path in files}
        train = [name for name in cases if name not in known]
        write_raw(root, cases, ["background", "foreground"], [(train, list(known))], channels=("red", "green", "blue"))
        run_alone([peer, str(PEER), str(root), "plan", "2d"])
    seconds = run_alone([peer, str(PEER), str(root), "train", "2d", "--minutes", str(minutes)])
    run_alone([peer, str(PEER), str(root), "predict", "2d"])
    predicted = root / "predicted/2d_fold0"
    said = {name: np.asarray(cv2.imread(str(predicted / f"{name}.png"), cv2.IMREAD_UNCHANGED)) > 0 for name in known}
    note = json.loads((root / "train_2d_fold0.json").read_text())
    return told(said, known) | {"steps": note["steps"], "batch": note["batch"], "minutes": seconds / 60}


def told(said: Mapping[str, np.ndarray], known: Known) -> dict[str, Any]:
    """Mean Dice of probabilities (H, W) at 0.5, and at the other half's best threshold: the mean, and each image's."""
    names = sorted(known)
    at = np.array([[dice(said[name] >= cut, known[name][1]) for cut in THRESHOLDS] for name in names])
    half = np.random.default_rng(0).permutation(len(names)) % 2
    best = {side: int(at[half != side].mean(axis=0).argmax()) for side in (0, 1)}
    chosen = [float(row[best[side]]) for row, side in zip(at, half.tolist(), strict=True)]
    middle = float(at[:, list(THRESHOLDS).index(0.5)].mean())
    return {
        "held out": len(names),
        "dice": middle,
        "chosen": float(np.mean(chosen)),
        "thresholds": [THRESHOLDS[best[side]] for side in (0, 1)],
        "images": dict(zip(names, chosen, strict=True)),
    }


def over_recipe(notes: list[dict[str, Any]]) -> pd.DataFrame:
    """A row a note, without its images, with the gain over smp's recipe of the same set and seed."""
    recipes = {(note["set"], note["seed"]): note["images"] for note in notes if note["side"] == "smp"}
    for note in notes:
        images, other = note.pop("images"), recipes.get((note["set"], note["seed"]), {})
        note["over smp"] = ""
        if note["side"] != "smp" and images.keys() == other.keys():
            gains = np.array([images[name] - other[name] for name in images])
            samples = resample(len(gains), rounds=10_000) @ gains / len(gains)
            gain = interval_of(float(gains.mean()), samples, 0.95, len(gains), (-1, 1))
            note["over smp"] = f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    return pd.DataFrame(notes)


def imagenet_encoder() -> dict[str, torch.Tensor]:
    """ImageNet weights of the encoder, by the names of smp's wrapper, through this project's loader."""
    config = ModelConfig(architecture="unet", encoder="tf_efficientnet_lite0", weights="wheel")
    model = build_model(config)
    load_encoder_weights(model, config)
    return dict(model.encoder.state_dict())  # type: ignore[union-attr]


def measure(task: Task, sides: list[str], peer: str | None, *, minutes: float, limit: int) -> None:
    """Measure the sides that are not there yet, each into a note of its own."""
    notes = {side: task.folder / f"{side}.json" for side in sides}
    missing = [side for side in sides if not notes[side].is_file()]
    known = prepare(task, limit) if missing else {}
    for side in missing:
        if side == "nnunet":
            if peer is None:
                raise SystemExit("nnunet: give --peer, the Python of an environment that has it")
            found = measure_nnunet(task, peer, known, minutes)
        else:
            found = (measure_ours if side in OURS else measure_recipe)(task, side, known, minutes)
        notes[side].write_text(json.dumps({"set": task.name, "seed": task.seed, "side": side, **found}))
        print(f"{task.name} {task.seed} {side}: Dice {found['dice']:.3f}", flush=True)


def main() -> None:
    """Measure what is asked for, and print the table of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="measure; without it only the table")
    parser.add_argument("--out", type=Path, required=True, help="runs and notes")
    parser.add_argument("--minutes", type=float, default=10.0, help="of one thread, a side")
    parser.add_argument("--sets", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["ours", *RECIPES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--images", type=int, default=640, help="held-out images that are scored, at most")
    parser.add_argument("--peer", help="the Python of an environment with nnunetv2")
    asked = parser.parse_args()
    for seed in asked.seeds if asked.data else ():
        for name in asked.sets:
            task = Task(name, seed, asked.data.resolve(), asked.out.resolve())
            measure(task, asked.sides, asked.peer, minutes=asked.minutes, limit=asked.images)
    rows = over_recipe([json.loads(path.read_text()) for path in sorted(asked.out.glob("*-*/*.json"))])
    print(rows.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
