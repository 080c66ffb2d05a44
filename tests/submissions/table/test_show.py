"""Masks over images: colours where they belong, and a picture of a submission."""

from __future__ import annotations

import numpy as np
import pytest

from submissions.images.opening import ArrayReader
from submissions.table import show
from submissions.table.show import (
    EXTRA,
    MISSED,
    PALETTE,
    RIGHT,
    overlay,
    overlay_label,
    read_thinned,
    shown,
)

GREY = np.full((3, 4, 1), 100, np.uint8)


def test_shown_is_rgb_of_eight_bits() -> None:
    assert shown(GREY).shape == (3, 4, 3) and shown(GREY).dtype == np.uint8
    wide = np.linspace(0, 60000, 24).reshape(4, 6, 1).astype(np.uint16)
    assert shown(wide).min() == 0 and shown(wide).max() == 255
    assert shown(np.zeros((2, 3, 5), np.float32)).shape == (2, 3, 3)


def test_overlay_tells_right_missed_and_extra_apart() -> None:
    mask, truth = np.zeros((2, 3, 4), bool)
    mask[0, :2], truth[0, 1:3] = True, True
    pixels = overlay(GREY, mask, truth, alpha=1.0)
    assert [tuple(pixels[0, column]) for column in range(4)] == [EXTRA, RIGHT, MISSED, (100, 100, 100)]
    assert tuple(overlay(GREY, mask, alpha=1.0)[0, 0]) == RIGHT


def test_overlay_label_colours_by_value() -> None:
    label = np.zeros((3, 4), np.int32)
    label[1, :3] = 1, 2, len(PALETTE) + 1
    pixels = overlay_label(GREY, label, alpha=1.0)
    np.testing.assert_array_equal(pixels[1, :3], PALETTE[[0, 1, 0]].astype(np.uint8))
    np.testing.assert_array_equal(pixels[0], shown(GREY)[0])


@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_slice_is_thinned_strip_by_strip(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 45, 38, 3), np.uint8)
    source, read = ArrayReader(pixels), []
    whole = source.read
    monkeypatch.setattr(source, "read", lambda z, rows, cols: read.append(rows) or whole(z, rows, cols))
    monkeypatch.setattr(show, "STRIP_BYTES", 20 * 38 * 3)
    np.testing.assert_array_equal(read_thinned(source, 1, step), pixels[1, ::step, ::step])
    assert max(rows.stop - rows.start for rows in read) <= 20 and read[-1].stop == 45
    window = slice(5, 43), slice(11, 37)
    np.testing.assert_array_equal(read_thinned(source, 1, step, *window), pixels[1, 5:43:step, 11:37:step])
