"""How far a score can be trusted: bootstrap over groups, paired differences, and what a leaderboard may show.

Two intervals, never mixed up: `bootstrap_interval` says where the metric lies over all images like these;
`prediction_interval` says where the score of one leaderboard with so many groups may fall, which is wider.
Groups (patients, slides, volumes) are drawn whole, because images of one group are not independent.
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993; percentile intervals, widened where groups are few:
Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015, section 4.3.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy

from submissions.metrics.base import Metric

ID_COLUMNS = ("unit", "image_id")  # the first that a table has names its units
_CELLS = 1 << 22  # rounds × rows held at once

Groups = Sequence[Any] | np.ndarray | pd.Series | str | None


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval: quantiles of `samples`, widened as `few_groups` says and kept within `bounds`,
    the least and largest value there is; NaN ends where there are fewer than two groups."""

    estimate: float
    low: float
    high: float
    level: float
    groups: int
    samples: np.ndarray = field(repr=False, compare=False)
    bounds: tuple[float, float] = field(default=(-np.inf, np.inf), repr=False, compare=False)

    def lower_bound(self, level: float) -> float:
        """One-sided bound: the score lies above it with probability `level`."""
        return _quantile(self.samples, 1 - _checked_level(level), self.groups, self.bounds)


def resample(
    groups: Sequence[Any] | np.ndarray | pd.Series | int,
    *,
    rounds: int = 1000,
    seed: int = 0,
    n_groups: int | None = None,
) -> np.ndarray:
    """int32 (rounds, N): how often each row is drawn when whole groups are drawn with replacement.

    `groups` (N,) are the rows' groups, or N where every row is its own. As many groups are drawn as there
    are. With `n_groups` the draw has two steps: first a population as large as the data, then `n_groups` of
    it, so that the spread holds both the test set's luck and the doubt about the data behind the estimate.
    The order of groups is that of their sorted names. Raises ValueError for a missing group or no rounds.
    """
    code, n = (np.arange(groups), groups) if isinstance(groups, int) else _codes(groups)
    return _draws(n, rounds, seed, n_groups)[:, code]


def bootstrap_interval(
    metric: Metric,
    table: pd.DataFrame,
    groups: Groups = None,
    *,
    rounds: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Confidence interval of the metric over a table of rows: groups are resampled.

    `groups`: the rows' groups (N,), a column's name, or None where every row is its own group. The same seed
    gives the same interval, whatever the order of the rows (rows are put in order of their units' names where
    the table has it, and by their values). Raises ValueError for an empty table, a missing group, a level
    outside (0, 1).
    """
    ordered, code, n = _ordered(table, groups)
    samples = _scores(metric, ordered, code, _draws(n, rounds, seed, None))
    return interval_of(metric.score(ordered), samples, level, n, metric.bounds)


def prediction_interval(
    metric: Metric,
    table: pd.DataFrame,
    n_groups: int,
    groups: Groups = None,
    *,
    rounds: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Where the score of a leaderboard with `n_groups` groups like these may fall (see `resample`).

    It knows nothing of what differs between the data and the test set, nor of the gain of an ensemble over
    the single models that were scored. Parameters as `bootstrap_interval`.
    """
    ordered, code, n = _ordered(table, groups)
    samples = _scores(metric, ordered, code, _draws(n, rounds, seed, n_groups))
    return interval_of(metric.score(ordered), samples, level, n, metric.bounds)


def paired_bootstrap(
    metric: Metric,
    table_a: pd.DataFrame,
    table_b: pd.DataFrame,
    groups: Groups = None,
    *,
    rounds: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of score(a) - score(b) over the same units: both tables are resampled alike.

    Rows are matched by the units' names where both tables have them, else by position. `groups` go with
    `table_a`. Raises ValueError where the tables are not of the same units.
    """
    ids_a, ids_b = _ids(table_a), _ids(table_b)
    if ids_a is not None and ids_b is not None:
        table_b = table_b.iloc[_positions(ids_a, ids_b)]
    if len(table_a) != len(table_b):
        raise ValueError(f"{len(table_a)} rows against {len(table_b)}: a paired comparison needs the same units")
    order, code, n = _order(table_a, groups, [table_a, table_b])
    a, b = table_a.iloc[order], table_b.iloc[order]
    draws = _draws(n, rounds, seed, None)
    samples = _scores(metric, a, code, draws) - _scores(metric, b, code, draws)
    least, most = metric.bounds
    return interval_of(metric.score(a) - metric.score(b), samples, level, n, (least - most, most - least))


def few_groups(groups: int, level: float) -> float:
    """How much farther from the median a one-sided bound at `level` lies than a quantile of resamplings of so many
    groups: they are too narrow by sqrt(n / (n - 1)), and know no more of the spread than n groups tell, so Student's t
    stands for the normal quantile. 1.58 for 97.5 % of 5 groups, 1.13 of 15, 1.03 of 60."""
    normal = scipy.special.ndtri(level)
    widened = scipy.special.stdtrit(groups - 1, level) / normal if abs(normal) > 1e-6 else 1.0
    return float(widened * np.sqrt(groups / (groups - 1)))


def _ids(table: pd.DataFrame) -> pd.Series | None:
    """The units' names as text, where a column holds them."""
    column = next((name for name in ID_COLUMNS if name in table.columns), None)
    return None if column is None else table[column].astype(str)


def _positions(ids_a: pd.Series, ids_b: pd.Series) -> np.ndarray:
    """Where in the second table each unit of the first one is."""
    for name, ids in (("first", ids_a), ("second", ids_b)):
        twice = ids[ids.duplicated()]
        if len(twice):
            raise ValueError(f"unit {twice.iloc[0]!r} is twice in the {name} table: expected one row per unit")
    alone = set(ids_a) ^ set(ids_b)
    if alone:
        raise ValueError(f"{len(alone)} units are in one table only, such as {min(alone)!r}: compare the same units")
    return pd.Index(ids_b).get_indexer(pd.Index(ids_a))


def _ordered(table: pd.DataFrame, groups: Groups) -> tuple[pd.DataFrame, np.ndarray, int]:
    order, code, n = _order(table, groups, [table])
    return table.iloc[order], code, n


def _order(table: pd.DataFrame, groups: Groups, tables: list[pd.DataFrame]) -> tuple[np.ndarray, np.ndarray, int]:
    """An order of the rows that is the same however they come, their groups' codes in it, and how many."""
    if len(table) == 0:
        raise ValueError("the table has no rows: there is nothing to resample")
    if isinstance(groups, str):
        if groups not in table.columns:
            raise ValueError(f"the table has no column {groups!r} of groups, it has {list(table.columns)[:9]}")
        groups = table[groups]
    if groups is not None and len(groups) != len(table):
        raise ValueError(f"{len(groups)} groups for {len(table)} rows: expected one per row")
    keys = [part[c].to_numpy() for part in tables for c in sorted(part.select_dtypes("number"), key=str)]
    ids = _ids(table)
    if ids is not None:
        keys.append(pd.factorize(ids, sort=True)[0])
    if groups is None:
        order = np.lexsort(keys) if keys else np.arange(len(table))
        return order, np.arange(len(table)), len(table)
    code, n = _codes(groups)
    order = np.lexsort([*keys, code])
    return order, code[order], n


def _codes(groups: Sequence[Any] | np.ndarray | pd.Series) -> tuple[np.ndarray, int]:
    """Groups as 0..n-1 in order of their names, and n."""
    series = pd.Series(groups).reset_index(drop=True)
    if series.isna().any():
        raise ValueError(f"row {int(series.isna().argmax())} has no group: give every row one")
    code, names = pd.factorize(series.astype(str), sort=True)
    return code, len(names)


def _draws(n: int, rounds: int, seed: int, n_groups: int | None) -> np.ndarray:
    """int32 (rounds, n): how often each of n groups is drawn, see `resample`."""
    if rounds < 1:
        raise ValueError(f"rounds={rounds}, expected 1 or more")
    if n_groups is not None and n_groups < 1:
        raise ValueError(f"n_groups={n_groups}, expected the number of groups of the leaderboard, 1 or more")
    rng = np.random.default_rng(seed)
    out = np.empty((rounds, n), dtype=np.int32)
    for row in out:
        drawn = rng.integers(0, n, size=n)
        if n_groups is not None:
            drawn = drawn[rng.integers(0, n, size=n_groups)]
        row[:] = np.bincount(drawn, minlength=n)
    return out


def _scores(metric: Metric, table: pd.DataFrame, code: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Scores (rounds,) of a table whose rows belong to the groups `code`, in parts that fit into memory."""
    step = max(1, _CELLS // len(code))
    parts = [
        metric.bootstrap(table, draws[i : i + step][:, code].astype(np.float64)) for i in range(0, len(draws), step)
    ]
    return np.concatenate(parts)


def interval_of(
    estimate: float, samples: np.ndarray, level: float, groups: int, bounds: tuple[float, float]
) -> Interval:
    """The interval of scores of resampled tables, `samples`, NaN where one has none."""
    tail = (1 - _checked_level(level)) / 2
    low, high = (_quantile(samples, at, groups, bounds) for at in (tail, 1 - tail))
    return Interval(float(estimate), low, high, level, groups, samples, bounds)


def _quantile(samples: np.ndarray, at: float, groups: int, bounds: tuple[float, float]) -> float:
    """Quantile of the samples that have a score, widened and within the bounds; NaN where there is none, or only one
    group."""
    samples = samples[~np.isnan(samples)]
    if groups < 2 or not len(samples):
        return float("nan")
    middle, end = np.quantile(samples, [0.5, at])
    return float(np.clip(middle + few_groups(groups, at) * (end - middle), *bounds))


def _checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level={level}, expected a number between 0 and 1, such as 0.95")
    return level
