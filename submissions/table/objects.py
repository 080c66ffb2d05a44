"""Objects of several classes: the connected parts of each class's mask, scored by its mean probability there.

Of a volume the centres of its parts, weighted by probability: places, which some hosts want instead of masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
import scipy

from submissions.host.competition import Competition
from submissions.host.truth import NamedPlace
from submissions.metrics.volumes import bounding_box


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


def known_objects(competition: Competition, objects: Mapping[str, np.ndarray]) -> Iterator[ClassObjects]:
    """The objects int32 (H, W) of each scored class but the background, as the host numbers them, all sure."""
    for name in competition.foreground:
        if name in objects:
            count = len(np.unique(objects[name])) - int((objects[name] == 0).any())
            yield ClassObjects(name, objects[name], [1.0] * count)


def places_of_parts(competition: Competition, planes: np.ndarray, levels: np.ndarray | None) -> list[NamedPlace]:
    """Class and centre (z, y, x), in voxels, of each part of a volume, of each scored class but the background.

    A part is made of voxels that touch at faces, edges or corners; its centre is weighted by probability. planes: bool
    (K, Z, H, W); levels: uint8 alike, the classes' probabilities, without which every voxel weighs the same. Of each
    class the contract's `submission.points.most` parts with the largest sum of probabilities are kept.
    """
    most = competition.submission.points.most if competition.submission else None
    found: list[NamedPlace] = []
    for name in competition.foreground:
        index = competition.classes.index(name)
        if not planes[index].any():
            continue
        box = bounding_box(planes[index])
        centres, sums = _parts(planes[index][box], None if levels is None else levels[index][box])
        kept = np.sort(np.argsort(-sums, kind="stable")[:most])
        corner = np.array([side.start for side in box])
        found += [(name, (float(z), float(y), float(x))) for z, y, x in centres[kept] + corner]
    return found


def _parts(plane: np.ndarray, levels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Centres float64 (n, 3) and summed weights (n,) of the parts of bool (Z, H, W), in raster order."""
    label, count = scipy.ndimage.label(plane, np.ones((3, 3, 3), bool))
    inside = np.nonzero(plane)
    of = label[inside] - 1
    weight = np.ones(len(of)) if levels is None else levels[inside].astype(np.float64) + 1e-6
    sums = np.bincount(of, weight, count)
    centres = np.stack([np.bincount(of, weight * axis, count) for axis in inside], axis=1) / sums[:, None]
    return centres, sums
