"""HD95, ASSD and surface Dice in mm, against distances of every pair of border voxels and DeepMind's package."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import build_metric

SHAPE, SPACING = (4, 7, 9), (2.0, 0.5, 1.0)


def blobs(seed: int, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((2, *SHAPE)) < share


def slow_border(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Voxels with a face neighbour outside the mask or outside the volume."""
    found = []
    for place in zip(*np.nonzero(mask), strict=True):
        for axis, step in itertools.product(range(3), (-1, 1)):
            other = list(place)
            other[axis] += step
            if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                found.append(place)
                break
    return found


def slow_distances(a: np.ndarray, b: np.ndarray) -> tuple[list[float], list[float]]:
    def far(p: tuple[int, ...], q: tuple[int, ...]) -> float:
        return math.dist(
            [c * s for c, s in zip(p, SPACING, strict=True)], [c * s for c, s in zip(q, SPACING, strict=True)]
        )

    one, other = slow_border(a), slow_border(b)
    return [min(far(p, q) for q in other) for p in one], [min(far(p, q) for p in one) for q in other]


@pytest.mark.parametrize("name", ["hd95", "assd"])
def test_distances_are_those_of_all_pairs_of_border_voxels(name: str) -> None:
    metric = build_metric(name, spacing=SPACING)
    for seed in range(3):
        pred, truth = blobs(seed), blobs(seed + 20, 0.1)
        expected = []
        for p, t in zip(pred, truth, strict=True):
            one, other = slow_distances(p, t)
            hd95 = max(np.percentile(one, 95), np.percentile(other, 95))
            expected.append(hd95 if name == "hd95" else np.mean(one + other))
        row = metric.rows(pred, truth)
        assert [row["distance_0"], row["distance_1"]] == pytest.approx(expected)
        assert row["score"] == pytest.approx(-np.mean(expected))
        assert metric.rows(truth, pred)["score"] == pytest.approx(row["score"])


def test_one_empty_mask_has_the_diagonal_both_empty_no_distance() -> None:
    none, some = np.zeros((1, *SHAPE), bool), blobs(1)[:1]
    diagonal = math.dist((0, 0, 0), [n * s for n, s in zip(SHAPE, SPACING, strict=True)])
    metric = build_metric("hd95", spacing=SPACING)
    assert metric.rows(none, some)["score"] == pytest.approx(-diagonal)
    assert metric.rows(none, none)["score"] == 0
    assert math.isnan(build_metric("hd95", missing="skip").rows(some, none)["score"])
    assert math.isnan(build_metric("assd", empty="skip").rows(none, none)["score"])
    assert build_metric("assd", missing=3).rows(some, none)["score"] == -3
    both = np.concatenate([none, some])
    table = pd.DataFrame([metric.rows(both, both), metric.rows(none, some)])
    assert metric.score(table) == pytest.approx(-diagonal / 2)


def test_void_is_background_in_both() -> None:
    pred, truth = blobs(3), blobs(4)
    valid = np.random.default_rng(5).random(SHAPE) < 0.7
    metric = build_metric("assd")
    assert metric.rows(pred, truth, valid) == metric.rows(pred & valid, truth & valid)


@pytest.mark.parametrize("name", ["hd95", "assd", "surface_dice"])
def test_the_spacing_may_be_each_volumes_own(name: str) -> None:
    pred, truth = blobs(6), blobs(7)
    metric = build_metric(name, spacing="image")
    assert metric.at(SPACING).rows(pred, truth) == build_metric(name, spacing=SPACING).rows(pred, truth)
    fixed = build_metric(name, spacing=(1, 1, 1))
    assert fixed.at(SPACING) == fixed
    with pytest.raises(ValueError, match="nothing says how far apart"):
        metric.at(None).rows(pred, truth)


@pytest.mark.parametrize("tolerance", [0.0, 0.7, 2.0])
def test_surface_dice_in_mm_is_deepminds(tolerance: float) -> None:
    surface_distance = pytest.importorskip("surface_distance")
    metric = build_metric("surface_dice", tolerance=tolerance, spacing=SPACING)
    for seed in range(3):
        pred, truth = blobs(seed, 0.4)[:1], blobs(seed + 9, 0.4)[:1]
        measured = surface_distance.compute_surface_distances(truth[0], pred[0], SPACING)
        theirs = surface_distance.compute_surface_dice_at_tolerance(measured, tolerance)
        assert metric.rows(pred, truth)["score"] == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"spacing": (1, 0, 1)}, "expected three distances above 0"),
        ({"missing": "far"}, "expected a distance of 0 or more, or diagonal or skip"),
        ({"empty": -1}, "expected a distance of 0 or more, or skip"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_metric("hd95", **params)
