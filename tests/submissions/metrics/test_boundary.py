"""Boundary F1 against distances of every pair of contour pixels."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import build_metric
from submissions.metrics.boundary import contour

SHAPE = (14, 20)


def slow_contour(plane: np.ndarray, valid: np.ndarray) -> list[tuple[int, int]]:
    out = []
    for y, x in np.ndindex(plane.shape):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        around = [(a, b) for a, b in around if 0 <= a < plane.shape[0] and 0 <= b < plane.shape[1]]
        if plane[y, x] and valid[y, x] and any(not plane[i] and valid[i] for i in around):
            out.append((y, x))
    return out


def slow_bf(pred: np.ndarray, truth: np.ndarray, valid: np.ndarray, distance: float) -> float:
    p, t = slow_contour(pred, valid), slow_contour(truth, valid)
    if not (truth & valid).any() or (not p and not t):
        return math.nan
    if not p or not t:
        return 0.0
    precision = np.mean([min(math.dist(a, b) for b in t) < distance for a in p])
    recall = np.mean([min(math.dist(a, b) for b in p) < distance for a in t])
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def drawn(seed: int) -> np.ndarray:
    """Three exclusive planes in blocks, the last class often absent."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.choice(3, (7, 10), p=[0.6, 0.38, 0.02]), np.ones((2, 2), dtype=int))
    return np.stack([label == k for k in range(3)])


@pytest.mark.parametrize("tolerance", [0.0075, 0.05, 0.1])
def test_boundary_f1_is_that_of_all_pairs(tolerance: float) -> None:
    metric = build_metric("boundary_f1", tolerance=tolerance)
    distance = tolerance * math.hypot(*SHAPE)
    rows, scores = [], []
    for seed in range(6):
        pred, truth = drawn(seed), drawn(seed + 50)
        truth[:, :8] = pred[:, :8]
        valid = np.random.default_rng(seed).random(SHAPE) < (0.9 if seed % 2 else 2.0)
        np.testing.assert_array_equal(np.argwhere(contour(truth[1], valid)), slow_contour(truth[1], valid))
        slow = [slow_bf(p, t, valid, distance) for p, t in zip(pred, truth, strict=True)]
        rows.append(metric.rows(pred, truth, valid))
        np.testing.assert_allclose([rows[-1][f"bf_{k}"] for k in range(3)], slow)
        scores.append(np.nanmean(slow))
        if seed % 2 == 0:
            assert metric.rows(pred, truth) == pytest.approx(rows[-1], nan_ok=True)
    table = pd.DataFrame(rows)
    np.testing.assert_allclose(table["score"], scores)
    assert metric.score(table) == pytest.approx(np.mean(scores))


def test_corners_of_the_rule() -> None:
    metric = build_metric("boundary_f1")
    none, full = np.zeros((1, *SHAPE), dtype=bool), np.ones((1, *SHAPE), dtype=bool)
    half = full.copy()
    half[:, :7] = False
    assert math.isnan(metric.rows(half, none)["score"])  # absent from the truth
    assert math.isnan(metric.rows(full, full)["score"])  # the frame is no contour
    assert metric.rows(none, half)["score"] == 0.0
    assert metric.rows(half, full)["score"] == 0.0
    assert metric.rows(half, half)["score"] == 1.0
    assert math.isnan(metric.rows(half, half, none[0])["score"])
    moved = np.roll(half, 3, axis=1)
    assert metric.rows(moved, half)["score"] == 0.0


def test_tolerance_is_strict_and_a_wider_one_never_hurts() -> None:
    a, b = np.zeros((1, 30, 40), dtype=bool), np.zeros((1, 30, 40), dtype=bool)
    a[:, 10:], b[:, 12:] = True, True
    assert build_metric("boundary_f1", tolerance=2 / 50).rows(a, b)["score"] == 0.0
    assert build_metric("boundary_f1", tolerance=2.01 / 50).rows(a, b)["score"] == 1.0
    scores = [build_metric("boundary_f1", tolerance=t).rows(drawn(1), drawn(2))["score"] for t in (0.01, 0.05, 0.1)]
    assert scores == sorted(scores)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="tolerance=0"):
        build_metric("boundary_f1", tolerance=0)
    volume = np.zeros((1, 2, 3, 4), dtype=bool)
    with pytest.raises(ValueError, match=r"expected \(classes, height, width\)"):
        build_metric("boundary_f1").rows(volume, volume)
