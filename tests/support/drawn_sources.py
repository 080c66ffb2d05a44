"""Inventories of drawn images whose sources are known: each is a way of looking, not a content."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd

from pipeline.data.inspection import scan
from submissions.images.opening import ArrayReader

SHAPE = (72, 90)


def draw_scene(seed: int) -> np.ndarray:
    """float32 (72, 90) in [0, 1]: soft blobs on a dark ground, another for every seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros(SHAPE, np.float32)
    for _ in range(rng.integers(5, 9)):
        centre = int(rng.integers(8, SHAPE[1] - 8)), int(rng.integers(8, SHAPE[0] - 8))
        cv2.circle(image, centre, int(rng.integers(4, 9)), float(rng.uniform(0.6, 0.9)), -1)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.2) + rng.normal(0, 0.02, SHAPE).astype(np.float32), 0, 1)


def seen_by(source: str, seed: int) -> np.ndarray:
    """uint8 (72, 90, 3): a scene as one of the sources 'plain', 'negative', 'blurred', 'purple' shows it."""
    scene = draw_scene(seed)
    if source == "blurred":
        scene = cv2.GaussianBlur(scene, (0, 0), 4) * 0.5
    if source in ("negative", "purple"):
        scene = 1 - scene
    tint = (0.9, 0.55, 0.85) if source == "purple" else (1.0, 1.0, 1.0)
    return np.rint(scene[:, :, None] * np.array(tint, np.float32) * 235).astype(np.uint8)


def drawn_inventory(counts: Mapping[tuple[str, str], int], *, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and thumbnails of images drawn by (split, source) -> number; the column `truth` says who saw them."""
    rows, thumbnails = [], []
    for (split, source), count in counts.items():
        for _ in range(count):
            number = len(rows)
            image = seen_by(source, 1000 * seed + number)
            content, thumbnail, measures = scan(ArrayReader(image[None]))
            sizes = {"depth": 1, "height": image.shape[0], "width": image.shape[1], "channels": 3, "dtype": "uint8"}
            name = f"{split}{number:04d}"
            rows.append(
                {"image_id": name, "split": split, "truth": source, "content_hash": content, "stack": name,
                 "path": f"{name}.png", "page": -1, **sizes, "pixel_size_um": np.nan, **measures}
            )  # fmt: skip
            thumbnails.append(thumbnail)
    return pd.DataFrame(rows), np.stack(thumbnails)
