"""Variation of information and adapted Rand against loops over all pairs of pixels, and scikit-image."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import build_metric
from submissions.metrics.partitions import variation_of_information

SHAPE = (3, 5, 6)


def labels(seed: int, top: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top + 1, SHAPE).astype(np.int32)


def slow_voi(pred: list[int], truth: list[int]) -> tuple[float, float]:
    """H(pred | truth) and H(truth | pred) from counts of joint and single labels."""
    joint, p, t = Counter(zip(pred, truth, strict=True)), Counter(pred), Counter(truth)
    n = len(pred)
    split = -sum(c / n * math.log2(c / t[b]) for (_, b), c in joint.items())
    merge = -sum(c / n * math.log2(c / p[a]) for (a, _), c in joint.items())
    return split, merge


@pytest.mark.parametrize("background", ["union", "ignored"])
def test_voi_is_the_two_conditional_entropies(background: str) -> None:
    metric = build_metric("voi", background=background, alpha=0.3)
    for seed in range(4):
        pred, truth = labels(seed), labels(seed + 30, 3)
        kept = (truth > 0) | (pred > 0) if background == "union" else truth > 0
        split, merge = slow_voi(pred[kept].tolist(), truth[kept].tolist())
        row = metric.rows(pred, truth)
        assert (row["split"], row["merge"]) == pytest.approx((split, merge))
        assert row["score"] == pytest.approx(1 / (1 + 0.3 * (split + merge)))


def test_voi_and_adapted_rand_are_scikit_images() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    for seed in range(4):
        pred, truth = labels(seed), labels(seed + 30, 3)
        under, over = skimage.variation_of_information(truth, pred)
        assert sum(variation_of_information(pred.ravel(), truth.ravel())) == pytest.approx(under + over)
        error, *shares = skimage.adapted_rand_error(truth, pred)  # which calls the share of the truth's pairs precision
        row = build_metric("adapted_rand").rows(pred, truth)
        assert [row["score"], row["recall"], row["precision"]] == pytest.approx([1 - error, *shares])


def test_adapted_rand_is_the_f_score_of_pairs() -> None:
    pred, truth = labels(1), labels(2, 3)
    kept = truth > 0
    pairs = list(itertools.combinations(zip(pred[kept].tolist(), truth[kept].tolist(), strict=True), 2))
    both = sum(a == c and b == d for (a, b), (c, d) in pairs)
    in_pred, in_truth = sum(a == c for (a, _), (c, _) in pairs), sum(b == d for (_, b), (_, d) in pairs)
    row = build_metric("adapted_rand").rows(pred, truth)
    assert (row["precision"], row["recall"]) == pytest.approx((both / in_pred, both / in_truth))
    assert row["score"] == pytest.approx(2 * both / (in_pred + in_truth))


@pytest.mark.parametrize("name", ["voi", "adapted_rand"])
def test_names_of_labels_do_not_matter_and_void_does_not_count(name: str) -> None:
    metric = build_metric(name)
    pred, truth = labels(5), labels(6)
    renamed = np.array([0, 9, 4, 70, 2])[pred]
    assert metric.rows(pred, truth) == pytest.approx(metric.rows(renamed, truth))
    valid = np.random.default_rng(0).random(SHAPE) < 0.6
    assert metric.rows(pred, truth, valid) == metric.rows(np.where(valid, pred, 1), truth, valid)
    none = np.zeros(SHAPE, np.int32)
    assert metric.rows(none, none)["score"] == 1
    assert math.isnan(build_metric(name, empty="skip").rows(none, none)["score"])
    assert math.isnan(metric.rows(pred, truth, np.zeros(SHAPE, bool))["score"])
    assert metric.rows(truth, truth)["score"] == 1
    table = pd.DataFrame([metric.rows(truth, truth), metric.rows(pred, truth)])
    assert metric.score(table) == pytest.approx(table["score"].mean())


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="expected 'ignored' or 'union'"):
        build_metric("voi", background="none")
    with pytest.raises(ValueError, match="expected a number above 0"):
        build_metric("voi", alpha=0)
    with pytest.raises(ValueError, match="expected the same"):
        build_metric("voi").rows(labels(1), labels(1)[:2])
