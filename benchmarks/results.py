"""Results on real data: each row a run of the stages with stated settings, kept as JSON, all of them as one table.

    python benchmarks/results.py run ROW [ROW ...] [--data ../shared/data] [--runs runs/results] [--cores 2]
    python benchmarks/results.py check ROW [ROW ...]
    python benchmarks/results.py table > docs/results.md

Rows stand in `benchmarks/results/rows.yaml`. `run` takes stages 01 to 06, so every decision is made on predictions of
the training images by the fold that held them out, and writes `benchmarks/results/ROW.json`. `check` does the same
elsewhere and fails where the new score lies outside the interval that is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
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
The interval is stage 06's 95 %, by bootstrap over groups. *Beside*: what others publish or ask for, and whether the two
can be compared.
"""


def read_rows() -> dict[str, dict[str, Any]]:
    """Rows by name: section, experiment, data (a folder beside the other sets), set (settings), beside (text)."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "rows.yaml").read_text())
    return rows


def run_row(name: str, row: dict[str, Any], data: Path, runs: Path, cores: int) -> dict[str, Any]:
    """Take stages 01 to 06 of a row, as a user does; returns what is kept of it, times in minutes."""
    settings = [f"name={name}", *row.get("set", [])]
    shared = [row["experiment"], "--data", str(data / row["data"]), "--runs", str(runs), "--device", "cpu"]
    arguments = [*shared, *(word for one in settings for word in ("--set", one))]
    environment = os.environ | {key: str(cores) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    minutes: dict[str, float] = {}
    for number in NUMBERS:
        begin = time.perf_counter()
        command = [sys.executable, "-m", "pipeline", STAGES[number], *arguments]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
        minutes[number] = round((time.perf_counter() - begin) / 60, 2)
    (run,) = (path.parent for path in runs.glob(f"*/{name}/experiment.yaml"))
    told = " ".join(["python -m pipeline run", row["experiment"], *(f"--set '{one}'" for one in settings[1:])])
    return {
        "row": name, "command": told, "revision": _revision(), "hardware": _hardware(cores), "minutes": minutes,
        **scores_of(run), "parameters": _parameters(run), **_curve(run),
    }  # fmt: skip


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
    """All kept rows in Markdown, section by section in the order of `rows.yaml`."""
    lines, section = [HEAD], None
    for name, row in read_rows().items():
        path = FOLDER / f"{name}.json"
        if not path.is_file():
            continue
        if row["section"] != section:
            section = row["section"]
            lines += ["", f"## {section}", "", row.get("about", "")] if row.get("about") else ["", f"## {section}"]
            lines += [
                "",
                "| row | metric | score | interval | nested | recall | parameters | training | all | beside |",
            ]
            lines += ["|---|---|---|---|---|---|---|---|---|---|"]
        lines.append(_line(json.loads(path.read_text()), row))
    return "\n".join([*lines, "", *_made()]) + "\n"


def _line(kept: dict[str, Any], row: dict[str, Any]) -> str:
    recalls = list(kept.get("recalls", {}).values())
    cells = [
        f"`{kept['row']}`", kept["metric"], f"**{kept['score']:.4f}**",
        "{:.4f} to {:.4f}".format(*kept["interval"]), f"{kept['nested']:.4f}",
        f"{sum(recalls) / len(recalls):.4f}" if recalls else "", f"{kept['parameters']:,}",
        f"{kept['minutes']['04']:.1f} min", f"{sum(kept['minutes'].values()):.1f} min", row.get("beside", ""),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _made() -> list[str]:
    lines = ["## How each was made", ""]
    for name in read_rows():
        path = FOLDER / f"{name}.json"
        if path.is_file():
            kept = json.loads(path.read_text())
            lines.append(f"- `{name}`: `{kept['command']}`, {kept['images']} images, revision `{kept['revision']}`, "
                         f"{kept['hardware']}.")  # fmt: skip
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
    asked = parser.parse_args(argv)
    if asked.word == "table":
        print(table(), end="")
        return
    rows, data = read_rows(), asked.data.resolve()
    with tempfile.TemporaryDirectory() as elsewhere:
        runs = asked.runs.resolve() if asked.word == "run" else Path(elsewhere)
        for name in asked.rows:
            found = run_row(name, rows[name], data, runs, asked.cores)
            path = FOLDER / f"{name}.json"
            if asked.word == "check":
                check(name, json.loads(path.read_text()), found)
                continue
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name}: {found['metric']} {found['score']} {found['interval']}")


if __name__ == "__main__":
    main()
