"""Every threshold from one pass, bit for bit what a loop over thresholds gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import (
    build_metric,
    counts,
    histogram,
    joint_histogram,
    joint_histograms,
    threshold_curve,
    threshold_values,
)

SHAPE = (9, 13)


def drawn(seed: int, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 probs with much 0 and 255, bool mask, bool valid."""
    rng = np.random.default_rng(seed)
    probs = np.clip(rng.normal(120, 150, shape), 0, 255).astype(np.uint8)
    return probs, rng.random(shape) < 0.3, rng.random(shape) < 0.8


def slow_histogram(probs: np.ndarray, mask: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    out = np.zeros((2, 256), dtype=np.int64)
    for index in np.ndindex(probs.shape):
        if valid is None or valid[index]:
            out[int(mask[index]), probs[index]] += 1
    return out


@pytest.fixture(params=["compiled", "numpy"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of counting."""
    if request.param == "numpy":
        monkeypatch.setattr(histogram, "compiled_counter", lambda: None)
    else:
        pytest.importorskip("numba")
        assert histogram.compiled_counter() is not None
    return request.param


@pytest.mark.parametrize("shape", [(9, 13), (1, 1), (0, 4), (8, 3), (1, 7), (3, 4, 5), (40, 33)])
def test_histogram_is_that_of_a_loop(path: str, shape: tuple[int, ...]) -> None:
    probs, mask, valid = drawn(0, shape)
    for seen in (None, valid):
        got = joint_histogram(probs, mask, seen)
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, slow_histogram(probs, mask, seen))


def test_histogram_of_views_blocks_and_constants(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histogram, "_BLOCK", 64)
    probs, mask, valid = drawn(1, (24, 31))
    views = [(x[1:, 3:], x.T, x[::2, ::-1]) for x in (probs, mask, valid)]
    for p, m, v in zip(*views, strict=True):
        np.testing.assert_array_equal(joint_histogram(p, m, v), slow_histogram(p, m, v))
    flat = [np.ascontiguousarray(x).reshape(-1)[3:] for x in (probs, mask)]
    np.testing.assert_array_equal(joint_histogram(*flat), slow_histogram(*flat, None))
    zero = np.zeros((24, 31), dtype=np.uint8)
    assert joint_histogram(zero, zero > 0)[0, 0] == 24 * 31
    assert joint_histogram(zero, zero > 0, zero > 0).sum() == 0


def test_counts_are_those_of_every_threshold() -> None:
    probs, mask, valid = drawn(2)
    tp, fp, fn, tn = counts(joint_histogram(probs, mask, valid))
    for t in range(256):
        pred = probs >= t
        want = [np.count_nonzero(a & b & valid) for a in (pred, ~pred) for b in (mask, ~mask)]
        assert [tp[t], fp[t], fn[t], tn[t]] == want
    assert (np.diff(tp) <= 0).all() and (np.diff(fn) >= 0).all()
    np.testing.assert_array_equal(tp + fp + fn + tn, valid.sum())


def planes_of(seed: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    many = [drawn(seed * 50 + i) for i in range(k)]
    return np.stack([m[0] for m in many]), np.stack([m[1] for m in many]), many[0][2]


@pytest.mark.parametrize("k", [1, 3, 11])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dice", {}),
        ("dice", {"average": "micro", "empty": "skip"}),
        ("iou", {"over": "dataset"}),
        ("iou", {"over": "dataset", "average": "micro"}),
        ("f_beta", {"over": "dataset", "beta": 0.5}),
        ("recall", {"classes": 0}),
        ("precision", {"empty": 0}),
        ("tgs_precision", {}),
        ("pixel_accuracy", {"exclusive": False}),
    ],
)
def test_curve_equals_a_loop_over_thresholds_bit_for_bit(name: str, params: dict, k: int) -> None:
    metric = build_metric(name, **params)
    units = [planes_of(seed, k) for seed in range(4)]
    units.append((units[0][0], np.zeros_like(units[0][1]), units[0][2]))
    hists = np.stack([joint_histograms(*unit) for unit in units])
    assert hists.shape == (5, k, 2, 256)
    curve, alone = threshold_curve(metric, hists), threshold_values(metric, hists)
    for t in (*range(0, 256, 16), 1, 254, 255):
        table = pd.DataFrame([metric.rows(p >= t, m, v) for p, m, v in units])
        assert np.array_equal(alone[:, t], table["score"], equal_nan=True)
        score = metric.score(table)
        assert curve[t] == score or (np.isnan(score) and np.isnan(curve[t]))


@pytest.mark.parametrize("over", ["images", "dataset"])
def test_resampled_curves_are_those_of_resampled_tables(over: str) -> None:
    metric = build_metric("dice", over=over)
    units = [planes_of(seed, 2) for seed in range(5)]
    hists = np.stack([joint_histograms(*unit) for unit in units])
    draws = np.random.default_rng(0).integers(0, 3, (4, 5))
    curves = threshold_curve(metric, hists, draws)
    assert curves.shape == (4, 256)
    for t in (0, 100, 255):
        table = pd.DataFrame([metric.rows(p >= t, m, v) for p, m, v in units])
        np.testing.assert_allclose(curves[:, t], metric.bootstrap(table, draws), rtol=1e-12)


def test_groups_are_sums_of_histograms() -> None:
    units = [planes_of(seed, 2) for seed in range(4)]
    hists = np.stack([joint_histograms(*unit) for unit in units])
    metric = build_metric("iou", over="dataset")
    np.testing.assert_array_equal(
        threshold_curve(metric, hists), threshold_values(metric, hists.sum(axis=0, keepdims=True))[0]
    )


def test_wrong_input_is_named() -> None:
    probs, mask, valid = drawn(0)
    with pytest.raises(ValueError, match="probs has dtype float64, expected uint8"):
        joint_histogram(probs / 255, mask)
    with pytest.raises(ValueError, match=r"mask is uint8 \(9, 13\), expected bool"):
        joint_histogram(probs, mask.astype(np.uint8))
    with pytest.raises(ValueError, match=r"mask is bool \(13, 9\)"):
        joint_histogram(probs, mask.T)
    with pytest.raises(ValueError, match="valid is bool"):
        joint_histogram(probs, mask, valid[:3])
    with pytest.raises(ValueError, match="1 planes of probs, 2 of truth"):
        joint_histograms(probs[None], np.stack([mask, mask]))
    with pytest.raises(ValueError, match=r"histogram has shape \(2, 255\)"):
        counts(np.zeros((2, 255)))
    with pytest.raises(ValueError, match=r"histograms have shape \(2, 256\)"):
        threshold_curve(build_metric("dice"), joint_histogram(probs, mask))
    hists = joint_histogram(probs, mask)[None, None]
    for call in (threshold_curve, threshold_values):
        with pytest.raises(ValueError, match="dsb2018_precision does not follow from pixel counts"):
            call(build_metric("dsb2018_precision"), hists)  # type: ignore[arg-type]
