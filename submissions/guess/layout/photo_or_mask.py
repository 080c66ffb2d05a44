"""Does a file look like a photo or like a mask? Few values and large areas of one value mean mask."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
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
class Texture:
    """values: number of different values in a window; flat: share of pixels like their right and lower neighbours."""

    values: int
    flat: float

    @property
    def is_mask(self) -> bool | None:
        """Whether it is a mask; None for a constant picture, which could be either."""
        if self.values < 2:
            return None
        return self.flat > VERY_FLAT or (self.values <= FEW_VALUES and self.flat > FLAT)


def texture_of(path: Path) -> Texture | None:
    """How the middle of a file looks (the middle slice of several); None where it cannot be read."""
    try:
        with closing(open_image(path)) as reader:
            depth, height, width, _ = reader.shape
            top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
            pixels = reader.read(depth // 2, slice(top, min(height, top + SIDE)), slice(left, min(width, left + SIDE)))
    except (ValueError, OSError):
        return None
    colours = pixels.reshape(-1, pixels.shape[2])
    values = max(len(np.unique(colours[:, channel])) for channel in range(colours.shape[1]))
    if min(pixels.shape[:2]) < 2:
        return Texture(values, 1.0)
    same = (pixels[1:, 1:] == pixels[:-1, 1:]) & (pixels[1:, 1:] == pixels[1:, :-1])
    return Texture(values, float(same.all(axis=2).mean()))


def are_masks(root: Path, files: Sequence[str]) -> bool | None:
    """Whether most of some files look like masks; None where none of them says anything."""
    textures = [texture_of(root / file) for file in spread(files, LOOKED_AT)]
    votes = [one.is_mask for one in textures if one is not None and one.is_mask is not None]
    return None if not votes else 2 * sum(votes) > len(votes)
