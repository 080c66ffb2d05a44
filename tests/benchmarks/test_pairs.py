"""Pairs of image and mask as benchmarks write and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import pairs

    return pairs


def test_dice_of_two_masks(pairs: Any) -> None:
    one, none = np.array([[True, True, False, False]]), np.zeros((1, 4), bool)
    assert pairs.dice(one, np.array([[False, True, True, False]])) == 0.5
    assert (pairs.dice(none, none), pairs.dice(one, none)) == (1.0, 0.0)


def test_a_pair_is_written_as_rgb_and_as_0_and_1(pairs: Any, tmp_path: Path) -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 200
    mask = np.array([[True, False, False], [False, False, True]])
    pairs.write_pair(tmp_path, "a", image, mask)
    assert np.array_equal(cv2.imread(str(tmp_path / "images/a.png"))[..., ::-1], image)
    assert np.array_equal(cv2.imread(str(tmp_path / "masks/a.png"), cv2.IMREAD_UNCHANGED), mask)
