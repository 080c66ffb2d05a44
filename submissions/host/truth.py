"""The truth of one image: the form into which runs, mask images and polygons are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from submissions.host.competition import Competition
from submissions.metrics.object_f1 import Outlines

NamedPlace = tuple[str, tuple[float, float, float]]  # a class, and (z, y, x) in voxels of the host's grid
VOID = 255  # value of a stored target, label or plane, that is neither learned nor scored
SOFT_TOP = 254  # value of a soft target that stands for 1; above it is VOID


@dataclass(frozen=True)
class Truth:
    """The truth of one image.

    planes: bool (K, Z, H, W), one plane per class in the contract's order.
    valid: bool (Z, H, W), False where the host does not score (void); None: everything counts.
    instances: int32 (Z, H, W), 0 background, 1..n; None where the contract has no instances.
    spacing: (z, y, x) in mm of a volume whose mask's file says so, of points in the host's unit where a column does.
    soft: uint8 like planes, 0 to SOFT_TOP for the share of observers that see the class; what is learned then, while
    planes are what is scored. None where one answer is all there is.
    points: where the host says places: those of the whole volume, counted from the first slice that is here.
    objects: of several classes, int32 (Z, H, W) like `instances` of each class that has objects; None where the
    contract has no instances, or one class.
    outlines: the instances as the host drew them; None where it gives pixels, and of a window.
    """

    planes: np.ndarray
    valid: np.ndarray | None = None
    instances: np.ndarray | None = None
    spacing: tuple[float, float, float] | None = None
    soft: np.ndarray | None = None
    points: Sequence[NamedPlace] | None = None
    objects: Mapping[str, np.ndarray] | None = None
    outlines: Outlines | None = None

    @cached_property
    def label(self) -> np.ndarray:
        """uint8 (Z, H, W): index of the class, 255 where no class is set or nothing is scored."""
        label = np.full(self.planes.shape[1:], VOID, np.uint8)
        for index, plane in enumerate(self.planes):
            label[plane] = index
        if self.valid is not None:
            label[~self.valid] = VOID
        return label

    def window(self, rows: slice, cols: slice) -> Truth:
        """The truth of these rows and columns alone; instances keep their numbers, points lie inside."""
        planes, valid, instances, soft = (
            None if part is None else np.ascontiguousarray(part[..., rows, cols])
            for part in (self.planes, self.valid, self.instances, self.soft)
        )
        assert planes is not None
        (top, bottom, _), (left, right, _) = rows.indices(self.planes.shape[2]), cols.indices(self.planes.shape[3])
        points = None if self.points is None else [
            (name, (z, y - top, x - left))
            for name, (z, y, x) in self.points
            if top <= y < bottom and left <= x < right
        ]  # fmt: skip
        objects = None
        if self.objects is not None:
            objects = {name: np.ascontiguousarray(one[..., rows, cols]) for name, one in self.objects.items()}
        return Truth(planes, valid, instances, self.spacing, soft, points, objects)


def classes_shown(truth: Truth) -> np.ndarray:
    """bool (K,): which classes the image shows anywhere that is scored."""
    planes = truth.planes if truth.valid is None else truth.planes & truth.valid
    return np.asarray(planes.any(axis=(1, 2, 3)))


def completed(
    competition: Competition,
    planes: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    instances: np.ndarray | None = None,
) -> Truth:
    """The truth made of planes bool (K, Z, H, W); of exclusive classes, the background is what no other class has."""
    classes = competition.classes
    if competition.exclusive and "background" in classes:
        index = classes.index("background")
        others = np.delete(planes, index, axis=0).any(axis=0)
        planes[index] = ~others if valid is None else ~others & valid
    return Truth(planes, valid, instances)


def truth_of_objects(
    competition: Competition,
    objects: Mapping[str, np.ndarray],
    shape: tuple[int, int, int],
    *,
    valid: np.ndarray | None = None,
) -> Truth:
    """The truth made of numbered objects, int32 (Z, H, W) of each class that has some; shape: (Z, H, W)."""
    nothing = np.zeros(shape, np.int32)
    planes = np.stack([objects.get(name, nothing) > 0 for name in competition.classes])
    if len(competition.classes) == 1:
        return Truth(planes, valid, instances=objects.get(competition.classes[0], nothing))
    return Truth(planes, valid, objects=dict(objects))
