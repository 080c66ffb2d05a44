"""Pictures for benchmarks, drawn: soft blobs with grain, which compress about as photographs do."""

from __future__ import annotations

import cv2
import numpy as np


def draw_picture(height: int, width: int, generator: np.random.Generator) -> np.ndarray:
    """RGB uint8 (height, width, 3)."""
    coarse = generator.random((max(2, height // 64), max(2, width // 64), 3), dtype=np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 200 + 25
    picture += generator.normal(0, 6, (height, width, 1)).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_label(picture: np.ndarray) -> np.ndarray:
    """A mask of the picture, uint8 (height, width) of 0 and 1: its bright blobs."""
    return (cv2.blur(picture, (9, 9)).mean(axis=2) > 140).astype(np.uint8)
