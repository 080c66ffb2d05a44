"""What every metric can do: score one unit into a row, and many rows into a score, plain or resampled."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

Needs = Literal["planes", "instances", "objects", "volume", "points"]
Spacing = tuple[float, float, float]  # (z, y, x) distance of voxel centres
IMAGE_SPACING = "image"  # a parameter `spacing` that asks for that of each volume


@dataclass(frozen=True)
class Metric(ABC):
    """A host's metric: `rows` scores one unit (image or volume), `score` makes one number of many rows.

    Every row has a column `score`, the metric of that unit alone (NaN where it is undefined), beside the
    columns that the aggregate needs. `needs` says which arrays `rows` takes. A metric that follows from tp, fp, fn, tn
    of each class is a `CountMetric`.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]
    of_outlines: ClassVar[bool] = False  # of instances: whether `rows` takes their outlines too
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)  # the least and the largest score there is

    def at(self, spacing: Spacing | None) -> Metric:
        """The metric for one volume whose voxels are (z, y, x) mm apart; the same metric where that plays no part."""
        return self

    @abstractmethod
    def rows(self, pred: Any, truth: Any, valid: np.ndarray | None = None) -> dict[str, float]:
        """One unit's row of the table."""

    @abstractmethod
    def score(self, table: pd.DataFrame, weights: np.ndarray | None = None) -> float:
        """The metric over a table of rows, in any order; NaN where no row has a score.

        `weights` (N,) are multiplicities: a row with weight 2 counts as two rows.
        """

    @abstractmethod
    def bootstrap(self, table: pd.DataFrame, multiplicities: np.ndarray) -> np.ndarray:
        """Scores (B,) of B resampled tables; `multiplicities` (B, N) says how often each row was drawn."""


@dataclass(frozen=True)
class SumMetric(Metric):
    """A metric that is a function of sums over rows, so 1,000 bootstrap rounds are one matrix product."""

    @abstractmethod
    def summands(self, table: pd.DataFrame) -> np.ndarray:
        """(N, S) float64 whose sums over rows, weighted or not, determine the score."""

    @abstractmethod
    def finish(self, sums: np.ndarray) -> np.ndarray:
        """Scores (...) from sums (..., S) of the summands."""

    def score(self, table: pd.DataFrame, weights: np.ndarray | None = None) -> float:
        """See `Metric.score`. Sums are rounded once (`math.fsum`), so the rows' order changes no bit."""
        parts = self.summands(table)
        if weights is not None:
            parts = parts * checked_multiplicities(weights, len(table), dimensions=1)[:, None]
        return float(self.finish(exact_sum(parts)))

    def bootstrap(self, table: pd.DataFrame, multiplicities: np.ndarray) -> np.ndarray:
        return self.finish(checked_multiplicities(multiplicities, len(table)) @ self.summands(table))


@dataclass(frozen=True)
class MeanMetric(SumMetric):
    """A metric whose score is the mean of the rows' own scores, those without one (NaN) left out."""

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        return sum_and_number(columns_of(table, ["score"])[:, 0])

    def finish(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[..., 0], sums[..., 1])


def exact_sum(values: np.ndarray) -> np.ndarray:
    """Sum over the first axis of float64 (N, ...), rounded once: the same for any order of the rows."""
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    return np.array([math.fsum(column.tolist()) for column in flat.T], dtype=np.float64).reshape(values.shape[1:])


def ratio(numerator: ArrayLike, denominator: ArrayLike, empty: float = math.nan) -> np.ndarray:
    """numerator / denominator elementwise in float64, `empty` where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator), np.asarray(denominator))
    out = np.full(numerator.shape, empty, dtype=np.float64)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def mean_where_defined(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over an axis without its NaNs; NaN where all are, with no warning."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis))


def sum_and_number(values: np.ndarray) -> np.ndarray:
    """Summands of a mean that leaves NaN out: (..., 2) with the value (0 for NaN) and whether it counts."""
    defined = ~np.isnan(values)
    return np.stack([np.where(defined, values, 0.0), defined.astype(np.float64)], axis=-1)


def columns_of(table: pd.DataFrame, names: Iterable[str]) -> np.ndarray:
    """(N, len(names)) float64 of a table's columns; ValueError that names the ones it lacks."""
    names = list(names)
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table lacks the columns {missing}; it has {list(table.columns)[:20]}: make its rows with "
            "the same metric that scores it"
        )
    return table[names].to_numpy(dtype=np.float64)


def number_of_classes(table: pd.DataFrame, prefix: str) -> int:
    """K of the columns prefix_0 .. prefix_{K-1}; ValueError where there are none."""
    k = 0
    while f"{prefix}_{k}" in table.columns:
        k += 1
    if k == 0:
        columns_of(table, [f"{prefix}_0"])
    return k


def checked_multiplicities(weights: np.ndarray, n_rows: int, *, dimensions: int = 2) -> np.ndarray:
    """Float64 multiplicities that fit the table; ValueError for another shape or a negative one."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != dimensions or weights.shape[-1] != n_rows:
        expected = f"({n_rows},)" if dimensions == 1 else f"(rounds, {n_rows})"
        raise ValueError(f"multiplicities have shape {weights.shape}, expected {expected}: one per row of the table")
    if (weights < 0).any():
        raise ValueError(f"multiplicities must not be negative, found {weights.min()}")
    return weights


def checked_planes(
    pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None, *, dimensions: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Bool planes (K, ...) of one shape, and `valid` of their spatial shape; ValueError says what differs."""
    pred, truth = np.asarray(pred), np.asarray(truth)
    for what, array in (("prediction", pred), ("truth", truth)):
        if array.dtype != np.bool_:
            raise ValueError(f"{what} has dtype {array.dtype}, expected bool planes: compare with a threshold first")
    if pred.shape != truth.shape:
        raise ValueError(f"prediction has shape {pred.shape}, truth {truth.shape}: expected the same")
    if truth.ndim not in dimensions:
        names = {3: "(classes, height, width)", 4: "(classes, depth, height, width)"}
        raise ValueError(f"planes have shape {truth.shape}, expected {' or '.join(names[d] for d in dimensions)}")
    return pred, truth, checked_valid(valid, truth.shape[1:])


def checked_valid(valid: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """`valid` as bool of the spatial shape; void is False."""
    if valid is None:
        return None
    valid = np.asarray(valid)
    if valid.dtype != np.bool_ or valid.shape != shape:
        raise ValueError(f"valid is {valid.dtype} {valid.shape}, expected bool {shape} (void pixels are False)")
    return valid


def checked_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """ValueError where a parameter is none of its choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}, expected one of {', '.join(map(repr, choices))}")


def checked_spacing(spacing: object) -> Spacing | str:
    """Three distances above 0 along z, y, x, or the word 'image'; ValueError for anything else."""
    if spacing == IMAGE_SPACING:
        return IMAGE_SPACING
    found = tuple(float(s) for s in spacing) if isinstance(spacing, list | tuple) else ()
    if len(found) != 3 or not all(s > 0 for s in found):
        raise ValueError(f"spacing={spacing!r}, expected three distances above 0 along z, y, x, or 'image'")
    return found


def known_spacing(spacing: Spacing | str, name: str) -> Spacing:
    """The spacing as numbers; ValueError where it is still to be read from an image."""
    if isinstance(spacing, str):
        raise ValueError(f"{name}: spacing is 'image', and nothing says how far apart the voxels of this one are")
    return spacing


def empty_value(empty: float | str | None, default: float) -> float:
    """The number that stands for 0/0: a number in [0, 1], NaN for 'skip', the metric's default for None."""
    if empty is None:
        return default
    if empty == "skip":
        return math.nan
    if isinstance(empty, str | bool) or not 0 <= empty <= 1:
        raise ValueError(f"empty={empty!r}, expected a score between 0 and 1, or 'skip'")
    return float(empty)
