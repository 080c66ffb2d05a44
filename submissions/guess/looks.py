"""Does a file look like a photo or like a mask? Few values and large areas of one value mean mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from submissions.host.listing import spread
from submissions.images.opening import open_image

LOOKED_AT = 5
SIDE = 512
FLAT, VERY_FLAT = 0.5, 0.75  # shares of pixels like their neighbours: a mask of few values, and one of any
FEW_VALUES = 64


@dataclass(frozen=True)
class Look:
    """values: number of different values in a window; flat: share of pixels like their right and lower neighbours."""

    values: int
    flat: float

    @property
    def is_mask(self) -> bool | None:
        """Whether it is a mask; None for a constant picture, which could be either."""
        if self.values < 2:
            return None
        return self.flat > VERY_FLAT or (self.values <= FEW_VALUES and self.flat > FLAT)


def look_at(path: Path) -> Look | None:
    """How the middle of a file looks (the middle slice of several); None where it cannot be read."""
    try:
        source = open_image(path)
    except (ValueError, OSError):
        return None
    try:
        depth, height, width, _ = source.shape
        top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
        pixels = source.read(depth // 2, slice(top, min(height, top + SIDE)), slice(left, min(width, left + SIDE)))
    except (ValueError, OSError):
        return None
    finally:
        source.close()
    colours = pixels.reshape(-1, pixels.shape[2])
    values = max(len(np.unique(colours[:, channel])) for channel in range(colours.shape[1]))
    if min(pixels.shape[:2]) < 2:
        return Look(values, 1.0)
    same = (pixels[1:, 1:] == pixels[:-1, 1:]) & (pixels[1:, 1:] == pixels[1:, :-1])
    return Look(values, float(same.all(axis=2).mean()))


def are_masks(root: Path, files: Sequence[str]) -> bool | None:
    """Whether most of some files look like masks; None where none of them says anything."""
    looks = [look_at(root / file) for file in spread(files, LOOKED_AT)]
    votes = [look.is_mask for look in looks if look is not None and look.is_mask is not None]
    return None if not votes else 2 * sum(votes) > len(votes)
