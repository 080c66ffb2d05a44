"""Maps fitted to drawn rows: against scikit-learn, which fits the same by other code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV

from inference.forecast.maps import ForestMap, LinearMap, Tree, apply_map, in_deviations
from pipeline.tuning.forecast.fitting import PENALTIES, fit_map
from pipeline.tuning.forecast.judging import student_quantile
from pipeline.tuning.forecast.trees import LEAF, MOST_ROWS, grow_trees


def drawn(rows: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Five features, of which three tell the target, and weights."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 5))
    target = 1 / (1 + np.exp(-values[:, 0] - values[:, 1] * values[:, 2])) * 0.9 + 0.05 * rng.random(rows)
    return pd.DataFrame(values, columns=list("abcde")), target, rng.random(rows) + 0.2


@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_ridge_is_that_of_scikit_learn(noise: float) -> None:
    table, target, weights = drawn(40)
    target = target + noise * np.random.default_rng(1).normal(size=40)
    made = fit_map("ridge", table, target, weights, soft="a")
    assert isinstance(made, LinearMap)
    z = in_deviations(table.to_numpy(), made.mean, made.scale)
    slow = min(
        (np.mean((np.sqrt(weights) * left_out(z, target, weights, float(penalty))) ** 2), float(penalty))
        for penalty in PENALTIES
    )
    reference = RidgeCV(alphas=[slow[1]]).fit(z, target, sample_weight=weights)
    np.testing.assert_allclose(made.weights, reference.coef_, atol=1e-5)
    assert made.start == pytest.approx(float(reference.intercept_), abs=1e-5)


def left_out(z: np.ndarray, target: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    """(N,): how far off each row is when ridge is fitted without it."""
    off = []
    for k in range(len(z)):
        rest = np.arange(len(z)) != k
        model = RidgeCV(alphas=[penalty]).fit(z[rest], target[rest], sample_weight=weights[rest])
        off.append(target[k] - float(model.predict(z[k : k + 1])[0]))
    return np.array(off)


def test_a_forest_is_as_near_as_that_of_scikit_learn() -> None:
    (table, target, weights), (asked, truth, _) = drawn(200), drawn(500, seed=1)
    made = fit_map("forest", table, target, weights, soft="a", trees=40)
    assert isinstance(made, ForestMap) and len(made.trees) == 40
    model = ExtraTreesRegressor(40, min_samples_leaf=LEAF, max_features=0.5, random_state=0)
    reference = model.fit(table.to_numpy(), target, sample_weight=weights).predict(asked.to_numpy())
    ours, theirs = (np.mean((said - truth) ** 2) for said in (apply_map(made, asked), reference))
    assert ours < 1.15 * theirs and theirs < 0.5 * truth.var()


def leaf_of(tree: Tree, row: np.ndarray) -> int:
    node = 0
    while tree.feature[node] >= 0:
        side = tree.left if row[tree.feature[node]] <= tree.threshold[node] else tree.right
        node = side[node]
    return node


def test_leaves_are_weighted_means_of_at_least_so_many_rows() -> None:
    table, target, weights = drawn(50)
    trees = grow_trees(table.to_numpy(), target, weights, trees=3, seed=0)
    assert max(len(tree.feature) for tree in trees) > 10
    for tree in trees:
        leaves = np.array([leaf_of(tree, row) for row in table.to_numpy()])
        for leaf in np.unique(leaves):
            chosen = leaves == leaf
            assert chosen.sum() >= LEAF
            assert tree.value[leaf] == pytest.approx(np.average(target[chosen], weights=weights[chosen]))
        assert len(np.unique(leaves)) == tree.feature.count(-1)


def test_trees_are_the_same_again_and_see_so_many_rows_at_most() -> None:
    table, target, weights = drawn(MOST_ROWS + 50)
    first, again = (grow_trees(table.to_numpy(), target, weights, trees=2, seed=3) for _ in range(2))
    assert first == again and first != grow_trees(table.to_numpy(), target, weights, trees=2, seed=4)
    leaves = [leaf_of(first[0], row) for row in table.to_numpy()]
    assert min(np.bincount(leaves)[np.unique(leaves)]) >= LEAF


@pytest.mark.parametrize("rows", [1, 2 * LEAF - 1])
def test_too_few_rows_are_one_leaf(rows: int) -> None:
    table, target, weights = drawn(rows)
    tree = grow_trees(table.to_numpy(), target, weights, trees=1, seed=0)[0]
    assert tree.feature == [-1] and tree.value[0] == pytest.approx(np.average(target, weights=weights))


def test_constant_features_and_constant_targets_split_nothing() -> None:
    ones = np.ones((20, 3))
    assert grow_trees(ones, np.arange(20.0), np.ones(20), trees=1, seed=0)[0].feature == [-1]
    values = np.random.default_rng(0).random((20, 3))
    assert grow_trees(values, np.full(20, 0.25), np.ones(20), trees=1, seed=0)[0].value == [0.25]


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 100])
def test_students_quantile_is_that_of_scipy(freedom: int) -> None:
    for share in (0.2, 0.5, 0.7):
        assert student_quantile(share, freedom) == pytest.approx(stdtrit(freedom, share), rel=0.02, abs=1e-9)
    assert student_quantile(0.8, freedom) == pytest.approx(stdtrit(freedom, 0.8), rel=0.01)
