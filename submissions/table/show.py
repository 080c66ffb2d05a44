"""Masks over images, as pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from submissions.host.atomic import partial_path
from submissions.images.opening import ImageReader

RIGHT, MISSED, EXTRA = (46, 160, 67), (33, 118, 210), (214, 69, 45)
PALETTE = np.array(
    [
        (46, 160, 67), (214, 69, 45), (33, 118, 210), (232, 170, 20), (148, 85, 201), (20, 170, 170),
        (222, 99, 160), (140, 110, 70), (110, 190, 30), (90, 100, 200),
    ],
    np.float32,
)  # fmt: skip
STRIP_BYTES = 32 * 2**20


def shown(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of any image (H, W, C), its own range spread to 0..255 where it is not uint8."""
    pixels = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if pixels.dtype == np.uint8:
        return pixels
    low, high = np.percentile(pixels.astype(np.float32), [1, 99])
    return np.clip((pixels - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)


def overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None = None, alpha: float = 0.55) -> np.ndarray:
    """uint8 (H, W, 3): the mask over the image; with the truth green is right, blue missed, red too much."""
    pixels = shown(image).astype(np.float32)
    parts = [(mask, RIGHT)]
    if truth is not None:
        parts = [(mask & truth, RIGHT), (~mask & truth, MISSED), (mask & ~truth, EXTRA)]
    for part, colour in parts:
        pixels[part] = (1 - alpha) * pixels[part] + alpha * np.array(colour, np.float32)
    return pixels.round().astype(np.uint8)


def overlay_label(image: np.ndarray, label: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """uint8 (H, W, 3): a label, int (H, W) with 0 for nothing, over the image; neighbouring values differ in colour."""
    pixels = shown(image).astype(np.float32)
    inside = label > 0
    pixels[inside] = (1 - alpha) * pixels[inside] + alpha * PALETTE[(label[inside] - 1) % len(PALETTE)]
    return pixels.round().astype(np.uint8)


def label_of(planes: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """int64 of planes bool (K, ...): 1 + index of the last class that is set, 0 for none."""
    label = np.zeros(planes[0].shape, np.int64)
    for value, plane in enumerate(planes, start=1):
        label[plane] = value
    return label


def read_thinned(
    source: ImageReader, z: int, step: int, rows: slice | None = None, cols: slice | None = None
) -> np.ndarray:
    """Every `step`-th row and column of a window of slice z, (h, w, C) as stored, read in strips of about 32 MB."""
    _, height, width, channels = source.shape
    first, last, _ = (rows or slice(None)).indices(height)
    tall = step * max(1, STRIP_BYTES // (step * width * channels * source.dtype.itemsize))
    strips = (source.read(z, slice(top, min(last, top + tall)), cols) for top in range(first, last, tall))
    return np.concatenate([strip[::step, ::step].copy() for strip in strips])


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3), RGB, beside its final name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    partial = partial_path(path)
    partial.write_bytes(encoded.tobytes())
    partial.replace(path)
