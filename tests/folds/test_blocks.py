"""Blocks inside huge images against a mask painted pixel by pixel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.blocks import training_share, training_windows_allowed, validation_blocks
from folds.splitters import make_folds

IMAGES = pd.DataFrame({"image_id": ["one", "two"], "height": [61, 40], "width": [47, 90]})


def painted(folds: pd.DataFrame, fold: int, image_id: str, shape: tuple[int, int], grow: int) -> np.ndarray:
    """True where a pixel is nearer than `grow` to a validation block, block included."""
    mask = np.zeros(shape, dtype=bool)
    for y0, x0, y1, x1 in validation_blocks(folds, fold, image_id):
        mask[max(y0 - grow, 0) : y1 + grow, max(x0 - grow, 0) : x1 + grow] = True
    return mask


@settings(deadline=None, max_examples=30)
@given(
    buffer=st.integers(0, 4),
    grid=st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(2, 3))),
    seed=st.integers(0, 20),
    windows=st.lists(
        st.tuples(st.integers(0, 55), st.integers(0, 40), st.integers(1, 20), st.integers(1, 15)), min_size=1
    ),
)
def test_training_windows_keep_away(
    buffer: int, grid: tuple[int, int] | None, seed: int, windows: list[tuple[int, int, int, int]]
) -> None:
    folds = make_folds(IMAGES, "blocks", 2, seed, grid=grid, buffer=buffer)
    boxes = np.array([(y, x, min(y + h, 61), min(x + w, 47)) for y, x, h, w in windows])
    covered = np.zeros((61, 47), dtype=int)
    for row in folds[folds["image_id"] == "one"].itertuples():
        covered[row.y0 : row.y1, row.x0 : row.x1] += 1
    assert (covered == 1).all()
    for fold in range(2):
        near = painted(folds, fold, "one", (61, 47), buffer)
        allowed = training_windows_allowed(folds, fold, "one", boxes)
        expected = [not near[y0:y1, x0:x1].any() for y0, x0, y1, x1 in boxes]
        assert allowed.tolist() == expected


def test_share_left_for_training_is_counted_right() -> None:
    folds = make_folds(IMAGES, "blocks", 3, 5, grid=(3, 2), buffer=3)
    for fold, share in training_share(folds).items():
        free = sum(
            (~painted(folds, fold, name, shape, 3)).sum() for name, shape in {"one": (61, 47), "two": (40, 90)}.items()
        )
        assert share == pytest.approx(free / (61 * 47 + 40 * 90))


def test_bands_lie_across_the_longer_side() -> None:
    folds = make_folds(IMAGES, "blocks", 4, 0, buffer=0)
    assert folds[folds["image_id"] == "one"]["x1"].eq(47).all()
    assert folds[folds["image_id"] == "two"]["y1"].eq(40).all()
    assert folds.groupby("fold").size().tolist() == [2, 2, 2, 2]


def test_an_image_without_validation_blocks_is_free() -> None:
    folds = make_folds(IMAGES, "blocks", 2, 0, grid=(2, 1), buffer=5)
    alone = folds[~((folds["image_id"] == "two") & (folds["fold"] == 1))]
    assert training_windows_allowed(alone, 1, "two", np.array([[0, 0, 40, 90]])).tolist() == [True]


def test_errors() -> None:
    folds = make_folds(IMAGES, "blocks", 2, 0, buffer=0)
    window = np.array([[0, 0, 5, 5]])
    with pytest.raises(ValueError, match="not in the fold table"):
        training_windows_allowed(folds, 0, "three", window)
    with pytest.raises(ValueError, match=r"expected \(N, 4\)"):
        training_windows_allowed(folds, 0, "one", window[0])
    with pytest.raises(ValueError, match="end before they begin"):
        training_windows_allowed(folds, 0, "one", np.array([[10, 10, 5, 5]]))
    with pytest.raises(ValueError, match="made with method 'blocks'"):
        validation_blocks(folds.drop(columns="y0"), 0, "one")
    with pytest.raises(ValueError, match="grid is"):
        make_folds(IMAGES, "blocks", 2, 0, grid=(0, 2), buffer=0)
    with pytest.raises(ValueError, match="cannot be cut"):
        make_folds(IMAGES, "blocks", 2, 0, grid=(100, 2), buffer=0)
    with pytest.raises(ValueError, match="found 2 blocks"):
        make_folds(IMAGES, "blocks", 3, 0, grid=(1, 1), buffer=0)
    with pytest.raises(ValueError, match="no training pixel"):
        make_folds(IMAGES.iloc[:1], "blocks", 2, 0, buffer=40)
    with pytest.raises(ValueError, match="no column 'height'"):
        make_folds(IMAGES[["image_id"]], "blocks", 2, 0, buffer=0)
