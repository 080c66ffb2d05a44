"""Where tiles lie and how much each of their pixels counts: evenly spread steps, windows, tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np

DIVISOR = 32
TISSUE_SIDE = 64
TISSUE_SATURATION = 0.06
TISSUE_DEVIATION = 0.02
TISSUE_SHARE = 0.005


@dataclass(frozen=True, eq=False)
class Axis:
    """Tiles along one axis of an image at working size.

    The image is mirrored to `padded` pixels, `before` of them in front of it; tile i covers padded pixels
    `positions[i]` to `positions[i] + tile`. `weights[i]` is the share of tile i in the result at each of
    its pixels: over all tiles the shares of a pixel sum to 1. The share of a 2D tile is the product of its
    two axes.
    """

    size: int
    padded: int
    before: int
    tile: int
    positions: tuple[int, ...]
    weights: np.ndarray


def tile_positions(size: int, tile: int, overlap: float) -> tuple[int, ...]:
    """Return first pixels of evenly spread tiles: the fewest that overlap by at least `overlap` of a tile.

    The first tile begins at 0, the last ends at `size`; steps differ by at most one pixel (nnU-Net's rule).
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}, expected a share from 0 to below 1")
    if tile < 1 or size < tile:
        raise ValueError(f"a tile of {tile} does not fit into {size} pixels: expected 1 <= tile <= size")
    step = max(1, math.floor(tile * (1 - Fraction(str(overlap)))))  # exact: as a float, 1 - 0.9 is less than a tenth
    number = 1 + math.ceil((size - tile) / step)
    return tuple(int(round(value)) for value in np.linspace(0, size - tile, number))


@lru_cache(maxsize=256)
def window(tile: int, kind: str) -> np.ndarray:
    """Return float64 weights `(tile,)` of a tile's pixels along one axis, read-only.

    "gaussian": standard deviation of an eighth of the tile about its centre (nnU-Net); "uniform": ones.
    """
    if kind == "uniform":
        weights = np.ones(tile)
    elif kind == "gaussian":
        weights = np.exp(-0.5 * ((np.arange(tile) - (tile - 1) / 2) / (tile / 8)) ** 2)
    else:
        raise ValueError(f"window is {kind!r}, expected 'gaussian' or 'uniform'")
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=256)
def plan_axis(size: int, tile: int, overlap: float, kind: str, border: int = 0, *, divisor: int = DIVISOR) -> Axis:
    """Spread tiles over `size` pixels mirrored by `border` at both ends; computed once a set of values.

    What is smaller than a tile gets a smaller tile, the next multiple of `divisor`, and is mirrored up to it. Raises
    ValueError for a border below 0, and what `tile_positions` and `window` raise.
    """
    if border < 0:
        raise ValueError(f"border is {border}, expected 0 or more pixels")
    wanted = size + 2 * border
    fitting = min(tile, divisor * math.ceil(wanted / divisor))
    padded = max(wanted, fitting)
    positions = tile_positions(padded, fitting, overlap)
    profile = window(fitting, kind)
    total = np.zeros(padded)
    for position in positions:
        total[position : position + fitting] += profile
    weights = np.stack([profile / total[position : position + fitting] for position in positions])
    weights = weights.astype(np.float32)
    weights.flags.writeable = False
    return Axis(size, padded, (padded - size) // 2, fitting, positions, weights)


def has_tissue(image: np.ndarray, maximum: float) -> bool:
    """Tell whether a tile `(h, w, C)` holds tissue, values 0 to `maximum`; judged at 64 pixels a side.

    Glass, paper and empty borders are grey and even. A pixel is tissue where its saturation (largest minus
    smallest of three channels) is above 0.06, or, whatever the channels, where the brightness of its 5x5
    neighbourhood deviates by more than 0.02; a tile is tissue where at least 0.5 % of its pixels are.
    """
    height, width, channels = image.shape
    side = (min(TISSUE_SIDE, width), min(TISSUE_SIDE, height))
    small = cv2.resize(image.astype(np.float32), side, interpolation=cv2.INTER_AREA) / np.float32(maximum)
    small = small.reshape(side[1], side[0], channels)
    grey = small.mean(axis=2)
    deviation = cv2.blur(grey**2, (5, 5)) - cv2.blur(grey, (5, 5)) ** 2
    tissue = deviation > TISSUE_DEVIATION**2
    if channels == 3:
        tissue |= small.max(axis=2) - small.min(axis=2) > TISSUE_SATURATION
    return bool(tissue.mean() >= TISSUE_SHARE)
