"""Maps from features to a number between 0 and 1, as plain numbers in JSON: nothing but NumPy applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from submissions.host.settings import Measured

Table = Mapping[str, Any] | pd.DataFrame
FARTHEST = 4.0  # standard deviations beyond which a feature counts as no farther
BLOCK = 1024  # rows asked at once, each of which may be compared with all known ones


class FeatureMap(Measured):
    """A feature as it is: a soft score taken at its word."""

    kind: Literal["feature"] = "feature"
    feature: str


class LinearMap(Measured):
    """start + weights · z, z the features in standard deviations from their mean, none farther than FARTHEST."""

    kind: Literal["linear"] = "linear"
    features: list[str] = Field(min_length=1)
    mean: list[float]
    scale: list[Annotated[float, Field(gt=0)]]
    weights: list[float]
    start: float

    @model_validator(mode="after")
    def _one_number_a_feature(self) -> LinearMap:
        sizes = {len(self.features), len(self.mean), len(self.scale), len(self.weights)}
        if len(sizes) > 1:
            raise ValueError(f"expected as many means, scales and weights as the {len(self.features)} features")
        return self


class Tree(Measured):
    """A regression tree: node i goes left where feature[i] <= threshold[i]; a leaf has feature -1 and a value."""

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]


class ForestMap(Measured):
    """start + factor · sum of the trees' values."""

    kind: Literal["forest"] = "forest"
    features: list[str] = Field(min_length=1)
    trees: list[Tree] = Field(min_length=1)
    start: float = 0.0
    factor: float


class NeighbourMap(Measured):
    """Mean of known values, each row's weighted by how near it lies: kernel regression (Nadaraya and Watson, 1964).

    A row counts exp(-d² / width), d² the squared distance in standard deviations, none farther than FARTHEST; distances
    are taken beyond that of the nearest row, so that far from everything known the nearest rows speak.
    """

    kind: Literal["neighbours"] = "neighbours"
    features: list[str] = Field(min_length=1)
    mean: list[float]
    scale: list[Annotated[float, Field(gt=0)]]
    rows: list[list[float]] = Field(min_length=1, description="features of the known rows, in standard deviations")
    values: list[float]
    weights: list[float]
    width: float = Field(gt=0)


Map = Annotated[FeatureMap | LinearMap | ForestMap | NeighbourMap, Field(discriminator="kind")]
AnyMap = FeatureMap | LinearMap | ForestMap | NeighbourMap


def apply_map(made: AnyMap, table: Table) -> np.ndarray:
    """float64 (N,) in [0, 1]: what a map says of N rows.

    table: feature -> N numbers, such as a DataFrame. Raises ValueError that names the features it lacks.
    """
    return np.clip(_said(made, table), 0.0, 1.0)


def _said(made: AnyMap, table: Table) -> np.ndarray:
    """float64 (N,) of a map, not yet held between 0 and 1."""
    if isinstance(made, FeatureMap):
        return columns(table, [made.feature])[:, 0]
    values = columns(table, made.features)
    if isinstance(made, LinearMap):
        return in_deviations(values, made.mean, made.scale) @ np.array(made.weights) + made.start
    if isinstance(made, ForestMap):
        return made.start + made.factor * np.sum([_of_tree(tree, values) for tree in made.trees], axis=0)
    z = in_deviations(values, made.mean, made.scale)
    return nearby_mean(z, np.array(made.rows), np.array(made.values), np.array(made.weights), width=made.width)


def in_deviations(
    values: np.ndarray, mean: Sequence[float] | np.ndarray, scale: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Features (N, F) in standard deviations from their mean, none farther than FARTHEST."""
    return np.clip((values - np.asarray(mean)) / np.asarray(scale), -FARTHEST, FARTHEST)


def nearby_mean(
    z: np.ndarray, rows: np.ndarray, values: np.ndarray, weights: np.ndarray, *, width: float
) -> np.ndarray:
    """float64 (N,): kernel means at z (N, F) of the values (M,) at rows (M, F), as `NeighbourMap` says."""

    def mean_at(part: np.ndarray) -> np.ndarray:
        squared = squared_distances(part, rows)
        near = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / width) * weights
        return np.asarray((near @ values) / near.sum(axis=1))

    return by_blocks(mean_at, z)


def by_blocks(function: Callable[[np.ndarray], np.ndarray], z: np.ndarray) -> np.ndarray:
    """`function` (n, F) -> (n,) of all rows, some at a time: it may hold all known rows for each."""
    return np.concatenate([function(z[start : start + BLOCK]) for start in range(0, max(1, len(z)), BLOCK)])


def squared_distances(z: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float64 (N, M) of points z (N, F) and rows (M, F)."""
    squared = (z**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)[None] - 2 * z @ rows.T
    return np.maximum(squared, 0.0)


def columns(table: Table, names: Sequence[str]) -> np.ndarray:
    """float64 (N, len(names)) of a table's columns; ValueError that names those it lacks."""
    lacking = [name for name in names if name not in table]
    if lacking:
        raise ValueError(f"the rows lack the features {lacking}; measure them with the code that taught the forecast")
    if isinstance(table, pd.DataFrame):
        return table[list(names)].to_numpy(np.float64)
    return np.stack([np.asarray(table[name], dtype=np.float64) for name in names], axis=1)


def _of_tree(tree: Tree, values: np.ndarray) -> np.ndarray:
    """Value (N,) of the leaf that each row falls into."""
    feature, threshold = np.array(tree.feature), np.array(tree.threshold)
    left, right, value = np.array(tree.left), np.array(tree.right), np.array(tree.value)
    node = np.zeros(len(values), np.int64)
    while True:
        inner = feature[node] >= 0
        if not inner.any():
            return value[node]
        at = node[inner]
        goes_left = values[inner, feature[at]] <= threshold[at]
        node[inner] = np.where(goes_left, left[at], right[at])
