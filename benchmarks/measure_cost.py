"""What measuring every image and finding sources adds to stage 01, in CPU time of the whole stage.

    python benchmarks/measure_cost.py [DATA]       DATA: folder of real sets (default ../shared/data)

A line a set: images, CPU seconds of stage 01 without measures (and with the mean over channels that it took before)
and with them, least of two interleaved rounds, and the difference.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

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


def main(data: Path) -> None:
    for name, folder in SETS.items():
        least, count = [np.inf, np.inf], 0
        for _ in range(ROUNDS):
            with before():
                least[0] = min(least[0], seconds(name, data / folder)[0])
            spent, count = seconds(name, data / folder)
            least[1] = min(least[1], spent)
        print(f"{name:12s} {count:5d} images: {least[0]:5.2f} s, {least[1]:5.2f} s: {least[1] / least[0] - 1:+.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data"))
