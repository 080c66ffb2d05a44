"""Cleaning of masks, against plain flood fills."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from inference.decide import components
from inference.decide.components import Components, label_components
from inference.decide.postprocess import (
    close_mask,
    fill_holes,
    hysteresis,
    keep_largest,
    open_mask,
    remove_small,
)


def flood(mask: np.ndarray, *, corners: bool) -> list[set[tuple[int, ...]]]:
    """Components of a mask as sets of indices, in raster order, by a plain search."""
    reach = range(-1, 2)
    steps = [
        step
        for step in itertools.product(reach, repeat=mask.ndim)
        if any(step) and (corners or sum(map(abs, step)) == 1)
    ]
    left, found = {tuple(map(int, index)) for index in np.argwhere(mask)}, []
    for start in map(tuple, np.argwhere(mask).tolist()):
        if start not in left:
            continue
        part, queue = {start}, [start]
        left.discard(start)
        while queue:
            here = queue.pop()
            for step in steps:
                near = tuple(a + b for a, b in zip(here, step, strict=True))
                if near in left:
                    left.discard(near)
                    part.add(near)
                    queue.append(near)
        found.append(part)
    return found


def paint(parts: list[set[tuple[int, ...]]], shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for part in parts:
        mask[tuple(np.array(sorted(part)).T)] = True
    return mask


@pytest.fixture(params=[(13, 21), "strips", (5, 9, 7)], ids=["image", "image in strips", "volume"])
def mask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    shape = (13, 21) if request.param == "strips" else request.param
    if request.param == "strips":
        monkeypatch.setattr(components, "STRIP_PIXELS", 3 * 21)
    return np.random.default_rng(3).random(shape) < (0.35 if len(shape) == 2 else 0.12)


def test_components_are_those_of_a_plain_search(mask: np.ndarray) -> None:
    label, areas = label_components(mask)
    parts = flood(mask, corners=True)
    assert label.dtype == np.int32
    assert areas[0] == (~mask).sum() and len(areas) == len(parts) + 1
    named = {frozenset(int(label[index]) for index in part): len(part) for part in parts}
    assert named == {frozenset([n]): area for n, area in enumerate(areas.tolist()) if n}


@pytest.mark.parametrize("holes", [False, True])
def test_areas_are_those_of_a_plain_search_however_the_mask_is_cut(mask: np.ndarray, holes: bool) -> None:
    parts = flood(mask ^ holes, corners=not holes)
    found = Components(mask, holes=holes)
    assert found.areas[0] == mask.size - (mask ^ holes).sum()
    assert sorted(found.areas[1:].tolist()) == sorted(map(len, parts))
    where = np.random.default_rng(4).random(mask.shape) < 0.5
    counted = {len(part): sum(where[index] for index in part) for part in parts}
    for number, area in enumerate(found.areas.tolist()):
        if number and list(map(len, parts)).count(area) == 1:
            assert found.pixels_of(where)[number] == counted[area]


def test_a_spiral_through_all_strips_is_one_component(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((9, 11), bool)
    mask[::2], mask[1::4, -1], mask[3::4, 0] = True, True, True
    monkeypatch.setattr(components, "STRIP_PIXELS", 11)
    assert Components(mask).areas.tolist() == [int((~mask).sum()), int(mask.sum())]
    assert len(Components(mask, holes=True).areas) == 5


def test_small_components_go(mask: np.ndarray) -> None:
    expected = [part for part in flood(mask, corners=True) if len(part) >= 4]
    assert np.array_equal(remove_small(mask, 4), paint(expected, mask.shape))
    assert np.array_equal(remove_small(mask, 1), mask)


def test_the_largest_stay(mask: np.ndarray) -> None:
    parts = flood(mask, corners=True)
    kept = flood(keep_largest(mask, 3), corners=True)
    assert sorted(map(len, kept)) == sorted(map(len, parts))[-3:]
    assert all(part in parts for part in kept)
    assert np.array_equal(keep_largest(mask, 0), mask)


def test_holes_are_filled_up_to_their_area(mask: np.ndarray) -> None:
    inverse, mask = mask, ~mask  # few pixels are background, so that it has holes
    ends = np.array(mask.shape) - 1
    holes = [
        part
        for part in flood(inverse, corners=False)
        if len(part) <= 2 and not any((np.array(index) % ends == 0).any() for index in part)
    ]
    assert holes
    assert np.array_equal(fill_holes(mask, 2), mask | paint(holes, mask.shape))
    assert np.array_equal(fill_holes(mask, 0), mask)


def test_a_background_that_touches_the_border_is_no_hole() -> None:
    mask = np.ones((6, 9), bool)
    mask[0, 3] = mask[2, 5] = False
    assert np.argwhere(~fill_holes(mask, 100)).tolist() == [[0, 3]]


def test_opening_removes_a_speck_and_closing_a_gap() -> None:
    mask = np.zeros((2, 20, 31), bool)
    mask[:, 4:14, 4:14] = True
    mask[0, 17, 25] = True
    mask[1, 4:14, 9] = False
    assert not open_mask(mask, 2)[0, 17, 25]
    assert open_mask(mask, 2)[0, 8, 8]
    assert close_mask(mask, 2)[1, 8, 9]
    assert np.array_equal(close_mask(mask, 0), mask)


def test_closing_only_adds_and_opening_only_removes_at_the_border_too(mask: np.ndarray) -> None:
    assert (close_mask(mask, 2) >= mask).all()
    assert (open_mask(mask, 1) <= mask).all()
    full = np.ones((7, 11), bool)
    assert open_mask(full, 3).all()


def test_what_opens_and_closes_is_a_disc() -> None:
    y, x = np.mgrid[:9, :9] - 4
    disc = y**2 + x**2 <= 9
    assert np.array_equal(open_mask(disc, 3), disc) and not open_mask(disc & (y < 3), 3).any()
    mask = np.random.default_rng(1).random((13, 21)) < 0.5
    for clean in (open_mask, close_mask):
        assert np.array_equal(clean(np.ascontiguousarray(mask.T), 2), clean(mask, 2).T)


@pytest.mark.parametrize("rows", [17, 2])
def test_hysteresis_keeps_components_with_enough_sure_pixels(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "STRIP_PIXELS", rows * 23)
    probs = np.random.default_rng(5).integers(0, 256, (17, 23)).astype(np.uint8)
    parts = [part for part in flood(probs >= 170, corners=True) if sum(probs[index] >= 240 for index in part) >= 2]
    assert parts
    assert np.array_equal(hysteresis(probs, 240, 2, 170), paint(parts, probs.shape))


@pytest.mark.parametrize("shape", [(6, 9), (3, 6, 9)])
def test_an_empty_mask_stays_empty(shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape, bool)
    for result in (
        remove_small(empty, 5),
        keep_largest(empty, 1),
        fill_holes(empty, 9),
        open_mask(empty, 1),
        close_mask(empty, 1),
        hysteresis(empty.astype(np.uint8), 200, 1, 100),
    ):
        assert not result.any()
    assert label_components(empty)[1].tolist() == [empty.size]


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected \\(height, width\\)"):
        label_components(np.ones(5, bool))
