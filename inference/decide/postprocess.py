"""Cleaning masks: small components, holes, the largest few, opening and closing; images and volumes.

Components touch at edges or corners (8 neighbours, 26 in a volume); holes are background regions connected by
edges only (4, 6) that reach no border. Areas are pixels (voxels) of the host's grid.
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy


def label_components(mask: np.ndarray, *, corners: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Label int32 of `mask` (bool (H, W) or (Z, H, W)), 1..n, and areas int64 (n + 1,).

    `areas[0]` is the background. `corners` False: only pixels that share an edge are neighbours.
    """
    if mask.ndim == 2:
        connectivity = 8 if corners else 4
        n, label, stats, _ = cv2.connectedComponentsWithStats(
            np.ascontiguousarray(mask).view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S
        )
        return label, stats[:, cv2.CC_STAT_AREA].astype(np.int64) if n > 1 else _background_area(mask)
    if mask.ndim != 3:
        raise ValueError(f"mask has shape {mask.shape}, expected (height, width) or (depth, height, width)")
    structure = scipy.ndimage.generate_binary_structure(3, 3 if corners else 1)
    label, _ = scipy.ndimage.label(mask, structure)
    label = label.astype(np.int32, copy=False)
    return label, np.bincount(label.ravel())


def _background_area(mask: np.ndarray) -> np.ndarray:
    return np.array([mask.size], np.int64)


def remove_small(mask: np.ndarray, area: int) -> np.ndarray:
    """`mask` without the components of fewer than `area` pixels."""
    if area <= 1 or not mask.any():
        return mask
    label, areas = label_components(mask)
    keep = areas >= area
    keep[0] = False
    return keep[label]


def keep_largest(mask: np.ndarray, number: int) -> np.ndarray:
    """The `number` largest components of `mask`; of equal areas the lower label. 0 keeps all."""
    if number <= 0 or not mask.any():
        return mask
    label, areas = label_components(mask)
    order = np.argsort(-areas[1:], kind="stable")[:number] + 1
    keep = np.zeros(len(areas), bool)
    keep[order] = True
    return keep[label]


def fill_holes(mask: np.ndarray, area: int) -> np.ndarray:
    """`mask` with holes of at most `area` pixels filled; 0 fills none."""
    if area <= 0 or not mask.any():
        return mask
    label, areas = label_components(~mask, corners=False)
    fill = areas <= area
    fill[0] = False
    for axis in range(mask.ndim):
        for end in (0, -1):
            fill[np.unique(np.take(label, end, axis=axis))] = False
    return mask | fill[label]


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
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
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
    label, areas = label_components(low)
    sure = np.bincount(label[low & (probs >= top)], minlength=len(areas))
    keep = sure >= max(area, 1)
    keep[0] = False
    return keep[label]
