"""Choosing a candidate: not the best on these images, but the middle of all that are as good within noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.tuning.scores.score_tables import ScoreTable
from submissions.metrics.intervals import resample

PARTS = 5  # that one fold's groups are dealt into, to nest over
TWO_ERRORS = 2.0  # what cannot be told from the best at about 95 %


@dataclass(frozen=True)
class Choice:
    """What was chosen among candidates.

    best: index of the highest score; chosen: middle of the plateau; low, high: first and last index of the
    plateau of candidates in one row, or of all within noise. scores, noise: float64 (C,), score and
    standard error of the difference to the best. within: bool (C,), no worse than the best by more than two
    of these errors. tops: int (rounds,), the best candidate of each resampling.
    """

    best: int
    chosen: int
    low: int
    high: int
    scores: np.ndarray
    noise: np.ndarray
    within: np.ndarray
    tops: np.ndarray


@dataclass(frozen=True)
class Judge:
    """How candidates are compared: the units' groups are resampled, the same draws for every candidate.

    meta: one row per unit with `fold` and `group`.
    """

    meta: pd.DataFrame
    rounds: int = 1000
    seed: int = 0

    def choose(self, score_table: ScoreTable, rows: np.ndarray, coordinates: np.ndarray) -> Choice:
        """Choose on the units bool (N,) `rows`; coordinates (C, D) say where a candidate lies.

        Raises ValueError where no candidate has a score on these units.
        """
        scores = score_table.scores(rows[None].astype(np.float64))[0]
        if np.isnan(scores).all():
            raise ValueError("the metric is undefined on every image, so no threshold can be chosen")
        best = int(np.nanargmax(scores))
        samples = score_table.scores(self.draws(rows))
        noise = _deviation(samples[:, [best]] - samples)
        within = scores[best] - scores <= TWO_ERRORS * noise
        within[best] = True
        if coordinates.shape[1] == 1:
            low, high = widest_run(within, best)
            chosen = (low + high) // 2
        else:
            members = np.flatnonzero(within)
            low, high = int(members[0]), int(members[-1])
            chosen = _central(members, coordinates, scores)
        tops = np.argmax(np.nan_to_num(samples, nan=-np.inf), axis=1)
        return Choice(best, chosen, low, high, scores, noise, within, tops)

    def draws(self, rows: np.ndarray) -> np.ndarray:
        """float64 (rounds, N): resampled multiplicities of the units in `rows`, 0 for the others."""
        weights = np.zeros((self.rounds, len(rows)))
        groups = self.meta["group"].to_numpy()[rows]
        weights[:, rows] = resample(groups, rounds=self.rounds, seed=self.seed)
        return weights

    @property
    def folds(self) -> list[int]:
        """Folds that a nested estimate leaves out in turn."""
        return sorted(int(fold) for fold in self.meta["fold"].unique())

    def of_fold(self, fold: int) -> np.ndarray:
        """bool (N,): units of a fold."""
        return (self.meta["fold"] == fold).to_numpy()

    @property
    def everything(self) -> np.ndarray:
        """bool (N,): all units."""
        return np.ones(len(self.meta), bool)


def selection_folds(meta: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """`meta` with folds to nest over, and whether they are those of the training.

    Where one fold was predicted only, its groups, in order of name, are dealt into up to PARTS parts:
    enough to measure what choosing a threshold costs, though one model made all predictions.
    """
    if meta["fold"].nunique() > 1:
        return meta, True
    code = pd.factorize(meta["group"], sort=True)[0]
    return meta.assign(fold=code % max(1, min(PARTS, code.max() + 1))), False


def widest_run(within: np.ndarray, best: int) -> tuple[int, int]:
    """First and last index of the longest run of True; of equal ones that with `best`, else the first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], within.astype(np.int8), [0]])))
    runs = [(int(start), int(stop) - 1) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
    return max(runs, key=lambda run: (run[1] - run[0], run[0] <= best <= run[1], -run[0]))


def _deviation(differences: np.ndarray) -> np.ndarray:
    """Standard deviation over rounds (B, C) -> (C,) without undefined rounds; 0 where none is left."""
    defined = ~np.isnan(differences)
    number = np.maximum(defined.sum(axis=0), 1)
    filled = np.where(defined, differences, 0.0)
    mean = filled.sum(axis=0) / number
    return np.sqrt((np.where(defined, differences - mean, 0.0) ** 2).sum(axis=0) / number)


def _central(members: np.ndarray, coordinates: np.ndarray, scores: np.ndarray) -> int:
    """Member nearest to the middle of all, each coordinate counted in its own steps; ties: the better."""
    ranks = np.stack([np.unique(axis, return_inverse=True)[1] for axis in coordinates.T], axis=1)
    spread = np.maximum(ranks.max(axis=0), 1)
    places = ranks[members] / spread
    distance = np.abs(places - np.median(places, axis=0)).sum(axis=1)
    order = np.lexsort((members, -scores[members], np.round(distance, 9)))
    return int(members[order[0]])
