"""Fitting a map from features to numbers between 0 and 1; what comes out is plain numbers that NumPy applies."""

from __future__ import annotations

from typing import Any

import numpy as np

from inference.forecast.maps import (
    AnyMap,
    FeatureMap,
    ForestMap,
    LinearMap,
    NeighbourMap,
    Table,
    columns,
    in_deviations,
    squared_distances,
)
from pipeline.tuning.forecast.trees import grow_trees

KINDS = ("soft", "doc", "ridge", "forest", "neighbours")  # in the order of how little they can learn
PENALTIES = np.logspace(-1, 3, 9)
TREES = 40
NEAR = 8  # neighbour whose distance sets a kernel's width,
WIDTH_ROWS = 128  # in the median of so many rows at least
LEAST_SCALE = 1e-6
MOST_ROWS = 800  # known rows that a map learns from, drawn where there are more
DECIMALS = 8


def fit_map(
    kind: str, table: Table, target: np.ndarray, weights: np.ndarray, *, soft: str, seed: int = 0, trees: int = TREES
) -> AnyMap:  # fmt: skip
    """A map of one kind from the columns of `table` to `target` (N,), rows weighed by `weights` (N,).

    soft: the feature that is taken at its word by the kind 'soft'. trees: of a forest. Raises ValueError for an
    unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of map {kind!r}, expected one of {', '.join(KINDS)}")
    if kind == "soft":
        return FeatureMap(feature=soft)
    names = ["doc"] if kind == "doc" else [str(name) for name in table]
    values = columns(table, names)
    if len(values) > MOST_ROWS:
        kept = np.sort(np.random.default_rng(seed).permutation(len(values))[:MOST_ROWS])
        values, target, weights = values[kept], target[kept], weights[kept]
    if kind == "neighbours":
        return _neighbours(names, values, target, weights)
    if kind == "forest":
        grown = grow_trees(values, target, weights, trees=trees, seed=seed)
        return ForestMap(features=names, trees=grown, factor=1 / trees)
    return _linear(names, values, target, weights)


def deviations(names: list[str], values: np.ndarray, weights: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Of those features (N, F) that differ at all, of none the first one: names, means and standard deviations."""
    mean = np.average(values, axis=0, weights=weights)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
    kept = np.flatnonzero(scale > LEAST_SCALE)
    kept = kept if len(kept) else np.array([0])
    return [names[k] for k in kept], mean[kept], np.maximum(scale[kept], LEAST_SCALE)


def _standardised(names: list[str], values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Features (N, F') in standard deviations, and `features`, `mean`, `scale` of a map that does the same."""
    kept, mean, scale = deviations(names, values, weights)
    places = [names.index(name) for name in kept]
    facts = {"features": kept, "mean": _plain(mean), "scale": _plain(scale)}
    return in_deviations(values[:, places], mean, scale), facts


def _linear(names: list[str], values: np.ndarray, target: np.ndarray, weights: np.ndarray) -> LinearMap:
    """Ridge regression, its penalty the one of PENALTIES with the least error on each row left out.

    That error is known without fitting again: a row's error over 1 less its leverage (Allen's PRESS).
    """
    z, facts = _standardised(names, values, weights)
    share, root = weights / weights.sum(), np.sqrt(weights)
    middle, level = share @ z, float(share @ target)
    x, y = (z - middle) * root[:, None], (target - level) * root
    squares, turned = np.linalg.eigh(x.T @ x)
    shrunk = 1 / (np.maximum(squares, 0.0)[None] + PENALTIES[:, None])  # (penalties, F)
    along, pull = x @ turned, turned.T @ (x.T @ y)
    left = (y - (shrunk * pull) @ along.T) / np.maximum(1 - share - shrunk @ (along**2).T, 1e-9)
    best = int(np.argmin((left**2).sum(axis=1)))
    slope = turned @ (shrunk[best] * pull)
    return LinearMap(**facts, weights=_plain(slope), start=round(level - float(middle @ slope), DECIMALS))


def _neighbours(names: list[str], values: np.ndarray, target: np.ndarray, weights: np.ndarray) -> NeighbourMap:
    """The known rows themselves."""
    z, facts = _standardised(names, values, weights)
    place = min(NEAR, len(z) - 1)
    apart = np.partition(squared_distances(z[:: max(1, len(z) // WIDTH_ROWS)], z), place, axis=1)[:, place]
    width = max(float(np.median(apart)), LEAST_SCALE)
    return NeighbourMap(**facts, rows=_plain(z), values=_plain(target), weights=_plain(weights), width=width)


def _plain(values: np.ndarray) -> list[Any]:
    """Numbers for JSON, to DECIMALS; scales stay above 0."""
    return np.round(np.asarray(values, np.float64), DECIMALS).tolist()
