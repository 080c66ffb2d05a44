"""Metrics of volumes against distances of every pair of voxels, and against shapes whose surface is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import build_metric, surface
from submissions.metrics.surface import neighbour_codes, surface_areas
from submissions.metrics.volumes import normalised_hausdorff

SHAPE = (4, 6, 9)


def drawn(seed: int, k: int = 2, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((k, *SHAPE)) < share


def slow_hausdorff(a: np.ndarray, b: np.ndarray) -> float:
    points = [[tuple(c / s for c, s in zip(i, SHAPE, strict=True)) for i in np.ndindex(SHAPE) if m[i]] for m in (a, b)]
    if not points[0] or not points[1]:
        return 1.0 if points[0] or points[1] else math.nan
    one = max(min(math.dist(p, q) for q in points[1]) for p in points[0])
    other = max(min(math.dist(p, q) for q in points[0]) for p in points[1])
    return max(one, other) / math.sqrt(3)


def test_hausdorff_distance_is_that_of_all_pairs() -> None:
    for seed in range(5):
        a, b = drawn(seed, 1, 0.03)[0], drawn(seed + 10, 1, 0.05)[0]
        assert normalised_hausdorff(a, b) == pytest.approx(slow_hausdorff(a, b))
        assert normalised_hausdorff(a, b) == normalised_hausdorff(b, a)
    assert normalised_hausdorff(a, a) == 0.0


@pytest.mark.parametrize("empty", [None, 0, "skip"])
def test_dice_and_hausdorff_after_the_description(empty: float | str | None) -> None:
    metric = build_metric("dice_hausdorff", empty=empty)
    none = np.zeros((2, *SHAPE), dtype=bool)
    partly = drawn(3, 2, 0.1)
    partly[:, 0] = partly[1] = False
    units = [(drawn(1), drawn(2)), (partly, drawn(4, 2, 0.05)), (partly, partly), (none, partly)]
    dice, distances = [], []
    for pred, truth in units:
        for k in range(2):
            distances.append(slow_hausdorff(pred[k], truth[k]))
            for p, t in zip(pred[k], truth[k], strict=True):
                area = p.sum() + t.sum()
                dice.append(2 * (p & t).sum() / area if area else (math.nan if empty == "skip" else 0.0))
    table = pd.DataFrame([metric.rows(*unit) for unit in units])
    expected = 0.4 * np.nanmean(dice) + 0.6 * (1 - np.nanmean(distances))
    assert metric.score(table) == pytest.approx(expected)
    assert table["score"][0] == pytest.approx(0.4 * np.nanmean(dice[:8]) + 0.6 * (1 - np.mean(distances[:2])))
    weights = np.array([2, 0, 1, 1])
    repeated = table.iloc[np.repeat(np.arange(4), weights)]
    assert metric.bootstrap(table, weights[None])[0] == pytest.approx(metric.score(repeated))
    assert math.isnan(metric.rows(none, none)["score"])


def test_void_voxels_and_slices_are_left_out() -> None:
    pred, truth = drawn(1), drawn(2)
    valid = np.random.default_rng(0).random(SHAPE) < 0.9
    valid[2] = False
    metric = build_metric("dice_hausdorff")
    row = metric.rows(pred, truth, valid)
    assert row["dice_number"] == 2 * 3
    assert row == metric.rows(np.where(valid, pred, ~pred), truth, valid)
    assert math.isnan(metric.rows(pred, truth, np.zeros(SHAPE, dtype=bool))["score"])
    assert math.isnan(build_metric("surface_dice").rows(pred, truth, np.zeros(SHAPE, dtype=bool))["score"])


def box(shape: tuple[int, ...], at: tuple[slice, ...]) -> np.ndarray:
    out = np.zeros(shape, dtype=bool)
    out[at] = True
    return out


def area(mask: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> float:
    return float(surface_areas(spacing)[neighbour_codes(mask)].sum())


def test_codes_read_the_eight_voxels_around_a_corner() -> None:
    mask = drawn(5, 1)[0]
    codes = neighbour_codes(mask)
    padded = np.pad(mask, 1)
    for z, y, x in np.ndindex(codes.shape):
        corners = padded[z : z + 2, y : y + 2, x : x + 2].reshape(-1)
        assert codes[z, y, x] == sum(int(c) << (7 - i) for i, c in enumerate(corners))


def test_areas_do_not_change_with_turns_mirrors_and_swapping_inside_and_outside() -> None:
    areas = surface_areas()
    assert areas[0] == areas[255] == 0.0
    assert (areas[1:255] > 0).all()
    for code in range(256):
        cube = np.array([code >> (7 - i) & 1 for i in range(8)]).reshape(2, 2, 2)
        for axes in itertools.permutations(range(3)):
            for flips in itertools.product((1, -1), repeat=3):
                turned = cube.transpose(axes)[:: flips[0], :: flips[1], :: flips[2]].reshape(-1)
                other = sum(int(c) << (7 - i) for i, c in enumerate(turned))
                assert areas[other] == pytest.approx(areas[code])
        assert areas[255 - code] == pytest.approx(areas[code])


def test_areas_of_known_cuts() -> None:
    root = math.sqrt
    one = root(3) / 8  # a corner cut off: an equilateral triangle with side √½
    expected = {
        0b1000_0000: one,
        0b1100_0000: root(2) / 2,  # an edge: a rectangle 1 × √½
        0b1111_0000: 1.0,  # a plane through the middle
        0b1001_0000: 2 * one,  # two corners across a face
        0b1000_0001: 2 * one,  # two corners across the cube
        0b1001_0110: 4 * one,  # every other corner
        0b1100_0011: root(2),  # two edges across the cube
        0b1110_1000: 6 * one,  # a corner with its three neighbours: a regular hexagon
    }
    for code, wanted in expected.items():
        assert surface_areas()[code] == pytest.approx(wanted), bin(code)
    spacing = (3.0, 2.0, 0.5)
    assert surface_areas(spacing)[0b1111_0000] == pytest.approx(2.0 * 0.5)
    assert surface_areas(spacing)[0b1010_1010] == pytest.approx(3.0 * 2.0)
    sides = (0.0, 1.0, 0.25), (1.5, 1.0, 0.0), (1.5, 0.0, 0.25)
    corner = np.linalg.norm(np.cross(np.subtract(sides[1], sides[0]), np.subtract(sides[2], sides[0]))) / 2
    assert surface_areas(spacing)[0b0000_1000] == pytest.approx(corner)
    with pytest.raises(ValueError, match="read-only"):
        surface_areas()[3] = 0


def test_the_surface_of_a_box_is_that_of_a_box_with_bevelled_edges() -> None:
    n, m, k = 3, 4, 6
    mask = box((8, 9, 10), (slice(2, 2 + n), slice(2, 2 + m), slice(2, 2 + k)))
    faces = 2 * ((n - 1) * (m - 1) + (n - 1) * (k - 1) + (m - 1) * (k - 1))
    edges = 4 * ((n - 1) + (m - 1) + (k - 1)) * math.sqrt(2) / 2
    assert area(mask) == pytest.approx(faces + edges + 8 * math.sqrt(3) / 8)
    at_the_frame = box((n, m, k), (slice(None),) * 3)
    assert area(at_the_frame) == pytest.approx(area(mask))


def test_the_surface_of_a_ball_in_the_limit() -> None:
    z, y, x = np.ogrid[-20:21, -20:21, -20:21]
    ball = z**2 + y**2 + x**2 <= 17.5**2
    # A binary surface is made of few slopes, so it overestimates a round one, by about a tenth.
    assert 1.0 < area(ball) / (4 * math.pi * 17.5**2) < 1.12
    z, y, x = np.ogrid[-10:11, -20:21, -20:21]
    flat = (2 * z) ** 2 + y**2 + x**2 <= 17.5**2
    assert 1.0 < area(flat, (2.0, 1.0, 1.0)) / (4 * math.pi * 17.5**2) < 1.15


def slow_surface_dice(pred: np.ndarray, truth: np.ndarray, tolerance: float, spacing: tuple) -> float:
    elements = []
    for mask in (pred, truth):
        codes = neighbour_codes(mask)
        elements.append({i: surface_areas(spacing)[codes[i]] for i in np.ndindex(codes.shape) if 0 < codes[i] < 255})
    matched = 0.0
    for mine, other in (elements, elements[::-1]):
        for i, size in mine.items():
            far = [math.dist(np.multiply(i, spacing), np.multiply(j, spacing)) for j in other]
            matched += size if min(far, default=math.inf) <= tolerance else 0.0
    total = sum(elements[0].values()) + sum(elements[1].values())
    return matched / total if total else math.nan


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.3])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.7, 1.1)])
def test_surface_dice_is_that_of_all_pairs_of_elements(
    tolerance: float, spacing: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface, "_SLAB", 2)
    metric = build_metric("surface_dice", tolerance=tolerance, spacing=list(spacing))
    for seed in range(3):
        pred, truth = drawn(seed, 2, 0.05), drawn(seed + 5, 2, 0.05)
        truth[0] = pred[0]
        truth[0, 1, 2:4] ^= True
        slow = [slow_surface_dice(p, t, tolerance, spacing) for p, t in zip(pred, truth, strict=True)]
        row = metric.rows(pred, truth)
        assert [row[f"matched_{k}"] / row[f"total_{k}"] for k in range(2)] == pytest.approx(slow)
        assert row["score"] == pytest.approx(np.mean(slow))
        assert metric.rows(truth, pred)["score"] == pytest.approx(row["score"])
        assert metric.rows(truth, truth)["score"] == 1.0


def test_a_shift_within_the_tolerance_is_no_error_and_more_tolerance_never_hurts() -> None:
    truth = box((10, 12, 14), (slice(3, 7), slice(3, 8), slice(3, 9)))[None]
    moved = np.roll(truth, 1, axis=3)
    scores = [build_metric("surface_dice", tolerance=t).rows(moved, truth)["score"] for t in (0.0, 0.5, 1.0)]
    assert 0 < scores[0] == scores[1] < scores[2] == 1.0


def test_surface_dice_over_volumes() -> None:
    none = np.zeros((1, *SHAPE), dtype=bool)
    units = [(drawn(1, 1), drawn(2, 1)), (none, drawn(3, 1)), (none, none), (drawn(5, 1), drawn(5, 1))]
    mean, whole = build_metric("surface_dice"), build_metric("surface_dice", over="dataset")
    table = pd.DataFrame([mean.rows(*unit) for unit in units])
    assert table["score"][1] == 0.0 and math.isnan(table["score"][2]) and table["score"][3] == 1.0
    assert mean.score(table) == pytest.approx(table["score"].mean())
    assert whole.score(table) == pytest.approx(table["matched_0"].sum() / table["total_0"].sum())
    assert build_metric("surface_dice", empty=1).rows(none, none)["score"] == 1.0
    draws = np.array([[1, 0, 2, 1], [0, 1, 1, 3]])
    for metric in (mean, whole):
        repeated = [metric.score(table.iloc[np.repeat(np.arange(4), n)]) for n in draws]
        np.testing.assert_allclose(metric.bootstrap(table, draws), repeated)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("surface_dice", {"spacing": [1, 1]}, "expected three distances above 0"),
        ("surface_dice", {"spacing": [1, 0, 1]}, "expected three distances above 0"),
        ("surface_dice", {"tolerance": -1}, "tolerance=-1"),
        ("surface_dice", {"over": "x"}, "over='x'"),
        ("surface_dice", {"empty": 3}, "empty=3"),
        ("dice_hausdorff", {"empty": "none"}, "empty='none'"),
        ("dice_hausdorff", {"dice_weight": 2}, "dice_weight=2"),
    ],
)
def test_wrong_parameters_are_named(name: str, params: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_metric(name, **params)


@pytest.mark.parametrize("name", ["surface_dice", "dice_hausdorff"])
def test_single_slices_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected \(classes, depth, height, width\)"):
        build_metric(name).rows(drawn(1)[0], drawn(1)[0])
