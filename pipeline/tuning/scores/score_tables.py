"""Score tables: the scores of many candidates over any resampling of the units, counted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from submissions.metrics import CountMetric, Metric, counts
from submissions.metrics.base import sum_and_number

_CELLS = 1 << 23  # rounds x candidates x summands held at once
COUNTS = ("tp", "fp", "fn", "tn")


class ScoreTable(Protocol):
    """Candidates, by number, scored on n units."""

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """(B, candidates) float64 for weights (B, n): how often each unit counts."""
        ...

    def table(self, chosen: int, rows: np.ndarray) -> pd.DataFrame:
        """The metric's rows of the units bool (n,) under one candidate."""
        ...


@dataclass
class CountScoreTable:
    """Candidates whose pixel counts are known: tp, fp, fn, tn int64, each (n, size, K)."""

    metric: CountMetric
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    def __post_init__(self) -> None:
        parts = (self.tp, self.fp, self.fn, self.tn)
        if self.metric.over == "images":
            self._parts = sum_and_number(self.metric.from_counts(*parts))
        else:
            stacked = np.stack(parts, axis=-2).astype(np.float64)
            self._parts = stacked.reshape(*stacked.shape[:2], -1)

    @classmethod
    def of_thresholds(cls, metric: CountMetric, hists: np.ndarray) -> CountScoreTable:
        """256 candidates, q >= 0 .. q >= 255 for all classes, from joint histograms (n, K, 2, 256)."""
        return cls(metric, *(np.ascontiguousarray(np.moveaxis(c, 1, 2)) for c in counts(hists)))

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """See `ScoreTable`."""
        n, size, summands = self._parts.shape
        weights = np.asarray(weights, np.float64)
        step = max(1, _CELLS // max(1, len(weights) * summands))
        out = np.empty((len(weights), size))
        for start in range(0, size, step):
            part = self._parts[:, start : start + step]
            sums = (weights @ part.reshape(n, -1)).reshape(len(weights), part.shape[1], summands)
            out[:, start : start + step] = self.metric.finish(sums)
        return out

    def table(self, chosen: int, rows: np.ndarray) -> pd.DataFrame:
        """See `ScoreTable`."""
        return table_of_counts(self.metric, [part[rows, chosen] for part in (self.tp, self.fp, self.fn, self.tn)])


def table_of_counts(metric: CountMetric, parts: Sequence[np.ndarray]) -> pd.DataFrame:
    """Rows as `metric.rows` makes them, of tp, fp, fn, tn int64 (n, K) each."""
    columns = {
        f"{name}_{k}": part[:, k].astype(np.float64)
        for name, part in zip(COUNTS, parts, strict=True)
        for k in range(part.shape[1])
    }
    return pd.DataFrame({**columns, "score": metric.from_counts(*parts)})


@dataclass
class RowScoreTable:
    """Candidates whose rows were made from pixels: one table of n rows each."""

    metric: Metric
    tables: Sequence[pd.DataFrame]

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """See `ScoreTable`."""
        used = np.flatnonzero((weights > 0).any(axis=0))
        return np.stack(
            [self.metric.bootstrap(table.iloc[used], np.asarray(weights)[:, used]) for table in self.tables],
            axis=1,
        )

    def table(self, chosen: int, rows: np.ndarray) -> pd.DataFrame:
        """See `ScoreTable`."""
        return self.tables[chosen][rows].reset_index(drop=True)
