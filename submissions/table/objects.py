"""Objects of several classes: the connected parts of each class's mask, scored by its mean probability there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import scipy

from submissions.host.competition import Competition


class ClassObjects(NamedTuple):
    """The objects of one class in an image: int32 (H, W), 0 background; scores in [0, 1], in the labels' order."""

    name: str
    label: np.ndarray
    scores: list[float]


def objects_by_class(competition: Competition, planes: np.ndarray, levels: np.ndarray | None) -> Iterator[ClassObjects]:
    """The objects of each scored class but the background.

    An object is a part whose pixels touch at edges or corners. planes: bool (K, H, W); levels: uint8 (K, H, W), the
    classes' probabilities; without them every score is 1.
    """
    for index in competition.scored_classes:
        name = competition.classes[index]
        if name == "background":
            continue
        plane = np.ascontiguousarray(planes[index])
        count, label = cv2.connectedComponents(plane.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        scores = np.ones(count - 1)
        if levels is not None and count > 1:
            scores = np.asarray(scipy.ndimage.mean(levels[index], label, np.arange(1, count))) / 255
        yield ClassObjects(name, label, [float(score) for score in scores])
