"""Whether images have an up and a down, from where the classes lie in some masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.planning.images_seen import rows_seen
from submissions.host.competition import Competition
from submissions.host.masks import MaskReader

LOOKED_AT = 40
FEWEST = 8  # masks that show a class
APART = 0.1  # of the height, from the middle
SURE = 5.0  # standard errors


@dataclass(frozen=True)
class Upright:
    """A class that lies above or below the middle. height: mean of its pixels, 0 at the top, 1 at the bottom."""

    name: str
    height: float
    masks: int


def find_upright(competition: Competition, data: Path) -> Upright | None:
    """The class that lies furthest from the middle of the height, image for image; None where none does.

    Sky is above and road below; nuclei and cats are anywhere. A class counts that at least FEWEST of the masks show,
    APART from the middle on average and by SURE standard errors, each image having one value, its pixels' mean height.
    """
    masks = MaskReader(competition, data)
    heights: dict[str, list[float]] = {name: [] for name in competition.classes}
    for row in rows_seen(competition, data, LOOKED_AT):
        try:
            planes = masks.read(row, (row["depth"], row["height"], row["width"])).planes
        except (ValueError, OSError):  # stage 01 lists them all
            continue
        for name, plane in zip(competition.classes, planes, strict=True):
            pixels = plane.sum(axis=(0, 2), dtype=np.int64)  # of each row
            if pixels.any():
                heights[name].append(float(np.average((np.arange(len(pixels)) + 0.5) / len(pixels), weights=pixels)))
    found = [
        Upright(name, float(np.mean(values)), len(values)) for name, values in heights.items() if _is_apart(values)
    ]
    return max(found, key=lambda one: abs(one.height - 0.5), default=None)


def _is_apart(values: list[float]) -> bool:
    if len(values) < FEWEST:
        return False
    distance = abs(float(np.mean(values)) - 0.5)
    return distance >= APART and distance >= SURE * float(np.std(values, ddof=1)) / len(values) ** 0.5
