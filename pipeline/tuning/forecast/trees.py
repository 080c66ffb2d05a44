"""Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006), all trees of a forest grown side by side, level by
level: a forest of few rows takes milliseconds, and stage 06 needs no scikit-learn for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from inference.forecast.maps import Tree

LEAF, SHARE = 3, 0.5  # least rows of a leaf, and share of the features that a node chooses among
MOST_ROWS = 256  # rows that a tree sees, drawn for each where there are more


@dataclass
class _Growing:
    """Nodes of all trees in one list: what `Tree` holds, and which tree each belongs to."""

    feature: list[np.ndarray] = field(default_factory=list)
    threshold: list[np.ndarray] = field(default_factory=list)
    left: list[np.ndarray] = field(default_factory=list)
    right: list[np.ndarray] = field(default_factory=list)
    value: list[np.ndarray] = field(default_factory=list)
    tree: list[np.ndarray] = field(default_factory=list)


def grow_trees(values: np.ndarray, target: np.ndarray, weights: np.ndarray, *, trees: int, seed: int) -> list[Tree]:
    """So many trees from values (N, F) to target (N,), rows weighed by weights (N,), all above 0.

    At every node a threshold is drawn for each of a random SHARE of the features; the one that lowers the weighted
    squared error most is kept, with at least LEAF rows on both sides.
    """
    rng = np.random.default_rng(seed)
    by_feature, shown = np.ascontiguousarray(values.T), min(len(values), MOST_ROWS)
    row = np.concatenate([rng.permutation(len(values))[:shown] for _ in range(trees)])
    node, of_tree = np.repeat(np.arange(trees), shown), np.arange(trees)
    made, first = _Growing(), 0
    while len(of_tree):
        order = np.argsort(node, kind="stable")
        row, node = row[order], node[order]
        number = np.bincount(node, minlength=len(of_tree))
        starts = np.cumsum(number) - number
        w, y = weights[row], target[row]
        mean = np.add.reduceat(w * y, starts) / np.add.reduceat(w, starts)
        drawn = rng.random((2, len(of_tree), len(by_feature)))
        feature, threshold = np.full(len(of_tree), -1), np.zeros(len(of_tree))
        large = number >= 2 * LEAF  # of smaller ones there is nothing to ask
        if large.any():
            of = np.repeat(large, number)
            x, off = np.take(by_feature, row[of], axis=1), y[of] - mean[node[of]]
            feature[large], threshold[large] = _best_splits(x, off, w[of], number[large], drawn[:, large])
        inner = feature >= 0
        rank = np.cumsum(inner) - 1
        child = first + len(of_tree) + 2 * rank
        made.feature.append(feature)
        made.threshold.append(threshold)
        made.left.append(np.where(inner, child, -1))
        made.right.append(np.where(inner, child + 1, -1))
        made.value.append(mean)
        made.tree.append(of_tree)
        kept = inner[node]
        row, node = row[kept], node[kept]
        goes_right = values[row, feature[node]] > threshold[node]
        first += len(of_tree)
        of_tree, node = np.repeat(of_tree[inner], 2), 2 * rank[node] + goes_right
    return _apart(made, trees)


def _best_splits(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, number: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Feature and threshold of each node, -1 and 0 of those that stay leaves.

    x (F, M), y (M,) less its node's mean and w (M,) are rows in the order of their nodes, `number` (nodes,) of each;
    drawn: (2, nodes, F) from 0 to 1. Features lie row by row, since sums over neighbours in memory are much faster.
    """
    starts = np.cumsum(number) - number
    low, high = np.minimum.reduceat(x, starts, axis=1), np.maximum.reduceat(x, starts, axis=1)
    differs = high > low
    key, place = np.where(differs, drawn[0].T, 2.0), max(1, round(SHARE * len(x))) - 1
    asked = differs & (key <= np.partition(key, place, axis=0)[place])
    threshold = low + drawn[1].T * (high - low)
    threshold = np.where(threshold >= high, low, threshold)
    left = (x <= np.repeat(threshold, number, axis=1)).astype(np.float64)
    on_left = np.add.reduceat(left, starts, axis=1)
    weight, whole = np.add.reduceat(left * w, starts, axis=1), np.add.reduceat(w, starts)
    total = np.add.reduceat(left * (w * y), starts, axis=1)
    fits = asked & (on_left >= LEAF) & (number - on_left >= LEAF)
    gain = np.where(fits, total**2 / np.maximum(weight, 1e-12) + total**2 / np.maximum(whole - weight, 1e-12), -1.0)
    best = gain.argmax(axis=0)
    each = np.arange(len(best))
    chosen = gain[best, each] > 1e-12
    return np.where(chosen, best, -1), np.where(chosen, threshold[best, each], 0.0)


def _apart(made: _Growing, trees: int) -> list[Tree]:
    """Every tree by itself, its nodes numbered from 0 in the order in which they were made."""
    feature, threshold, left, right, value, tree = (
        np.concatenate(one) for one in (made.feature, made.threshold, made.left, made.right, made.value, made.tree)
    )
    order = np.argsort(tree, kind="stable")
    sizes = np.bincount(tree, minlength=trees)
    number = np.empty(len(tree), np.int64)
    number[order] = np.arange(len(tree)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    left, right = (np.where(one >= 0, number[one], -1) for one in (left, right))
    return [
        Tree(
            feature=feature[of].tolist(), threshold=threshold[of].tolist(), left=left[of].tolist(),
            right=right[of].tolist(), value=value[of].tolist(),
        )
        for of in np.split(order, np.cumsum(sizes)[:-1])
    ]  # fmt: skip
