"""Splitting masks into instances: drawn discs, and the compiled watershed against its plain Python."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from inference.decide.instances import InstanceSettings, confidences, number_by_raster, split
from inference.decide.watershed import cut, kernels, make_relief


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    row, col = np.ogrid[: shape[0], : shape[1]]
    return (row - centre[0]) ** 2 + (col - centre[1]) ** 2 <= radius**2


def touching(shape: tuple[int, int] = (40, 61)) -> tuple[np.ndarray, np.ndarray]:
    """Two discs that overlap by a few pixels, and a third apart."""
    parts = [disc(shape, (18, 16), 10), disc(shape, (20, 33), 10), disc(shape, (10, 54), 5)]
    return np.any(parts, axis=0), np.stack(parts)


def test_touching_discs_are_parted_by_distance_and_not_by_components() -> None:
    mask, parts = touching()
    assert split(mask, InstanceSettings(method="components")).max() == 2
    label = split(mask, InstanceSettings(method="distance"))
    assert label.max() == 3
    assert np.array_equal(label > 0, mask)
    for part in parts:
        only = part & (parts.sum(axis=0) == 1)
        _, counts = np.unique(label[only], return_counts=True)
        assert counts.max() / counts.sum() > 0.95


def test_depth_one_merges_and_an_ellipse_stays_whole() -> None:
    mask, _ = touching()
    assert split(mask, InstanceSettings(depth=0.9)).max() == 2
    row, col = np.ogrid[:31, :50]
    ellipse = ((row - 15) / 8) ** 2 + ((col - 25) / 20) ** 2 <= 1
    assert split(ellipse, InstanceSettings()).max() == 1


def test_a_centre_channel_parts_what_distance_cannot() -> None:
    mask = np.zeros((20, 41), bool)
    mask[4:16, 4:36] = True
    guide = np.zeros(mask.shape, np.uint8)
    guide[disc((20, 41), (10, 11), 4)] = 230
    guide[disc((20, 41), (10, 28), 4)] = 200
    assert split(mask, InstanceSettings(method="distance")).max() == 1
    label = split(mask, InstanceSettings(method="centre"), guide=guide)
    assert label.max() == 2
    assert np.array_equal(label > 0, mask)
    assert label[10, 11] != label[10, 28]


def test_a_border_channel_parts_along_the_border() -> None:
    mask = np.zeros((20, 41), bool)
    mask[4:16, 4:36] = True
    border = np.zeros(mask.shape, np.uint8)
    border[4:16, 19:21] = 255
    label = split(mask, InstanceSettings(method="border", smooth=0.5), probs=mask * np.uint8(250), guide=border)
    assert label.max() == 2
    assert len(np.unique(label[5:15, 6:17])) == len(np.unique(label[5:15, 24:34])) == 1


def test_components_of_a_volume_and_small_ones_left_out() -> None:
    volume = np.zeros((3, 9, 14), bool)
    volume[0:2, 2:5, 2:5] = True
    volume[2, 7, 11] = True
    assert split(volume, InstanceSettings(method="components")).max() == 2
    assert split(volume, InstanceSettings(method="components", min_area=2)).max() == 1


def test_labels_are_numbered_by_their_first_pixel() -> None:
    label = np.array([[0, 7, 7, 2], [5, 5, 0, 2], [5, 0, 9, 0]])
    assert number_by_raster(label).tolist() == [[0, 1, 1, 2], [3, 3, 0, 2], [3, 0, 4, 0]]
    assert number_by_raster(label, 2).tolist() == [[0, 1, 1, 2], [3, 3, 0, 2], [3, 0, 0, 0]]
    assert number_by_raster(np.zeros((2, 3), np.int32)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_confidence_is_the_mean_probability() -> None:
    label = np.array([[1, 1, 0], [2, 0, 0]], np.int32)
    probs = np.array([[255, 51, 9], [102, 9, 9]], np.uint8)
    assert confidences(label, probs) == pytest.approx([0.6, 0.4])
    assert confidences(np.zeros((2, 3), np.int32), probs) == []


def test_an_empty_mask_has_no_instances() -> None:
    empty = np.zeros((7, 12), bool)
    for method in ("components", "distance"):
        assert split(empty, InstanceSettings(method=method)).max() == 0  # type: ignore[arg-type]


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return ((place - centre) ** 2).sum(-1) <= radius**2


def test_touching_balls_of_a_volume_are_parted_by_distance() -> None:
    shape = (17, 19, 40)
    parts = np.stack([ball(shape, (8, 9, 9), 7), ball(shape, (9, 9, 21), 7), ball(shape, (8, 9, 34), 4)])
    mask = parts.any(axis=0)
    assert split(mask, InstanceSettings(method="components")).max() == 2
    label = split(mask, InstanceSettings(method="distance"))
    assert label.max() == 3 and np.array_equal(label > 0, mask)
    for part in parts:
        _, counts = np.unique(label[part & (parts.sum(axis=0) == 1)], return_counts=True)
        assert counts.max() / counts.sum() > 0.95
    guide = np.zeros(shape, np.uint8)
    guide[ball(shape, (8, 9, 9), 3)] = 220
    assert split(mask, InstanceSettings(method="centre"), guide=guide)[8, 9, 21] == 1  # one centre, one object


def watershed(height: np.ndarray, mask: np.ndarray, *, depth: float, floor: float) -> np.ndarray:
    return cut(make_relief(height, mask), depth=depth, floor=floor)


def test_a_volume_of_one_slice_is_split_as_its_image() -> None:
    rng = np.random.default_rng(5)
    height = rng.integers(0, 30, (14, 21)).astype(np.uint16)
    mask = rng.random(height.shape) < 0.8
    flat = watershed(height, mask, depth=0.1, floor=2)
    for axis in (0, 1, 2):
        deep = watershed(np.expand_dims(height, axis), np.expand_dims(mask, axis), depth=0.1, floor=2)
        np.testing.assert_array_equal(deep.squeeze(axis), flat)
    assert split(mask[None], InstanceSettings()).max() == split(mask, InstanceSettings(method="components")).max()


def reference_watershed(height: np.ndarray, mask: np.ndarray) -> int:
    """Number of regional maxima: components of equal height with no higher neighbour."""
    seen, count = np.zeros(mask.shape, bool), 0
    for start in np.argwhere(mask):
        if seen[tuple(start)]:
            continue
        queue, top = [tuple(start)], True
        seen[tuple(start)] = True
        while queue:
            here = queue.pop()
            for step in itertools.product((-1, 0, 1), repeat=mask.ndim):
                near = tuple(a + b for a, b in zip(here, step, strict=True))
                if any(a < 0 or a >= n for a, n in zip(near, mask.shape, strict=True)) or not mask[near]:
                    continue
                if height[near] > height[here]:
                    top = False
                elif height[near] == height[here] and not seen[near]:
                    seen[near] = True
                    queue.append(near)
        count += top
    return count


@pytest.mark.parametrize("shape", [(18, 27), (7, 9, 11)])
def test_without_merging_every_regional_maximum_is_a_basin(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(11)
    height = rng.integers(1, 9, shape).astype(np.uint16)
    mask = rng.random(height.shape) < 0.9
    label = watershed(height, mask, depth=0.0, floor=0.0)
    assert label.max() == reference_watershed(height, mask)
    assert np.array_equal(label > 0, mask)


@pytest.mark.parametrize("shape", [(15, 23), (3, 8, 13)])
def test_compiled_and_plain_kernels_agree(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    height = rng.integers(0, 40, shape).astype(np.uint16)
    mask = rng.random(height.shape) < 0.8
    compiled = watershed(height, mask, depth=0.2, floor=3)
    kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    plain = watershed(height, mask, depth=0.2, floor=3)
    kernels.cache_clear()
    assert np.array_equal(compiled, plain)


def test_what_cannot_be_split_is_refused() -> None:
    mask = np.ones((4, 5), bool)
    with pytest.raises(ValueError, match="needs the channel 'centre'"):
        split(mask, InstanceSettings(method="centre"))
    with pytest.raises(ValueError, match="class's probability"):
        split(mask, InstanceSettings(method="border"), guide=np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match="expected uint16"):
        watershed(mask.astype(np.uint8), mask, depth=0, floor=0)
    with pytest.raises(ValueError, match="expected uint16"):
        watershed(np.zeros((1, 1, 4, 5), np.uint16), mask[None, None], depth=0, floor=0)
