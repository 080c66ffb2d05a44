"""nnU-Net's planning rules (Isensee et al. 2021, supplement; its code 2.8): spacing, patch, strides, kernels, batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.augmentation.volumes import ANISOTROPIC

Size3 = tuple[int, int, int]
Triple = tuple[float, float, float]

SMALLEST_MAP = 4  # voxels along an axis that the deepest map keeps
MOST_FEATURES = 320
REFERENCE = 560_000_000  # values of all maps of one sample that fit 8 GB, two samples a batch
REFERENCE_GB, REFERENCE_BATCH = 8.0, 2
SHARE_SEEN = 0.05  # of the data set's voxels that one batch holds at most


@dataclass(frozen=True)
class Topology:
    """How a U-Net halves a patch: strides and kernels a stage, both along (z, y, x); the patch fits the strides."""

    patch: Size3
    strides: list[list[int]]
    kernels: list[list[int]]

    @property
    def features(self) -> list[int]:
        """Channels of each stage."""
        return [min(32 * 2**i, MOST_FEATURES) for i in range(len(self.strides))]


@dataclass(frozen=True)
class Plan:
    """What was chosen: spacing in mm (None where it is not known), median size there, topology, samples a batch."""

    spacing: Triple | None
    median: Size3
    topology: Topology
    batch_size: int


def target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> Triple:
    """Median spacing of volumes (N, 3); the 10th percentile along an axis of slices three times thicker and fewer."""
    median, size = np.median(spacings, axis=0), np.median(shapes, axis=0)
    worst = int(np.argmax(median))
    others = [axis for axis in range(3) if axis != worst]
    thick = median[worst] > ANISOTROPIC * max(median[axis] for axis in others)
    few = size[worst] * ANISOTROPIC < min(size[axis] for axis in others)
    if thick and few:
        finer = float(np.percentile(spacings[:, worst], 10))
        # never finer than the planes themselves
        floor = max(min(spacings[:, axis].min() for axis in others), *(median[axis] for axis in others))
        median[worst] = max(finer, floor + 1e-5) if finer < floor else finer
    z, y, x = (float(step) for step in median)
    return z, y, x


def topology_of(spacing: Sequence[float], patch: Sequence[int]) -> Topology:
    """Halve the axes whose spacing is within a factor of two of the finest, while they have eight voxels or more."""
    steps, size = [float(step) for step in spacing], [int(side) for side in patch]
    kernel, pooled = [1, 1, 1], [0, 0, 0]
    strides, kernels = [[1, 1, 1]], []
    while True:
        axes = [axis for axis in range(3) if size[axis] >= 2 * SMALLEST_MAP]
        if not axes:
            break
        finest = min(steps[axis] for axis in axes)
        axes = [axis for axis in axes if steps[axis] / finest < 2]
        if len(axes) == 1 and size[axes[0]] < 3 * SMALLEST_MAP:
            break
        kernel = [3 if kernel[axis] == 3 or steps[axis] / min(steps) < 2 else 1 for axis in range(3)]
        kernels.append(list(kernel))
        strides.append([2 if axis in axes else 1 for axis in range(3)])
        for axis in axes:
            pooled[axis] += 1
            steps[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
    kernels.append([3, 3, 3])
    fitted = [math.ceil(side / 2**n) * 2**n for side, n in zip(patch, pooled, strict=True)]
    return Topology((fitted[0], fitted[1], fitted[2]), strides, kernels)


def map_values(topology: Topology, n_classes: int) -> int:
    """Values of all maps of one sample in a plain U-Net, two convolutions a stage, as nnU-Net counts them."""
    sizes, here = [], list(topology.patch)
    for stride in topology.strides:
        here = [side // step for side, step in zip(here, stride, strict=True)]
        sizes.append(math.prod(here))
    features = topology.features
    encoder = sum(2 * width * size for width, size in zip(features, sizes, strict=True))
    decoder = sum((3 * width + n_classes) * size for width, size in zip(features[:-1], sizes[:-1], strict=True))
    return encoder + decoder


def make_plan(
    shapes: np.ndarray, spacings: np.ndarray | None, *, n_classes: int, memory_gb: float = REFERENCE_GB
) -> Plan:
    """Plan for volumes of `shapes` (N, 3) voxels, `spacings` (N, 3) mm apart along (z, y, x), or None where unknown.

    The first patch has the proportions of a cube of 256 voxels in millimetres, within the median size; it is cut along
    the axis that covers most of the median until a sample's maps fit `memory_gb`, and what is left makes the batch.
    """
    if len(shapes) == 0 or not memory_gb > 0:
        raise ValueError(
            f"{len(shapes)} volumes and {memory_gb} GB of memory; expected at least one volume and more than 0 GB"
        )
    target = None if spacings is None else target_spacing(spacings, shapes)
    scaled = shapes if spacings is None or target is None else np.rint(shapes * spacings / np.asarray(target))
    median = np.median(scaled, axis=0)
    unit = target or (1.0, 1.0, 1.0)
    steps = np.asarray(unit)
    side = (256**3 * math.prod(steps)) ** (1 / 3)
    first = np.minimum(np.maximum(np.rint(side / steps), 1), median).astype(int)
    topology = topology_of(unit, first.tolist())
    limit = REFERENCE * memory_gb / REFERENCE_GB
    while map_values(topology, n_classes) > limit:
        shares = np.asarray(topology.patch) / median
        smaller = _cut(topology, unit, shares)
        if smaller is None:
            raise ValueError(f"no patch fits into {memory_gb:g} GB; give plan more with --memory")
        topology = smaller
    batch = round(limit / map_values(topology, n_classes) * REFERENCE_BATCH)
    seen = round(len(shapes) * math.prod(median) * SHARE_SEEN / math.prod(topology.patch))
    size = tuple(int(round(value)) for value in median)
    return Plan(target, (size[0], size[1], size[2]), topology, max(2, min(batch, seen)))


def _cut(topology: Topology, steps: Triple, shares: np.ndarray) -> Topology | None:
    """The topology of a patch that is shorter along the first axis, by coverage, that can be shortened."""
    for axis in np.argsort(-shares, kind="stable"):
        patch = list(topology.patch)
        total = math.prod(stride[axis] for stride in topology.strides)
        patch[axis] -= total
        while patch[axis] >= SMALLEST_MAP:
            smaller = topology_of(steps, patch)
            if math.prod(smaller.patch) < math.prod(topology.patch):
                return smaller
            patch[axis] -= 1
    return None
