"""F-beta of places against slow references written after the hosts' files, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from submissions.metrics.points import PointFBeta

RNG = np.random.default_rng(5)
RADII, WEIGHTS = [30.0, 45.0], [1.0, 2.0]


def drawn(volumes: int, classes: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """(predicted, true) places in voxels, by volume and class: near ones, far ones, none."""
    found = []
    for number in range(volumes):
        parts = []
        for _ in range(classes):
            true = RNG.uniform(0, 60, (RNG.integers(0, 7), 3))
            near = true[: RNG.integers(0, len(true) + 1)] + RNG.normal(0, 2.5, 3)
            parts.append((np.concatenate([near, near[:1] + 0.3, RNG.uniform(0, 60, (number % 3, 3))]), true))
        found.append(parts)
    return found


def slow_counts(found: np.ndarray, true: np.ndarray, limit: float) -> tuple[int, int, int]:
    """CZII's host: each true place that any predicted one is near is found once."""
    hits = sum(any(math.dist(one, other) <= limit for other in found) for one in true)
    return hits, len(found) - hits, len(true) - hits


def slow_czii(volumes: list[list[tuple[np.ndarray, np.ndarray]]], beta: float) -> float:
    total = 0.0
    for k, (radius, weight) in enumerate(zip(RADII, WEIGHTS, strict=True)):
        counts = [slow_counts(10 * parts[k][0], 10 * parts[k][1], radius) for parts in volumes]
        tp, fp, fn = (sum(one[i] for one in counts) for i in range(3))
        precision, recall = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0
        if precision + recall > 0:
            total += weight * (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
    return total / sum(WEIGHTS)


def table_of(metric: PointFBeta, volumes: list[list[tuple[np.ndarray, np.ndarray]]]) -> pd.DataFrame:
    return pd.DataFrame([metric.rows(*zip(*parts, strict=True)) for parts in volumes])  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_particles_score_as_the_host_counts_them(beta: float) -> None:
    metric = PointFBeta(radius=RADII, weights=WEIGHTS, spacing=(10, 10, 10), beta=beta)
    volumes = drawn(5, 2)
    table = table_of(metric, volumes)
    assert 0.1 < metric.score(table) < 0.95
    assert metric.score(table) == pytest.approx(slow_czii(volumes, beta))
    drawn_rows = np.array([[2, 0, 1, 1, 1], [0, 0, 0, 3, 2]])
    again = [[volume for volume, times in zip(volumes, row, strict=True) for _ in range(times)] for row in drawn_rows]
    np.testing.assert_allclose(metric.bootstrap(table, drawn_rows), [slow_czii(one, beta) for one in again])
    assert metric.score(table.iloc[::-1]) == metric.score(table)


def slow_byu(cases: list[tuple[Any, Any, float]], beta: float) -> float:
    """BYU's host: a place too far away counts as no motor, and only a motor where none is counts as false."""
    said, there = [], []
    for found, true, voxel in cases:
        near = found is not None and true is not None and math.dist(found, true) <= 1000 / voxel
        there.append(true is not None)
        said.append(near if true is not None else found is not None)
    tp = sum(a and b for a, b in zip(said, there, strict=True))
    fp, fn = (
        sum(a and not b for a, b in zip(said, there, strict=True)),
        sum(b and not a for a, b in zip(said, there, strict=True)),
    )
    return (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)


def test_motors_score_as_the_host_counts_them() -> None:
    cases = [
        ((100.0, 100, 100), None, 10.0), ((251.0, 251, 251), (250.0, 250, 250), 10.0),
        ((600.0, 600, 600), (100.0, 100, 100), 10.0), (None, (200.0, 200, 200), 10.0), (None, None, 15.0),
        ((50.0, 50, 70), (50.0, 50, 110), 19.7), ((50.0, 50, 50), (50.0, 50, 110), 19.7),
    ]  # fmt: skip
    metric = PointFBeta(radius=1000, spacing="image", count="volumes", beta=2)
    rows = []
    for found, true, voxel in cases:
        places = [np.array([one] if one is not None else [], float).reshape(-1, 3) for one in (found, true)]
        rows.append(metric.at((voxel, voxel, voxel)).rows([places[0]], [places[1]]))
    assert metric.score(pd.DataFrame(rows)) == pytest.approx(slow_byu(cases, 2))
    assert metric.score(pd.DataFrame(rows[:4])) == pytest.approx(0.3571428571428571)  # the example in the host's file
    assert [row["score"] for row in rows[:4]] == [0, 1, 0, 0] and math.isnan(rows[4]["score"])


def test_places_in_void_voxels_do_not_count_and_a_class_that_is_nowhere_is_left_out() -> None:
    valid = np.ones((4, 6, 8), bool)
    valid[:, :, 5:] = False
    here, void, outside = [1.0, 2.2, 3.0], [1.0, 2.0, 5.6], [1.0, 2.0, 9.0]
    metric = PointFBeta(radius=1)
    nothing = np.zeros((0, 3))
    row = metric.rows([np.array([here, void, outside]), nothing], [np.array([here, void]), nothing], valid)
    assert [row[name] for name in ("tp_0", "fp_0", "fn_0", "tp_1", "fp_1", "fn_1")] == [1, 1, 0, 0, 0, 0]
    assert row["score"] == pytest.approx(2 / 3)
    assert math.isnan(metric.rows([nothing], [nothing], valid)["score"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"beta": 0}, "beta=0"), ({"radius": [1, 0]}, "radius="), ({"weights": [0, 0]}, "weights="),
        ({"count": "images"}, "count='images'"), ({"spacing": 2}, "spacing=2"),
    ],
)  # fmt: skip
def test_parameters_that_say_nothing_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointFBeta(**params)


def test_parameters_must_be_one_a_class_and_the_spacing_known() -> None:
    nothing = [np.zeros((0, 3))]
    with pytest.raises(ValueError, match="expected one for each of 1 classes"):
        PointFBeta(radius=[1, 2]).rows(nothing, nothing)
    with pytest.raises(ValueError, match="nothing says how far apart"):
        PointFBeta(spacing="image").rows(nothing, nothing)
