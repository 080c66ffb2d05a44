"""Results on real data: each row a run of the stages with stated settings, kept as JSON, all of them as one table.

    python benchmarks/results.py run ROW [ROW ...] [--data ../shared/data] [--runs runs/results] [--cores 2]
    python benchmarks/results.py check ROW [ROW ...]
    python benchmarks/results.py table > docs/results.md

Rows stand in `benchmarks/results/rows.yaml`. `run` takes stages 01 to 06, so every decision is made on predictions of
the training images by the fold that held them out, and writes `benchmarks/results/ROW.json`. `check` does the same
elsewhere and fails where the new score lies outside the interval that is kept.

A row says what it is measured `against`: another row, on the same images, image by image. With `of` it trains nothing:
it takes the networks of that row, and their predictions too where it changes no `predict.` setting. With `added: true`
its run is also asked what each rule, post-processing step and view of stages 05 and 06 brought. With `minutes` it
trains one epoch of as many steps as fit into these minutes of a core, folds, start-up and loading included; short
trainings that are not counted tell the pace.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from gains import added, gain_over
from paced import pace_of
from results_table import FOLDER, read_rows, table
from safetensors import safe_open

from inference.predict.precision import resolve_precision
from pipeline.sequence import STAGES

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = ("01", "02", "03", "04", "05", "06")


def run_row(name: str, row: dict[str, Any], data: Path, runs: Path, cores: int) -> dict[str, Any]:
    """Take stages 01 to 06 of a row, as a user does; returns what is kept of it, times in minutes of a core."""
    if "minutes" in row:
        row = row | {"set": [*row["set"], f"train.steps_per_epoch={steps_of(name, row, data, runs, cores)}"]}
    minutes = run_stages(name, row, data, runs, cores)
    run = run_of(runs, name)
    kept = {
        "row": name, "command": told(row), "revision": _revision(), "hardware": _hardware(cores), "minutes": minutes,
        **scores_of(run), "parameters": _parameters(run), "samples": _samples(run), **_curve(run),
    }  # fmt: skip
    if "first" in row:
        kept["sizes"] = _sizes(run)
    if "against" in row:
        kept["difference"] = {"against": row["against"], **gain_over(run, run_of(runs, row["against"]))}
    if row.get("added"):
        kept["added"] = added(run)
    return kept


def run_word(words: Sequence[str], environment: dict[str, str]) -> None:
    """Run a word of `python -m pipeline`, or a stage; raises where it fails."""
    command = [sys.executable, "-m", "pipeline", *words]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)


def told(row: dict[str, Any]) -> str:
    """The commands of a row, as a user would give them in a folder beside the data."""
    settings = [f"--set '{one}'" for one in row.get("set", [])]
    if "first" not in row:
        return " ".join(["python -m pipeline run", row["experiment"], *settings])
    name = first_name(row)
    begin = f"python -m pipeline new-competition {row['data']} --name {name} --minutes {row['first']}"
    chosen = (
        [row["experiment"], f"--set 'competition={name}.yaml'"] if "experiment" in row else [f"{name}-baseline.yaml"]
    )
    return f"{begin} && " + " ".join(["python -m pipeline run", *chosen, *settings])


def first_name(row: dict[str, Any]) -> str:
    """Name of the contract that `new-competition` writes for a row."""
    return f"first-{row['data']}"


def data_of(row: dict[str, Any], data: Path, runs: Path, environment: dict[str, str]) -> Path:
    """The folder of a row's data; the demo's files are laid out now if they were not before."""
    if row["data"] != "demo":
        return data / str(row["data"])
    folder = runs / "demo-data"
    if not folder.is_dir():
        run_word(["demo-data", str(folder)], environment)
    return folder


def experiment_of(row: dict[str, Any], data: Path, runs: Path, environment: dict[str, str]) -> list[str]:
    """A row's experiment, and the contract instead of its own where `new-competition` writes it, now if not before."""
    if "first" not in row:
        return [row["experiment"]]
    contract = runs / "first" / f"{first_name(row)}.yaml"
    if not contract.is_file():
        contract.parent.mkdir(parents=True, exist_ok=True)
        asked = [
            str(data / row["data"]),
            "--name",
            first_name(row),
            "--out",
            str(contract),
            "--minutes",
            str(row["first"]),
        ]
        run_word(["new-competition", *asked], environment)
    if "experiment" in row:
        return [row["experiment"], "--set", f"competition={contract}"]
    return [str(contract.with_name(f"{contract.stem}-baseline.yaml"))]


def run_stages(
    name: str, row: dict[str, Any], data: Path, runs: Path, cores: int, *, until: str = "06"
) -> dict[str, float]:
    """Stages 01 to `until`; returns the minutes of a core that each took, in this call and those before it."""
    settings = [f"name={name}", *row.get("set", [])]
    environment = os.environ | {key: str(cores) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    experiment = experiment_of(row, data, runs, environment)
    shared = [*experiment, "--data", str(data_of(row, data, runs, environment)), "--runs", str(runs), "--device", "cpu"]
    arguments = [*shared, *(word for one in settings for word in ("--set", one))]
    spent = runs / f"{name}.json"
    minutes: dict[str, float] = json.loads(spent.read_text()) if spent.is_file() else {}
    if "of" in row:
        lend(run_of(runs, row["of"]), name, predictions=not any(one.startswith("predict") for one in settings))
    for number in (number for number in NUMBERS if number <= until):
        begin = _minutes()
        run_word([STAGES[number], *arguments], environment)
        minutes[number] = round(minutes.get(number, 0) + _minutes() - begin, 2)
        spent.write_text(json.dumps(minutes))
    return minutes


def steps_of(name: str, row: dict[str, Any], data: Path, runs: Path, cores: int) -> int:
    """Steps that fit into the row's minutes at the pace of this machine; measured once, so that a row can go on."""
    known = runs / f"{name}-steps.txt"
    if not known.is_file():

        def train(steps: int) -> float:
            short = row | {"set": [*row["set"], f"train.steps_per_epoch={steps}", "train.warmup=0"]}
            return 60 * run_stages(f"{name}-pace-{steps}", short, data, runs, cores, until="04")["04"]

        known.write_text(str(pace_of(train).steps_within(row["minutes"])))
    return int(known.read_text())


def run_of(runs: Path, name: str) -> Path:
    """The folder of a row's run; FileNotFoundError says which row has to be run first."""
    found = [path.parent for path in runs.glob(f"*/{name}/experiment.yaml")]
    if len(found) != 1:
        raise FileNotFoundError(f"{runs}: {len(found)} runs named {name!r}, expected one; run that row first")
    return found[0]


def lend(run: Path, name: str, *, predictions: bool) -> None:
    """Put what another row trained, and what it predicted, into the folder of row `name`, where it is not yet."""
    for folder in (*run.glob("fold_*"), *(run.glob("oof*") if predictions else ())):
        if not (run.parent / name / folder.name).exists():
            shutil.copytree(folder, run.parent / name / folder.name)


def _minutes() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def scores_of(run: Path) -> dict[str, Any]:
    """Score, interval and nested score of a run's decision; macro recall over all pixels, of the classes that occur."""
    learned = json.loads((run / "tuning/decision.json").read_text())
    classes = learned["classes"]
    learned = learned["learned"]
    kept: dict[str, Any] = {
        "metric": learned["metric"], "score": round(learned["cv"], 4), "nested": _rounded(learned["nested"]),
        "interval": [_rounded(value) for value in learned["interval"]], "images": learned["images"],
    }  # fmt: skip
    if (run / "tuning/shifts.csv").is_file():
        kept["shifts"] = pd.read_csv(run / "tuning/shifts.csv")[["shift", "score"]].round(4).to_dict("records")
    table = pd.read_csv(run / "tuning/scores.csv")
    if all(f"tp_{number}" in table for number in range(len(classes))):
        sums = [(table[f"tp_{number}"].sum(), table[f"fn_{number}"].sum()) for number in range(len(classes))]
        recalls = {classes[number]: tp / (tp + fn) for number, (tp, fn) in enumerate(sums) if tp + fn}
        kept["recalls"] = {key: round(float(value), 4) for key, value in recalls.items()}
    return kept


def _rounded(value: float | None) -> float | None:
    """Four decimals; None where a single group says nothing of another."""
    return None if value is None else round(value, 4)


def _parameters(run: Path) -> int:
    path = next(iter(sorted(run.glob("fold_*/weights.safetensors"))))
    with safe_open(path, "pt") as weights:
        shapes = [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118 - no mapping
    return sum(math.prod(shape) for shape in shapes)


def _samples(run: Path) -> int:
    """Training samples of all folds together, as the logs count steps."""
    document = yaml.safe_load((run / "experiment.yaml").read_text())["train"]
    epochs = sum(len(path.read_text().splitlines()) for path in run.glob("fold_*/log.jsonl"))
    return int(epochs * document["steps_per_epoch"] * document["batch_size"])


def _sizes(run: Path) -> dict[str, Any]:
    """What was trained: folds, working scale, patch, batch, epochs, steps."""
    document = yaml.safe_load((run / "experiment.yaml").read_text())
    train = document["train"]
    sizes = {key: train[key] for key in ("patch", "batch_size", "epochs", "steps_per_epoch")}
    return {"folds": len(list(run.glob("fold_*"))), "scale": document["input"]["scale"], **sizes}


def _curve(run: Path) -> dict[str, Any]:
    first = next(iter(sorted(run.glob("fold_*/log.jsonl"))))
    curve = []
    for line in first.read_text().splitlines():
        epoch = json.loads(line)
        point = {"epoch": epoch["epoch"], "loss": round(epoch["loss"], 5)}
        curve.append(point | {key: round(value, 5) for key, value in epoch.get("validation", {}).items()})
    return {"fold": int(first.parent.name.removeprefix("fold_")), "curve": curve}


def _revision() -> str:
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _hardware(cores: int) -> str:
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    name = next((line.split(":")[1].strip() for line in about.splitlines() if "model name" in line), platform.machine())
    return f"{cores} core(s) of {name}, {resolve_precision('auto', 'cpu')}"


def check(name: str, kept: dict[str, Any], fresh: dict[str, Any]) -> None:
    """Raises SystemExit with both where the fresh score lies outside the interval that is kept."""
    low, high = kept["interval"]
    told = f"{name}: {fresh['metric']} {fresh['score']:.4f}, kept {kept['score']:.4f} ({low:.4f} to {high:.4f})"
    if not low <= fresh["score"] <= high:
        raise SystemExit(f"error: {told}: the score left its interval")
    print(told)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", choices=("run", "check", "table"))
    parser.add_argument("rows", nargs="*", choices=[[], *read_rows()], metavar="ROW")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/results")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--until", choices=NUMBERS, default="06", help="run: the last stage; a later call goes on")
    asked = parser.parse_args(argv)
    if asked.word == "table":
        print(table(), end="")
        return
    rows, data = read_rows(), asked.data.resolve()
    with tempfile.TemporaryDirectory() as elsewhere:
        runs = asked.runs.resolve() if asked.word == "run" else Path(elsewhere)
        for name in asked.rows:
            if asked.until != "06":
                run_stages(name, rows[name], data, runs, asked.cores, until=asked.until)
                continue
            found = run_row(name, rows[name], data, runs, asked.cores)
            path = FOLDER / f"{name}.json"
            if asked.word == "check":
                check(name, json.loads(path.read_text()), found)
                continue
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name}: {found['metric']} {found['score']} {found['interval']}")


if __name__ == "__main__":
    main()
