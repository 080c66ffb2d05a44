"""Metric files as hosts publish them: the mean Dice of images, one Dice of all pixels, and files that fail."""

from __future__ import annotations

from pathlib import Path

HEAD = """
import numpy as np
import pandas as pd


class ParticipantVisibleError(Exception):
    pass


def _pixels(text):
    if pd.isna(text):
        return set()
    numbers = [int(word) for word in str(text).split()]
    return {p for start, length in zip(numbers[::2], numbers[1::2]) for p in range(start, start + length)}

"""
MEAN_DICE = (
    HEAD
    + """
def score(solution: pd.DataFrame, submission: pd.DataFrame, row_id_column_name: str, empty: float = 1.0) -> float:
    both = solution.merge(submission, on=row_id_column_name, suffixes=("_true", "_said"), validate="one_to_one")
    found = []
    for true, said in zip(both["rle_true"].map(_pixels), both["rle_said"].map(_pixels)):
        total = len(true) + len(said)
        found.append(2 * len(true & said) / total if total else empty)
    return float(np.mean(found))
"""
)
GLOBAL_DICE = (
    HEAD
    + """
def score(solution, submission, row_id_column_name):
    print("rows:", len(solution))
    both = solution.merge(submission, on=row_id_column_name, suffixes=("_true", "_said"))
    pairs = [(_pixels(a), _pixels(b)) for a, b in zip(both["rle_true"], both["rle_said"])]
    return 2 * sum(len(a & b) for a, b in pairs) / sum(len(a) + len(b) for a, b in pairs)
"""
)
SIZED = (
    HEAD
    + """
def score(solution, submission, row_id_column_name):
    if "height" not in solution:
        raise ParticipantVisibleError("the solution has no column height")
    return float(solution["height"].mean() + solution["width"].mean() / 1000)
"""
)
REFUSES = (
    HEAD
    + """
def score(solution, submission, row_id_column_name):
    raise ParticipantVisibleError("masks must not overlap")
"""
)
FAULTY = {
    "raises": ("def score(a, b, c):\n    return a['nothing'].sum()\n", r"failed in line 2: KeyError: 'nothing'"),
    "visible": (REFUSES, r"refuses the table: masks must not overlap"),
    "imports": ("import kaggle_metric_utilities\n", r"imports 'kaggle_metric_utilities', which is not installed here"),
    "no score": ("def scored(a, b, c):\n    return 1.0\n", r"no function score\(solution, submission, row_id"),
    "grammar": ("def score(a, b, c)\n    return 1.0\n", r"failed: SyntaxError"),
    "no number": ("def score(a, b, c):\n    return None\n", r"failed in line|failed: TypeError"),
    "infinite": ("def score(a, b, c):\n    return float('inf')\n", r"gave inf, expected a number"),
    "exits": ("import sys\ndef score(a, b, c):\n    print('bye')\n    sys.exit(3)\n", r"exited with 3 .* printed: bye"),
    "crashes": ("import os\ndef score(a, b, c):\n    os.abort()\n", r"ended by signal 6"),
    "hangs": ("import time\ndef score(a, b, c):\n    time.sleep(60)\n", r"took more than 2 s for one table"),
    "hangs early": ("while True:\n    pass\n", r"took more than 2 s for one table"),
    "reads": ("def score(a, b, c):\n    return float(input())\n", r"failed in line 2: EOFError"),
}  # fmt: skip


def write_metric(folder: Path, text: str, name: str = "metric.py") -> Path:
    """The file `name` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name
