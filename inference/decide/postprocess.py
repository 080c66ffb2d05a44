"""Cleaning masks: small components, holes, the largest few, opening and closing; images and volumes.

Components touch at edges or corners (8 neighbours, 26 in a volume); holes are background regions connected by
edges only (4, 6) that reach no border. Areas are pixels (voxels) of the host's grid.
"""

from __future__ import annotations

import cv2
import numpy as np

from inference.decide.components import Components


def remove_small(mask: np.ndarray, area: int) -> np.ndarray:
    """`mask` without the components of fewer than `area` pixels."""
    if area <= 1 or not mask.any():
        return mask
    parts = Components(mask)
    keep = parts.areas >= area
    keep[0] = False
    return parts.chosen(keep)


def keep_largest(mask: np.ndarray, number: int) -> np.ndarray:
    """The `number` largest components of `mask`; of equal areas the lower label. 0 keeps all."""
    if number <= 0 or not mask.any():
        return mask
    parts = Components(mask)
    order = np.argsort(-parts.areas[1:], kind="stable")[:number] + 1
    keep = np.zeros(len(parts.areas), bool)
    keep[order] = True
    return parts.chosen(keep)


def fill_holes(mask: np.ndarray, area: int) -> np.ndarray:
    """`mask` with holes of at most `area` pixels filled; 0 fills none."""
    if area <= 0 or not mask.any():
        return mask
    parts = Components(mask, holes=True)
    fill = (parts.areas <= area) & ~parts.at_border()
    fill[0] = False
    found = parts.chosen(fill)
    return np.logical_or(mask, found, out=found)


def open_mask(mask: np.ndarray, radius: int) -> np.ndarray:
    """Erosion, then dilation by a disc of `radius` pixels, slice by slice: thin bridges and specks go."""
    return _by_slice(mask, radius, cv2.MORPH_OPEN)


def close_mask(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilation, then erosion by a disc of `radius` pixels, slice by slice: narrow gaps close.

    The image is continued beyond its border by its own edge, so that closing never eats what touches it.
    """
    return _by_slice(mask, radius, cv2.MORPH_CLOSE)


def _by_slice(mask: np.ndarray, radius: int, operation: int) -> np.ndarray:
    if radius <= 0:
        return mask
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y * y + x * x <= radius * radius).astype(np.uint8)  # OpenCV's ellipse is another one when it is turned
    out = np.empty_like(mask)
    for source, target in zip(mask.reshape(-1, *mask.shape[-2:]), out.reshape(-1, *mask.shape[-2:]), strict=True):
        edge = 2 * radius
        padded = cv2.copyMakeBorder(
            np.ascontiguousarray(source).view(np.uint8), edge, edge, edge, edge, cv2.BORDER_REPLICATE
        )
        done = cv2.morphologyEx(padded, operation, disc)
        target[:] = done[edge:-edge, edge:-edge].astype(bool)
    return out


def hysteresis(probs: np.ndarray, top: int, area: int, bottom: int) -> np.ndarray:
    """Components of `probs >= bottom` that hold at least `area` pixels of `probs >= top`.

    probs: uint8 (H, W) or (Z, H, W). With area 1 it is the hysteresis threshold of Canny (1986).
    """
    low = probs >= bottom
    if not low.any():
        return low
    parts = Components(low)
    keep = parts.pixels_of(probs >= top) >= max(area, 1)
    keep[0] = False
    return parts.chosen(keep)
