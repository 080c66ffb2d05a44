"""What measuring every image and finding sources adds to stage 01, in CPU time of the whole stage.

    python benchmarks/measure_cost.py [DATA]       DATA: folder of real sets (default ../shared/data)
    python benchmarks/measure_cost.py [DATA] --against REVISION [--sets camvid monuseg]

A line a set: images, CPU seconds of stage 01 without measures (and with the mean over channels that it took before)
and with them, least of two interleaved rounds, and the difference. With `--against` stage 01 of another commit comes
first instead, each run in a process of its own, start-up counted; it says whether both write the same inventory.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from revisions import HERE, environment_of, tree_at

from pipeline.data import inventory
from pipeline.sequence import run_stage_named

ROUNDS = 2
SETS = {"tgs-salt": "tgs-salt", "dsb2018": "dsb2018", "camvid": "camvid", "monuseg": "monuseg",
        "hippocampus": "hippocampus"}  # fmt: skip


class Unmeasured:
    """A meter that measures nothing."""

    def __init__(self, height: int, width: int) -> None:
        pass

    def add(self, top: int, pixels: np.ndarray, grey: np.ndarray) -> None:
        pass

    def measures(self) -> dict[str, float]:
        return {}


def before() -> contextlib.ExitStack:
    """Stage 01 as it was: no measures, no sources, the mean over channels by NumPy."""
    stack = contextlib.ExitStack()
    patches = {
        "Meter": Unmeasured,
        "brightness": lambda pixels: pixels.astype(np.float32).mean(axis=2),
        "find_sources": lambda table, thumbnails: pd.Series("s1", index=table.index),
    }
    for name, other in patches.items():
        stack.enter_context(mock.patch.object(inventory, name, other))
    return stack


def seconds(name: str, data: Path) -> tuple[float, int]:
    """CPU seconds of stage 01, and the number of images."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        start = time.process_time()
        run_stage_named("01_check_data", [name, "--data", str(data), "--runs", folder])
        spent = time.process_time() - start
        return spent, len(pd.read_csv(next(Path(folder).rglob("inventory.csv"))))


def seconds_in(tree: Path, name: str, data: Path) -> tuple[float, str]:
    """CPU seconds of a process that runs stage 01 of a checkout, and a hash of the inventory it writes."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pipeline/01_check_data.py", name, "--data", str(data.resolve()), "--runs", folder]
        process = subprocess.Popen(
            [sys.executable, *command], cwd=tree, env=environment_of(tree), stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"stage 01 of {name} failed in {tree}")
        found = next(Path(folder).rglob("inventory.csv")).read_bytes()
        return used.ru_utime + used.ru_stime, hashlib.sha256(found).hexdigest()


def compare(data: Path, sets: list[str], revision: str) -> None:
    """Stage 01 of another commit beside this one, a line a set."""
    with tree_at(revision) as other:
        for name in sets:
            taken: dict[Path, list[float]] = {other: [], HERE: []}
            inventories = set()
            for _ in range(ROUNDS):
                for tree, spent in taken.items():
                    cost, content = seconds_in(tree, name, data / SETS[name])
                    spent.append(cost)
                    inventories.add(content)
            before, after = (min(spent) for spent in taken.values())
            same = "the same" if len(inventories) == 1 else "ANOTHER"
            print(
                f"{name:12s} {before:5.2f} s, {after:5.2f} s: {before / after:.2f} times, {same} inventory", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--against", metavar="REVISION")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    arguments = parser.parse_args()
    if arguments.against:
        compare(arguments.data, arguments.sets, arguments.against)
        return
    for name in arguments.sets:
        least, count = [np.inf, np.inf], 0
        for _ in range(ROUNDS):
            with before():
                least[0] = min(least[0], seconds(name, arguments.data / SETS[name])[0])
            spent, count = seconds(name, arguments.data / SETS[name])
            least[1] = min(least[1], spent)
        print(f"{name:12s} {count:5d} images: {least[0]:5.2f} s, {least[1]:5.2f} s: {least[1] / least[0] - 1:+.1%}")


if __name__ == "__main__":
    main()
