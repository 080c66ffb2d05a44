"""clDice against its definition written with sets, on drawn tubes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from submissions.metrics import build_metric
from submissions.metrics.skeletons import skeleton

pytest.importorskip("skimage")


def tube(gap: slice | None = None) -> np.ndarray:
    """bool (1, 7, 9, 24): a bar of 3 x 3 voxels along x, perhaps broken."""
    out = np.zeros((1, 7, 9, 24), bool)
    out[0, 2:5, 3:6, 2:22] = True
    if gap is not None:
        out[0, :, :, gap] = False
    return out


def places(mask: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(map(int, place)) for place in np.argwhere(mask)}


def test_cl_dice_is_the_harmonic_mean_of_two_shares_of_middle_lines() -> None:
    from skimage.morphology import skeletonize

    pred, truth = tube(slice(8, 14)), tube()
    pred = np.roll(pred, 1, axis=2)
    middle_pred, middle_truth = places(skeletonize(pred[0])), places(skeletonize(truth[0]))
    precision = len(middle_pred & places(truth[0])) / len(middle_pred)
    recall = len(middle_truth & places(pred[0])) / len(middle_truth)
    row = build_metric("cl_dice").rows(pred, truth)
    assert row["score"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert 0 < row["score"] < 1
    assert build_metric("cl_dice").rows(truth, truth)["score"] == 1


def test_a_broken_tube_costs_more_than_a_thin_one() -> None:
    thin = np.zeros_like(tube())
    thin[0, 3, 4, 2:22] = True
    metric = build_metric("cl_dice")
    assert metric.rows(thin, tube())["score"] > 0.95 > metric.rows(tube(slice(8, 14)), tube())["score"]


def test_planes_empty_masks_and_void() -> None:
    flat, none = tube()[:, 3], np.zeros((1, 9, 24), bool)
    metric = build_metric("cl_dice")
    assert metric.rows(flat, flat)["score"] == 1
    assert metric.rows(none, flat)["score"] == 0
    assert metric.rows(none, none)["score"] == 1
    assert math.isnan(build_metric("cl_dice", empty="skip").rows(none, none)["score"])
    assert math.isnan(metric.rows(flat, flat, np.zeros((9, 24), bool))["score"])
    valid = np.ones((9, 24), bool)
    valid[:, 10:] = False
    assert metric.rows(flat, none, valid) == metric.rows(flat & valid, none)
    assert not skeleton(none[0]).any()


def test_what_the_thinning_loses_is_its_own_skeleton() -> None:
    sheet = np.zeros((8, 9, 20), bool)
    sheet[1:7, 3:5, 1:19] = True
    assert np.array_equal(skeleton(sheet), sheet)
    both = sheet.copy()
    both[:, 7, 2:18] = True
    kept = skeleton(both)
    assert kept[1:7, 3:5, 1:19].all() and kept[:, 7].any()
    assert build_metric("cl_dice").rows(sheet[None], sheet[None])["score"] == 1
