"""MVTec AD in miniature: faultless pictures for training, and for testing faulty ones with masks beside faultless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_hosts import SHAPE, draw_image, draw_mask, write

NOTHING = np.zeros(SHAPE, bool)


def mvtec(root: Path, *, products: tuple[str, ...] = ("",)) -> None:
    """`products`: folders of the products at the top, or "" where the folder is one product's."""
    for number, product in enumerate(products):
        place = root / product
        for k in range(7):
            write(place / f"train/good/{k:03d}.png", draw_image(NOTHING, 100 * number + k))
        for k in range(4):
            write(place / f"test/good/{k:03d}.png", draw_image(NOTHING, 100 * number + 50 + k))
        for kind, count in (("broken_large", 5), ("broken_small", 4), ("contamination", 4)):
            for k in range(count):
                mask = draw_mask(100 * number + 10 * len(kind) + k)
                write(place / f"test/{kind}/{k:03d}.png", draw_image(mask, 100 * number + 60 + 3 * len(kind) + k))
                write(place / f"ground_truth/{kind}/{k:03d}_mask.png", mask.astype(np.uint8) * 255)


def mvtec_products(root: Path) -> None:
    """Several products below one folder."""
    mvtec(root, products=("bottle", "cable", "hazelnut"))
