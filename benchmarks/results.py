"""Results on real data: each row a run of the stages with stated settings, kept as JSON, all of them as one table.

    python benchmarks/results.py run ROW [ROW ...] [--data ../shared/data] [--runs runs/results] [--cores 2]
    python benchmarks/results.py check ROW [ROW ...]
    python benchmarks/results.py table > docs/results.md

Rows stand in `benchmarks/results/rows.yaml`. `run` takes stages 01 to 06, so every decision is made on predictions of
the training images by the fold that held them out, and writes `benchmarks/results/ROW.json`. `check` does the same
elsewhere and fails where the new score lies outside the interval that is kept.

A row says what it is measured `against`: another row, on the same images, image by image. With `of` it trains nothing:
it takes the networks of that row, and their predictions too where it changes no `predict.` setting. With `added: true`
its run is also asked what each rule, post-processing step and view of stages 05 and 06 brought.
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
from safetensors import safe_open

from inference.predict.precision import resolve_precision
from pipeline.sequence import STAGES

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks/results"
NUMBERS = ("01", "02", "03", "04", "05", "06")
HEAD = """# Results

Written by `python benchmarks/results.py table` from `benchmarks/results/*.json`; each line by
`python benchmarks/results.py run ROW`, with the settings of `benchmarks/results/rows.yaml`. Scores are out of fold: the
training images of the folds named, each predicted by the network that had not seen it, with the decision of stage 06;
*nested*: each part decided by what the others taught (folds; of a single fold, parts of its groups). *Recall*: of all
pixels (digits: images), mean of the classes. *Parameters* with the running means of batch norm.
The interval is stage 06's 95 %, by bootstrap over groups. *Difference*: of nested scores, to the row named, on the same
images, with its 95 %; where that contains zero, it is noise. *Training*, *all*: minutes of one core. *Images/s*:
training samples a second of stage 04; *s/image*: seconds of stage 05 an image, all its views and what it predicts
beside; both with start-up. *Beside*: what others publish or ask for, and whether the two can be compared.
"""
COLUMNS = (
    "row", "metric", "score", "interval", "nested", "difference", "recall", "parameters", "training", "all", "images/s",
    "s/image", "beside",
)  # fmt: skip


ADDED = (
    "By stages 05 and 06 from out-of-fold predictions, nested, with the 95 % of the paired difference over groups: a "
    "rule instead of the simplest one; post-processing on top of the chosen rule; each view on top of those before it, "
    "by the simplest rule (of the `tune.sample` images). Names without a row above are splits of "
    "`forecast_caches.py`, whose networks were asked by `python benchmarks/ablation.py CACHE`."
)
SHIFTED = "Score of the same images as they are and shifted (`tune.shifts`), by the threshold that is best as they are."


def read_rows() -> dict[str, dict[str, Any]]:
    """Rows by name, as the first lines of `rows.yaml` say; a row `like` another has its settings before its own."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "rows.yaml").read_text())
    for name, row in rows.items():
        if "like" in row:
            base = rows[row["like"]]
            shared = {key: base[key] for key in ("section", "experiment", "data")}
            rows[name] = shared | row | {"set": [*base["set"], *row.get("set", [])]}
    return rows


def run_row(name: str, row: dict[str, Any], data: Path, runs: Path, cores: int) -> dict[str, Any]:
    """Take stages 01 to 06 of a row, as a user does; returns what is kept of it, times in minutes of a core."""
    minutes = run_stages(name, row, data, runs, cores)
    run = run_of(runs, name)
    members = yaml.safe_load((run / "experiment.yaml").read_text()).get("members") or []
    trained = [run_of(runs, member) for member in members] or [run]
    told = " ".join(["python -m pipeline run", row["experiment"], *(f"--set '{one}'" for one in row.get("set", []))])
    kept = {
        "row": name, "command": told, "revision": _revision(), "hardware": _hardware(cores), "minutes": minutes,
        **scores_of(run), "parameters": sum(map(_parameters, trained)), "samples": sum(map(_samples, trained)),
        **_curve(trained[0]),
    }  # fmt: skip
    if "against" in row:
        kept["difference"] = {"against": row["against"], **gain_over(run, run_of(runs, row["against"]))}
    if row.get("added"):
        kept["added"] = added(run)
    if (run / "tuning/shifts.csv").is_file():
        kept["shifts"] = pd.read_csv(run / "tuning/shifts.csv")[["shift", "score"]].round(4).to_dict("records")
    return kept


def run_stages(
    name: str, row: dict[str, Any], data: Path, runs: Path, cores: int, *, until: str = "06"
) -> dict[str, float]:
    """Stages 01 to `until`; returns the minutes of a core that each took, in this call and those before it."""
    settings = [f"name={name}", *row.get("set", [])]
    shared = [row["experiment"], "--data", str(data / row["data"]), "--runs", str(runs), "--device", "cpu"]
    arguments = [*shared, *(word for one in settings for word in ("--set", one))]
    environment = os.environ | {key: str(cores) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    spent = runs / f"{name}.json"
    minutes: dict[str, float] = json.loads(spent.read_text()) if spent.is_file() else {}
    if "of" in row:
        lend(run_of(runs, row["of"]), name, predictions=not any(one.startswith("predict") for one in settings))
    for number in (number for number in NUMBERS if number <= until):
        begin = _minutes()
        command = [sys.executable, "-m", "pipeline", STAGES[number], *arguments]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
        minutes[number] = round(minutes.get(number, 0) + _minutes() - begin, 2)
        spent.write_text(json.dumps(minutes))
    return minutes


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
        "metric": learned["metric"], "score": round(learned["cv"], 4), "nested": round(learned["nested"], 4),
        "interval": [round(value, 4) for value in learned["interval"]], "images": learned["images"],
    }  # fmt: skip
    table = pd.read_csv(run / "tuning/scores.csv")
    if all(f"tp_{number}" in table for number in range(len(classes))):
        sums = [(table[f"tp_{number}"].sum(), table[f"fn_{number}"].sum()) for number in range(len(classes))]
        recalls = {classes[number]: tp / (tp + fn) for number, (tp, fn) in enumerate(sums) if tp + fn}
        kept["recalls"] = {key: round(float(value), 4) for key, value in recalls.items()}
    return kept


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


def table() -> str:
    """All kept rows in Markdown, section by section in the order of `rows.yaml`, then what each thing added."""
    lines, section, rows = [HEAD], None, kept_rows()
    for kept, row in rows:
        if row["section"] != section:
            section = row["section"]
            lines += ["", f"## {section}", "", row.get("about", "")] if row.get("about") else ["", f"## {section}"]
            lines += ["", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        lines.append(_line(kept, row))
    return "\n".join([*lines, *_added(rows), *_shifted(rows), "", *_made(rows)]) + "\n"


def kept_rows() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What is kept of each row that was run, and the row."""
    paths = [(FOLDER / f"{name}.json", row) for name, row in read_rows().items()]
    return [(json.loads(path.read_text()), row) for path, row in paths if path.is_file()]


def _line(kept: dict[str, Any], row: dict[str, Any]) -> str:
    recalls, minutes, gain = list(kept.get("recalls", {}).values()), kept["minutes"], kept.get("difference")
    paid = "of" not in row and minutes["04"] > 0.1
    cells = [
        f"`{kept['row']}`", kept["metric"], f"**{kept['score']:.4f}**",
        "{:.4f} to {:.4f}".format(*kept["interval"]), f"{kept['nested']:.4f}",
        f"{_gain(gain)} over `{gain['against']}`" if gain else "",
        f"{sum(recalls) / len(recalls):.4f}" if recalls else "", f"{kept['parameters']:,}",
        f"{minutes['04']:.1f} min" if paid else "none", f"{sum(minutes.values()):.1f} min",
        f"{kept['samples'] / minutes['04'] / 60:.1f}" if paid and "samples" in kept else "",
        f"{minutes['05'] * 60 / kept['images']:.2f}" if "samples" in kept else "", row.get("beside", ""),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _gain(gain: dict[str, Any]) -> str:
    return f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"


def _added(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    told, more = {kept["row"]: kept.get("added", []) for kept, _ in rows}, FOLDER / "ablation.json"
    told |= json.loads(more.read_text()) if more.is_file() else {}
    lines = []
    for name, found in told.items():
        for one in found:
            word = "gains" if one["low"] > 0 else "loses" if one["high"] < 0 else "noise"
            lines.append(f"| `{name}` | {one['what']} | {_gain(one)} | {one['groups']} | {word} |")
    head = ["", "## What each decision added", "", ADDED, "", "| row | what | gain | groups | |", "|---" * 5 + "|"]
    return [*head, *lines] if lines else []


def _shifted(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    lines = []
    for kept, _ in rows:
        told = [f"{one['shift']} {one['score']:.4f}" for one in kept.get("shifts", [])]
        lines += [f"- `{kept['row']}`: {', '.join(told)}."] if told else []
    return ["", "## Shifted images", "", SHIFTED, "", *lines] if lines else []


def _made(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    lines = ["## How each was made", ""]
    for kept, row in rows:
        taken = f", with the networks of `{row['of']}`" if "of" in row else ""
        lines.append(
            f"- `{kept['row']}`: `{kept['command']}`{taken}, {kept['images']} images, revision `{kept['revision']}`, "
            f"{kept['hardware']}."
        )
    return lines


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
