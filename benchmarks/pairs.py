"""Images with their masks as benchmarks lay them out: read through a contract, written as PNG, compared by Dice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.workspace import Workspace
from submissions.host.listed_images import ListedImages
from submissions.host.masks import MaskReader
from submissions.metrics.overlap import Dice


def pairs_of(space: Workspace, listing: pd.DataFrame) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of each listed flat image its name, its pixels as RGB (H, W, 3) and its masks bool (classes, H, W)."""
    images, masks = ListedImages(space.competition, space.data, listing), MaskReader(space.competition, space.data)
    for row in listing.to_dict("records"):
        source = images.open_alone(str(row["image_id"]))
        pixels = source.read(0)
        pixels = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
        yield str(row["image_id"]), pixels, masks.read(row, source.shape[:3]).planes[:, 0]


def write_pair(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    """images/ and masks/ of a folder, as PNG: RGB (H, W, 3) uint8, and bool (H, W) as 0 and 1."""
    for part, pixels in (("images", image[..., ::-1]), ("masks", mask.astype(np.uint8))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / part / f"{name}.png"), np.ascontiguousarray(pixels))


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two bool masks (H, W); 1 where both are empty."""
    return float(Dice().rows(mask[None], truth[None])["score"])
