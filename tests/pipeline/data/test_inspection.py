from __future__ import annotations

import numpy as np
import pytest
from drawn_hosts import draw_image, draw_mask

from pipeline.data import inspection
from pipeline.data.inspection import scan
from submissions.images.opening import ArrayReader


def test_same_pixels_have_one_hash_whatever_the_file() -> None:
    image = draw_image(draw_mask(1), 1)
    first, thumbnail, _ = scan(ArrayReader(image[None]))
    assert first == scan(ArrayReader(image.copy()[None]))[0] != scan(ArrayReader(image[None, ::-1]))[0]
    assert (thumbnail.shape, thumbnail.dtype) == ((64, 64), np.uint8)
    assert scan(ArrayReader(np.zeros((2, 5, 7, 1), np.float32)))[1].max() == 0


def test_very_large_images_are_compared_with_their_masks_by_every_few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "ALIGNED_SIDE", 30)
    monkeypatch.setattr(inspection, "STRIP", 7)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 61, 97, 3), np.uint8)
    kept: list[np.ndarray] = []
    digest, _, _ = scan(ArrayReader(pixels), kept)
    np.testing.assert_array_equal(np.concatenate(kept), pixels[0, ::4, ::4])
    assert digest == scan(ArrayReader(pixels))[0]
