"""Validation while training: the pictures of large images."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training import validation
from submissions.images.opening import ArrayReader


@pytest.mark.parametrize("step", [1, 3, 9])
def test_a_picture_takes_every_few_pixels_of_a_block_strip_by_strip(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "STRIP", 8)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 53, 71, 3), np.uint8)
    for rows, cols in ((slice(None), slice(None)), (slice(5, 48), slice(11, 70))):
        found = validation._every(ArrayReader(pixels), 1, rows, cols, step)
        np.testing.assert_array_equal(found, pixels[1, rows, cols][::step, ::step])
