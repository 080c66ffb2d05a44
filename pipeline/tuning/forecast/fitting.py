"""Fitting a map from features to numbers between 0 and 1; what comes out is plain numbers that NumPy applies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from inference.forecast.maps import (
    AnyMap,
    FeatureMap,
    ForestMap,
    LinearMap,
    NeighbourMap,
    Tree,
    columns,
    in_deviations,
    squared_distances,
)

KINDS = ("soft", "doc", "ridge", "forest", "neighbours")  # in the order of how little they can learn
PENALTIES = np.logspace(-1, 3, 9)
TREES, LEAF, SHARE = 40, 3, 0.5
NEAR = 8  # neighbour whose distance sets a kernel's width
LEAST_SCALE = 1e-6
MOST_ROWS = 800  # known rows that a map learns from, drawn where there are more
DECIMALS = 5


def fit_map(
    kind: str, table: pd.DataFrame, target: np.ndarray, weights: np.ndarray, *, soft: str, seed: int = 0
) -> AnyMap:  # fmt: skip
    """A map of one kind from the columns of `table` to `target` (N,), rows weighed by `weights` (N,).

    soft: the feature that is taken at its word by the kind 'soft'. Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of map {kind!r}, expected one of {', '.join(KINDS)}")
    if kind == "soft":
        return FeatureMap(feature=soft)
    if len(table) > MOST_ROWS:
        kept = np.sort(np.random.default_rng(seed).permutation(len(table))[:MOST_ROWS])
        table, target, weights = table.iloc[kept], target[kept], weights[kept]
    if kind == "neighbours":
        return _neighbours(table, target, weights)
    if kind == "forest":
        return _forest(table, target, weights, seed)
    return _linear(table[["doc"]] if kind == "doc" else table, target, weights)


def deviations(table: pd.DataFrame, weights: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, means and standard deviations of the features that differ at all; of none the first one."""
    names = [str(name) for name in table]
    values = columns(table, names)
    mean = np.average(values, axis=0, weights=weights)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
    kept = np.flatnonzero(scale > LEAST_SCALE)
    kept = kept if len(kept) else np.array([0])
    return [names[k] for k in kept], mean[kept], np.maximum(scale[kept], LEAST_SCALE)


def _linear(table: pd.DataFrame, target: np.ndarray, weights: np.ndarray) -> LinearMap:
    """Ridge regression, its penalty chosen by the error on each row left out (efficient leave-one-out)."""
    from sklearn.linear_model import RidgeCV

    names, mean, scale = deviations(table, weights)
    z = in_deviations(columns(table, names), mean, scale)
    model = RidgeCV(alphas=PENALTIES).fit(z, target, sample_weight=weights)
    return LinearMap(
        features=names, mean=_plain(mean), scale=_plain(scale), weights=_plain(model.coef_),
        start=round(float(model.intercept_), DECIMALS),
    )  # fmt: skip


def _forest(table: pd.DataFrame, target: np.ndarray, weights: np.ndarray, seed: int) -> ForestMap:
    """Extremely randomised trees (Geurts et al., 2006)."""
    from sklearn.ensemble import ExtraTreesRegressor

    names = [str(name) for name in table]
    model = ExtraTreesRegressor(TREES, min_samples_leaf=LEAF, max_features=SHARE, random_state=seed)
    model.fit(columns(table, names), target, sample_weight=weights)
    trees = []
    for one in model.estimators_:
        tree = one.tree_
        trees.append(
            Tree(
                feature=np.maximum(tree.feature, -1).tolist(),
                threshold=tree.threshold.tolist(),
                left=tree.children_left.tolist(),
                right=tree.children_right.tolist(),
                value=_plain(tree.value[:, 0, 0]),
            )
        )
    return ForestMap(features=names, trees=trees, factor=1 / len(trees))


def _neighbours(table: pd.DataFrame, target: np.ndarray, weights: np.ndarray) -> NeighbourMap:
    """The known rows themselves."""
    names, mean, scale = deviations(table, weights)
    z = in_deviations(columns(table, names), mean, scale)
    apart = np.sort(squared_distances(z, z), axis=1)
    width = max(float(np.median(apart[:, min(NEAR, len(z) - 1)])), LEAST_SCALE)
    return NeighbourMap(
        features=names, mean=_plain(mean), scale=_plain(scale), rows=[_plain(row) for row in z],
        values=_plain(target), weights=_plain(weights), width=width,
    )  # fmt: skip


def _plain(values: np.ndarray | Sequence[float]) -> list[float]:
    """Numbers for JSON; scales stay above 0."""
    return [float(f"{value:.6g}") for value in np.asarray(values, np.float64)]
