"""Was a run-length text read in the right order? The right one lays each line of an object beside the next.

Works on runs alone, no mask is painted. Needs H != W: a square mask in the wrong order is its transpose, as
compact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from submissions.rle.text import I64

MAX_VOTES = 8
RUNS_A_VOTE = 12


def order_votes(runs: I64, length: int, other: int) -> npt.NDArray[np.float64]:
    """Share of the runs' pixels that go on in the next line of `length` pixels, minus the same for `other`.

    `runs`: int64 (n, 2), start and length, sorted. Float64 (k,) in [-1, 1], one a group of consecutive runs,
    k from 0 to 8; positive speaks for lines of `length` pixels. Runs that fill a line are left out: they fit
    both.
    """
    kept = runs[:, 1] < min(length, other)
    if length == other or not kept.any():
        return np.zeros(0)
    gain = (_continued(runs, length) - _continued(runs, other))[kept]
    pixels = runs[kept, 1]
    groups = np.array_split(np.arange(len(pixels)), min(MAX_VOTES, max(1, len(pixels) // RUNS_A_VOTE)))
    return np.array([gain[group].sum() / pixels[group].sum() for group in groups])


def sign_test(votes: Iterable[float]) -> tuple[float, int, int]:
    """Two-sided sign test: 1 - p, votes above zero, votes below; ties are left out. No votes: (0, 0, 0)."""
    values = np.asarray(list(votes), dtype=float)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    n, more = wins + losses, max(wins, losses)
    if n == 0:
        return 0.0, 0, 0
    whole = math.lgamma(n + 1) - n * math.log(2)
    tail = sum(math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1)) for k in range(more, n + 1))
    return max(0.0, 1.0 - 2.0 * tail), wins, losses


def _continued(runs: I64, length: int) -> npt.NDArray[np.float64]:
    """For each run, how many of its pixels have a mask pixel `length` further on in the reading order."""
    starts, ends = runs[:, 0], runs.sum(axis=1)
    before = np.concatenate([[0], np.cumsum(runs[:, 1])])

    def covered(position: I64) -> I64:
        i = np.searchsorted(starts, position, side="right")
        return before[i] - np.where(i > 0, np.maximum(0, ends[i - 1] - position), 0)

    return (covered(ends + length) - covered(starts + length)).astype(np.float64)
