"""Masks that the host wants at another size than their images: probabilities and truth brought there."""

from __future__ import annotations

import cv2
import numpy as np

from submissions.host.competition import Competition
from submissions.host.mask_images import stretch
from submissions.host.truth import Truth


def probs_at_answer(competition: Competition, probs: np.ndarray) -> np.ndarray:
    """uint8 (channels, H, W) at the answer's size, where the contract has one: means of areas, or between pixels.

    Probabilities are brought there and decided there, as they are tuned. A volume keeps its grid.
    """
    size = competition.submission.size if competition.submission else None
    if size is None or probs.shape[1:] == size:
        return probs
    shrinks = size[0] <= probs.shape[1] and size[1] <= probs.shape[2]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(np.ascontiguousarray(one), (size[1], size[0]), interpolation=way) for one in probs])


def truth_at_answer(competition: Competition, truth: Truth) -> Truth:
    """The truth at the answer's size, where the contract has one: of each pixel the old one that its centre lies in."""
    size = competition.submission.size if competition.submission else None
    if size is None or truth.planes.shape[2:] == size:
        return truth
    planes = np.stack([stretch(plane, size) for plane in truth.planes])
    valid, instances = (None if part is None else stretch(part, size) for part in (truth.valid, truth.instances))
    objects = None if truth.objects is None else {name: stretch(one, size) for name, one in truth.objects.items()}
    return Truth(planes, valid, instances, truth.spacing, objects=objects)


def mask_over_image(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An answer's mask (H, W) at the size of its image, to lay it over: each pixel takes the one it lies in."""
    return mask if mask.shape == shape else stretch(mask[None], shape)[0]
