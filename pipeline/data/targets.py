"""What the network learns, from what the host says: class planes or a label, and planes made of instances."""

from __future__ import annotations

import cv2
import numpy as np
import scipy

from pipeline.data.scaling import nearest_indices, resize_label, resize_planes, resize_shares
from submissions.host.masks import VOID, Truth

BORDER_WIDTH = 5  # pixels: a border pixel sees two instances, or an instance's rim, in a window of this size


def build_target(truth: Truth, size: tuple[int, int], *, exclusive: bool, extra: list[str]) -> np.ndarray:
    """Target at the working size: uint8 (Z, h, w) label of exclusive classes, else (Z, K + extra, h, w) planes.

    255 is not learned: void, and in a label what has no class. No value is interpolated, but for soft truth, whose
    planes are shares of 0 to 254 and stay so.
    """
    if exclusive:
        return np.stack([resize_label(label, size) for label in truth.label])
    source, resize = (truth.planes, resize_planes) if truth.soft is None else (truth.soft, resize_shares)
    if source.shape[2:] == tuple(size):
        planes = source.swapaxes(0, 1).view(np.uint8)  # no copy: a slide's planes may be half of the memory
    else:
        planes = np.stack([resize(source[:, z], size) for z in range(source.shape[1])]).view(np.uint8)
    if extra:
        assert truth.instances is not None
        labels = [resize_label(label, size) for label in truth.instances]
        made = [np.stack([EXTRA[name](label) for name in extra]) for label in labels]
        planes = np.concatenate([planes, np.stack(made)], axis=1)
    if truth.valid is not None:
        rows = nearest_indices(truth.valid.shape[1], size[0])
        cols = nearest_indices(truth.valid.shape[2], size[1])
        planes = np.where(truth.valid[:, rows[:, None], cols][:, None], planes, np.uint8(VOID))
    return planes


def touching_borders(label: np.ndarray) -> np.ndarray:
    """uint8 (h, w), 1 where two instances of an int label lie within a window of BORDER_WIDTH pixels."""
    kernel = np.ones((BORDER_WIDTH, BORDER_WIDTH), np.uint8)
    values = label.astype(np.float32)
    highest = cv2.dilate(values, kernel)
    lowest = cv2.erode(np.where(label > 0, values, np.float32(np.inf)), kernel)
    return (np.isfinite(lowest) & (highest > lowest) & (highest > 0)).astype(np.uint8)


def centres(label: np.ndarray) -> np.ndarray:
    """uint8 (h, w), 1 in the inner part of every instance: more than half as far from its rim as its deepest pixel."""
    inner = np.zeros(label.shape, np.uint8)
    numbers = np.unique(label, return_inverse=True)[1].reshape(label.shape) + int(label.min() > 0)
    for number, box in enumerate(scipy.ndimage.find_objects(numbers), start=1):
        part = np.pad((numbers[box] == number).astype(np.uint8), 1)
        depth = cv2.distanceTransform(part, cv2.DIST_L2, 5)[1:-1, 1:-1]
        inner[box][depth > depth.max() / 2] = 1
    return inner


EXTRA = {"border": touching_borders, "centre": centres}
