from __future__ import annotations

import numpy as np

from pipeline.data.targets import build_target, centres, touching_borders
from submissions.host.masks import VOID, Truth


def two_touching() -> np.ndarray:
    label = np.zeros((20, 33), np.int32)
    label[4:14, 4:14] = 3
    label[4:14, 14:24] = 9
    label[16:19, 28:32] = 4
    return label


def slow_border(label: np.ndarray, reach: int = 2) -> np.ndarray:
    height, width = label.shape
    out = np.zeros(label.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            part = label[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            out[y, x] = len(set(part[part > 0].tolist())) > 1
    return out


def test_borders_lie_where_two_instances_are_near() -> None:
    label = two_touching()
    np.testing.assert_array_equal(touching_borders(label), slow_border(label))
    assert touching_borders(np.where(label == 3, label, 0)).sum() == 0
    assert touching_borders(np.zeros((7, 9), np.int32)).sum() == 0


def test_every_instance_has_one_inner_part_apart_from_the_others() -> None:
    label = two_touching()
    inner = centres(label)
    for value in (3, 9, 4):
        own = inner[label == value]
        assert 0 < own.sum() < own.size
    assert inner[label == 0].sum() == 0
    assert inner[4:14, 13].sum() == inner[4:14, 14].sum() == 0


def test_planes_keep_void_and_are_not_interpolated() -> None:
    rng = np.random.default_rng(0)
    planes = rng.random((2, 3, 21, 34)) > 0.5
    valid = np.ones((3, 21, 34), bool)
    valid[1, :7] = False
    target = build_target(Truth(planes, valid), (42, 68), exclusive=False, extra=[])
    assert (target.shape, target.dtype) == ((3, 2, 42, 68), np.uint8)
    assert set(np.unique(target)) == {0, 1, VOID}
    np.testing.assert_array_equal(target[1, :, :14], VOID)
    np.testing.assert_array_equal(target[0, :, ::2, ::2] == 1, planes[:, 0])
    assert VOID not in build_target(Truth(planes), (10, 17), exclusive=False, extra=[])


def test_exclusive_classes_become_a_label() -> None:
    planes = np.zeros((3, 1, 6, 9), bool)
    planes[0, 0, :2], planes[2, 0, 2:4] = True, True
    target = build_target(Truth(planes), (6, 9), exclusive=True, extra=[])
    assert target.shape == (1, 6, 9)
    assert target[0, :, 0].tolist() == [0, 0, 2, 2, VOID, VOID]


def test_extra_planes_follow_the_classes() -> None:
    label = two_touching()
    truth = Truth((label > 0)[None, None], None, label[None])
    target = build_target(truth, label.shape, exclusive=False, extra=["border", "centre"])
    np.testing.assert_array_equal(target[0], np.stack([label > 0, touching_borders(label), centres(label)]))


def test_shares_of_observers_stay_shares() -> None:
    soft = np.zeros((2, 1, 8, 12), np.uint8)
    soft[0, 0, :, 4:] = 127
    soft[1, 0, 2:4] = 254
    valid = np.ones((1, 8, 12), bool)
    valid[0, 0, 0] = False
    truth = Truth(soft > 127, valid, soft=soft)
    same = build_target(truth, (8, 12), exclusive=False, extra=[])
    assert same.shape == (1, 2, 8, 12) and (same[0, :, 0, 0] == VOID).all() and same[0, 0, 3, 7] == 127
    half = build_target(truth, (4, 6), exclusive=False, extra=[])
    np.testing.assert_array_equal(half[0, 1, 1:, 0], [254, 0, 0])
    assert half[0, 0, 2, 3] == 127
    odd = build_target(truth, (3, 12), exclusive=False, extra=[])
    assert 0 < odd[0, 1, 0, 5] < 254
