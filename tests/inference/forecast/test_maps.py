"""Maps as plain numbers: each says what it is defined to say."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from inference.forecast import forecast, maps
from inference.forecast.forecast import matched_score, neighbour_distance
from inference.forecast.maps import (
    FeatureMap,
    ForestMap,
    LinearMap,
    NeighbourMap,
    Tree,
    apply_map,
    nearby_mean,
)
from submissions.metrics import build_metric

TABLE = pd.DataFrame({"a": [0.0, 0.2, 0.9], "b": [1.0, 3.0, 400.0]})


def test_a_feature_is_taken_at_its_word() -> None:
    assert apply_map(FeatureMap(feature="a"), TABLE).tolist() == [0.0, 0.2, 0.9]
    assert apply_map(FeatureMap(feature="b"), TABLE).max() == 1


def test_a_line_goes_no_farther_than_four_deviations() -> None:
    made = LinearMap(features=["a", "b"], mean=[0.2, 3.0], scale=[0.1, 2.0], weights=[0.05, 0.02], start=0.5)
    assert apply_map(made, TABLE) == pytest.approx([0.5 - 0.1 - 0.02, 0.5, 0.5 + 4 * 0.05 + 4 * 0.02])


def test_a_forest_is_walked_from_the_root() -> None:
    tree = Tree(feature=[1, -1, 0, -1, -1], threshold=[2.0, 0, 0.5, 0, 0], left=[1, -1, 3, -1, -1],
                right=[2, -1, 4, -1, -1], value=[0, 0.1, 0, 0.4, 0.8])  # fmt: skip
    one = Tree(feature=[-1], threshold=[0.0], left=[-1], right=[-1], value=[0.2])
    made = ForestMap(features=["a", "b"], trees=[tree, one], factor=0.5)
    assert apply_map(made, TABLE) == pytest.approx([0.15, 0.3, 0.5])


def test_neighbours_count_by_their_distance() -> None:
    made = NeighbourMap(
        features=["a"], mean=[0.0], scale=[1.0], rows=[[0.0], [1.0]], values=[0.0, 1.0], weights=[1.0, 3.0], width=0.5
    )
    near = 3 * math.exp(-(0.8**2 - 0.2**2) / 0.5)
    assert apply_map(made, TABLE)[1] == pytest.approx(near / (1 + near))
    far = apply_map(made, pd.DataFrame({"a": [-1e9]}))
    assert 0 <= far[0] < 1e-3


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"lack the features \['c'\]"):
        apply_map(FeatureMap(feature="c"), TABLE)
    with pytest.raises(ValueError, match="as many means, scales and weights"):
        LinearMap(features=["a"], mean=[0.0], scale=[1.0], weights=[], start=0.0)
    assert np.isfinite(apply_map(FeatureMap(feature="a"), {"a": [0.5]})).all()


def test_many_rows_are_asked_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    z, rows, values = rng.normal(size=(23, 3)), rng.normal(size=(11, 3)), rng.random(11)
    whole = nearby_mean(z, rows, values, np.ones(11), width=2.0), neighbour_distance(z, rows)
    known = pd.DataFrame({"tp_0": [4.0, 1.0], "fp_0": [1.0, 3.0], "fn_0": [0.0, 2.0], "said": [0.9, 0.3]})
    known["tn_0"], known["score"] = 2.0, [8 / 9, 2 / 7]
    matched = matched_score(build_metric("dice"), values, known)
    monkeypatch.setattr(maps, "BLOCK", 5)
    monkeypatch.setattr(forecast, "BLOCK", 5)
    parts = nearby_mean(z, rows, values, np.ones(11), width=2.0), neighbour_distance(z, rows)
    np.testing.assert_allclose(np.stack(parts), np.stack(whole), rtol=1e-12)
    assert matched_score(build_metric("dice"), values, known) == pytest.approx(matched, rel=1e-12)
    distances = np.sort(np.linalg.norm(z[:, None] - rows[None], axis=2), axis=1)[:, : forecast.NEIGHBOURS]
    np.testing.assert_allclose(parts[1], distances.mean(axis=1))
    assert nearby_mean(z[:0], rows, values, np.ones(11), width=2.0).shape == (0,)
