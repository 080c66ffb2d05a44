"""Topology of volumes against Betti numbers counted by hand, the host's formula against its published words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from submissions.metrics import build_metric, topology
from submissions.metrics.topology import betti_matcher, component_voi, matched_features, octants, topology_f1

SHAPE = (9, 12, 14)


def needs_matcher() -> None:
    pytest.importorskip("topolosses", reason="Betti-Matching-3D is an extra")


def betti_numbers(mask: np.ndarray) -> list[int]:
    """Components joined by faces, cavities as background joined by corners that no border sees, tunnels by Euler."""
    components = label(mask)[1]
    cavities = label(~np.pad(mask, 1), np.ones((3, 3, 3)))[1] - 1
    euler = 0
    for cell in np.ndindex(2, 2, 2):  # cells: voxels, pairs, squares, cubes of voxels that are all inside
        part = mask
        for axis, wide in enumerate(cell):
            if wide:
                low, high = [slice(None)] * 3, [slice(None)] * 3
                low[axis], high[axis] = slice(None, -1), slice(1, None)
                part = part[tuple(low)] & part[tuple(high)]
        euler += (-1) ** sum(cell) * int(part.sum())
    return [components, components + cavities - euler, cavities]


def drawn(seed: int) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).random(SHAPE), 0.8)
    return noise > np.median(noise)


def ring(corner: tuple[int, int]) -> np.ndarray:
    """bool: a square ring of one tunnel, one voxel thick."""
    out = np.zeros(SHAPE, bool)
    y, x = corner
    out[4, y : y + 4, x : x + 4] = True
    out[4, y + 1 : y + 3, x + 1 : x + 3] = False
    return out


def test_numbers_of_features_are_betti_numbers() -> None:
    needs_matcher()
    for seed in range(3):
        pred, truth = drawn(seed), drawn(seed + 7)
        matched, predicted, true = matched_features(pred, truth)
        for found, mask in ((predicted, pred), (true, truth)):
            components, tunnels, cavities = betti_numbers(mask)
            assert found.tolist() == [components - 1, tunnels, cavities]
        assert (matched <= np.minimum(predicted, true)).all()
        same = matched_features(truth, truth)
        assert (same[0] == same[1]).all() and (same[1] == true).all()


def test_a_tunnel_is_matched_in_its_place_only() -> None:
    needs_matcher()
    here, there = ring((1, 1)), ring((6, 8))
    assert matched_features(here, here)[:, 1].tolist() == [1, 1, 1]
    assert matched_features(here, there)[:, 1].tolist() == [0, 1, 1]
    metric = build_metric("topo_score", parts="whole")
    assert metric.rows(here[None], here[None])["score"] == 1
    # of the three dimensions only tunnels are active; each volume's first component is not counted
    assert metric.rows(here[None], there[None])["score"] == 0


def test_scores_follow_the_hosts_formula() -> None:
    counts = np.array([[3, 0, 0], [4, 0, 2], [5, 0, 0]])  # matched, predicted, true of components, tunnels, cavities
    expected = (0.34 * 6 / 9 + 0.33 * 0.5 / 2.5) / 0.67
    assert topology_f1(counts, (0.34, 0.33, 0.33)) == pytest.approx(expected)
    assert topology_f1(np.zeros((3, 3), int), (0.34, 0.33, 0.33)) == 1


def test_octants_share_a_volume_and_their_numbers_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = np.zeros((5, 4, 1), int)
    for part in octants(seen.shape):
        seen[part] += 1
    assert (seen == 1).all()
    assert next(octants((5, 4, 3))) == (slice(0, 3), slice(0, 2), slice(0, 2))
    monkeypatch.setattr(topology, "matched_features", lambda p, t: np.full((3, 3), int(p.sum())))
    mask = drawn(3)
    row = build_metric("topo_score").rows(mask[None], mask[None])
    assert row["matched_0_0"] == mask.sum()
    assert build_metric("topo_score", parts="whole").rows(mask[None], mask[None])["truth_0_2"] == mask.sum()


def test_the_surface_score_is_its_three_parts_and_void_is_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "matched_features", lambda p, t: np.array([[1, 0, 0], [2, 0, 0], [2, 0, 0]]))
    pred, truth = drawn(1)[None], drawn(2)[None]
    valid = np.random.default_rng(0).random(SHAPE) < 0.8
    row = build_metric("vesuvius_surface").rows(pred, truth, valid)
    p, t = pred & valid, truth & valid
    surface = build_metric("surface_dice", tolerance=2).rows(p, t)["score"]
    voi = 1 / (1 + 0.3 * component_voi(p[0], t[0]))
    assert row == pytest.approx(
        {"topo": 0.5, "surface": surface, "voi": voi, "score": 0.3 * 0.5 + 0.35 * surface + 0.35 * voi}
    )
    quick = build_metric("vesuvius_surface", weights=(0, 1, 1)).rows(p, t)
    assert quick == pytest.approx({"surface": surface, "voi": voi, "score": (surface + voi) / 2})


def test_components_of_the_surface_score_touch_at_corners() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    pred, truth = drawn(4), drawn(5)
    either = pred | truth
    parts = [label(mask, np.ones((3, 3, 3)))[0][either] for mask in (truth, pred)]
    assert component_voi(pred, truth) == pytest.approx(sum(skimage.variation_of_information(*parts)))


def test_both_empty_is_1_and_one_empty_loses_the_surface() -> None:
    none = np.zeros((1, *SHAPE), bool)
    quick = build_metric("vesuvius_surface", weights=(0, 1, 1))
    assert quick.rows(none, none)["score"] == 1
    assert quick.rows(none, drawn(1)[None])["surface"] == 0


def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    two = np.zeros((2, *SHAPE), bool)
    with pytest.raises(ValueError, match="scores one class, found 2"):
        build_metric("vesuvius_surface").rows(two, two)
    with pytest.raises(ValueError, match="not all 0"):
        build_metric("vesuvius_surface", weights=(0, 0, 0))
    with pytest.raises(ValueError, match="expected 0 or more, and above 0"):
        build_metric("vesuvius_surface", alpha=0)
    with pytest.raises(ValueError, match="three numbers above 0"):
        build_metric("topo_score", weights=(1, 1))
    with pytest.raises(ValueError, match="expected 'octants' or 'whole'"):
        build_metric("topo_score", parts="halves")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    betti_matcher.cache_clear()
    with pytest.raises(ValueError, match="pip install --no-deps topolosses"):
        betti_matcher()
    betti_matcher.cache_clear()
