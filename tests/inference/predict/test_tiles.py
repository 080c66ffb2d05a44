"""Tiles: every pixel covered, evenly spread, shares that sum to 1, tissue told from glass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.predict.tiles import has_tissue, plan_axis, tile_positions, window


@given(st.integers(1, 400), st.integers(1, 200), st.floats(0, 0.95))
def test_tiles_cover_everything_and_are_evenly_spread(size: int, tile: int, overlap: float) -> None:
    tile = min(tile, size)
    positions = tile_positions(size, tile, overlap)
    covered = np.zeros(size, dtype=int)
    for position in positions:
        assert 0 <= position <= size - tile
        covered[position : position + tile] += 1
    assert covered.min() >= 1
    steps = np.diff(positions)
    assert len(steps) == 0 or (steps.max() - steps.min() <= 1 and steps.max() <= max(1, tile * (1 - overlap)))


def test_positions_by_hand() -> None:
    assert tile_positions(1536, 512, 0.5) == (0, 256, 512, 768, 1024)
    assert tile_positions(1000, 512, 0.5) == (0, 244, 488)
    assert tile_positions(512, 512, 0.5) == (0,)
    assert tile_positions(1025, 512, 0) == (0, 256, 513)
    assert tile_positions(100, 50, 0.9) == tuple(range(0, 51, 5))
    assert tile_positions(4, 2, 1.5e-10) == (0, 1, 2)  # two tiles would not overlap at all


@given(st.integers(1, 300), st.integers(1, 128), st.floats(0, 0.9), st.sampled_from(["gaussian", "uniform"]))
def test_shares_sum_to_one_at_every_pixel(size: int, tile: int, overlap: float, kind: str) -> None:
    axis = plan_axis(size, tile, overlap, kind, border=size % 7)
    total = np.zeros(axis.padded)
    for position, weights in zip(axis.positions, axis.weights, strict=True):
        total[position : position + axis.tile] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert axis.weights.min() > 0


def test_a_small_image_gets_a_small_tile() -> None:
    axis = plan_axis(101, 512, 0.5, "gaussian")
    assert (axis.tile, axis.padded, axis.before, axis.positions) == (128, 128, 13, (0,))
    axis = plan_axis(101, 64, 0.5, "gaussian", border=10)
    assert (axis.tile, axis.padded, axis.before) == (64, 121, 10)


def test_weights_are_computed_once() -> None:
    assert plan_axis(1000, 512, 0.5, "gaussian") is plan_axis(1000, 512, 0.5, "gaussian")
    assert window(512, "gaussian") is window(512, "gaussian")


def test_the_gaussian_has_an_eighth_of_the_tile_as_deviation() -> None:
    weights = window(801, "gaussian")
    assert weights[400] == 1
    assert weights[300] == pytest.approx(np.exp(-0.5 * (100 / (801 / 8)) ** 2))
    np.testing.assert_array_equal(weights, weights[::-1])


def test_impossible_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"overlap is 1\.0"):
        tile_positions(10, 5, 1.0)
    with pytest.raises(ValueError, match="a tile of 11 does not fit into 10 pixels"):
        tile_positions(10, 11, 0.5)
    with pytest.raises(ValueError, match="window is 'hann'"):
        window(8, "hann")
    with pytest.raises(ValueError, match="border is -1"):
        plan_axis(10, 5, 0.5, "uniform", border=-1)


def test_tissue_is_told_from_glass() -> None:
    rng = np.random.default_rng(0)
    glass = np.clip(rng.normal(240, 3, (96, 130, 3)), 0, 255).astype(np.uint8)
    assert not has_tissue(glass, 255)
    stained = glass.copy()
    stained[20:50, 30:80] = (200, 120, 190)
    assert has_tissue(stained, 255)
    even = np.full((90, 70, 1), 30_000, dtype=np.uint16)
    assert not has_tissue(even, 65_535)
    even[30:60, 20:50] = 45_000
    assert has_tissue(even, 65_535)
