"""Peak memory of every stage on the demo's data, by the number of worker processes.

    python benchmarks/stage_memory.py [--workers 1 4] [--stages 01 06] [--tree DIR] [--folder DIR]

Each stage is a process of its own on the demo's files, trained for two short epochs, with ten shifted copies for the
forecast: memory is that of a batch and a tile, which more of them do not change. Stage 04 loads its batches in as many
processes. Looked at every 50 ms: what the process and its workers hold, pages that they share counted once (PSS);
beside it the largest process alone, as the system counted it (RSS). `--folder` keeps data and runs: stages that are not
asked for are then made only once. `--tree` measures another checkout; a revision's is made by `git worktree add DIR
REVISION`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from revisions import HERE, environment_of

from pipeline.sequence import STAGES

EVERY = 0.05
SHORT = ("train.epochs=2", "train.steps_per_epoch=12", "predict.views=[identity]", "tune.copies=10", "name=demo-short")


class Peak(NamedTuple):
    """MB of all processes together, MB of the largest."""

    together: float
    largest: float


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not, as /proc lists them now."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in task.read_text().split()]
            except OSError:
                continue  # it has ended since
    return found


def held_by(pid: int) -> float:
    """MB that a process holds, shared pages divided among those that share them; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def peak_of(words: Sequence[str], tree: Path) -> Peak:
    """Run Python with these words in `tree` to its end; ValueError with its last lines where it fails."""
    together = 0.0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=tree, env=environment_of(tree), stdout=said, stderr=subprocess.STDOUT
        )
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            together = max(together, sum(map(held_by, family(process.pid))))
            time.sleep(EVERY)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        if process.returncode:
            said.seek(0)
            raise ValueError(f"{' '.join(words)}: {said.read()[-2000:]}")
    return Peak(together, ended[2].ru_maxrss / 1024)


def stage_words(number: str, folder: Path, workers: int = 0) -> list[str]:
    """What starts a stage of the short demo in `folder`."""
    words = [f"pipeline/{STAGES[number]}.py", "demo", "--data", str(folder / "data"), "--runs", str(folder / "runs")]
    settings = [*SHORT, f"train.workers={workers}"] if number == "04" else SHORT
    return [*words, "--workers", str(workers), *(word for setting in settings for word in ("--set", setting))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--stages", nargs="+", choices=sorted(STAGES), default=sorted(STAGES))
    parser.add_argument("--tree", type=Path, default=HERE, help="a checkout (default: this one)")
    parser.add_argument("--folder", type=Path, help="where data and runs go, kept (default: a temporary folder)")
    arguments = parser.parse_args()
    print(f"| MB | {' | '.join(f'{count} workers | largest process' for count in arguments.workers)} |")
    print(f"|---{'|---' * 2 * len(arguments.workers)}|", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = (arguments.folder or Path(made)).absolute()
        if not (folder / "data").is_dir():
            peak_of(["-m", "pipeline", "demo-data", str(folder / "data")], arguments.tree)
        for number in sorted(STAGES):
            if number > max(arguments.stages):
                break
            if number not in arguments.stages:
                peak_of(stage_words(number, folder), arguments.tree)
                continue
            again = [[*stage_words(number, folder, count), "--overwrite"] for count in arguments.workers]
            peaks = [peak_of(words, arguments.tree) for words in again]
            cells = [f"{peak.together:.0f} | {peak.largest:.0f}" for peak in peaks]
            print(f"| {STAGES[number]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
