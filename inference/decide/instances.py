"""From a mask to instances: connected components, or a watershed of distance, centre or border channel."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import scipy
from pydantic import Field

from inference.decide.components import label_components
from inference.decide.watershed import Relief, cut, make_relief
from submissions.host.settings import Settings

STEPS = 16  # levels of the height map a pixel of distance


class InstanceSettings(Settings):
    """How a mask is split into instances."""

    method: Literal["components", "distance", "centre", "border"] = Field(
        "distance",
        description="how the mask is split: connected components, or a watershed on the distance to the edge or "
        "on a channel of the prediction",
    )
    plane: int = Field(0, ge=0, description="index of the class whose mask is split [number of a class, from 0]")
    smooth: float = Field(1.0, ge=0, description="sigma by which the height is smoothed [pixels]")
    depth: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="how deep the valley between two objects must be, as a share of the lower peak [share]",
    )
    floor: float = Field(
        0.5,
        ge=0,
        description="how deep the valley must be at least, in distance or probability [pixels, or hundredths of "
        "probability]",
    )
    min_area: int = Field(0, ge=0, description="instances of fewer pixels are left out [pixels]")

    @property
    def relief(self) -> tuple[str, int, float]:
        """What the height map depends on; settings alike in this share it."""
        return self.method, self.plane, self.smooth

    @property
    def channel(self) -> str | None:
        """Name of the channel that the method reads beside the class; None where it needs none."""
        return self.method if self.method in ("centre", "border") else None


def split(
    mask: np.ndarray,
    settings: InstanceSettings,
    *,
    probs: np.ndarray | None = None,
    guide: np.ndarray | None = None,
    relief: Relief | None = None,
) -> np.ndarray:
    """Instances int32, 0 background and 1..n in raster order of their first pixel.

    Parameters
    ----------
    mask : bool (H, W) or (Z, H, W); distances and smoothing of a volume are in voxels, alike along all axes
    probs : uint8 as mask, the class's probability; needed by 'border'
    guide : uint8 as mask, the channel of centre or border; needed by those methods
    relief : of `relief_of`, where it is made already

    Raises ValueError where a channel that the method reads is missing.
    """
    if settings.method == "components":
        return number_by_raster(label_components(mask)[0], settings.min_area)
    made = relief or relief_of(mask, settings, probs=probs, guide=guide)
    unit = STEPS if settings.method == "distance" else 2.55
    label = cut(made, depth=settings.depth, floor=settings.floor * unit)
    return number_by_raster(label, settings.min_area)


def relief_of(
    mask: np.ndarray, settings: InstanceSettings, *, probs: np.ndarray | None = None, guide: np.ndarray | None = None
) -> Relief:
    """The height map that `split` cuts, the same for settings of the same `InstanceSettings.relief`."""
    return make_relief(_height(mask, settings, probs, guide), mask)


def number_by_raster(label: np.ndarray, min_area: int = 0) -> np.ndarray:
    """`label` (0 background) as int32 1..n in order of first pixels; instances below `min_area` pixels go."""
    flat = label.ravel()
    inside = np.flatnonzero(flat != 0)  # of bool, which numpy finds faster
    labels = flat[inside]
    areas = np.bincount(labels, minlength=1)
    first = np.full(len(areas), flat.size, np.int64)
    first[labels[::-1]] = inside[::-1]
    keep = areas >= max(min_area, 1)
    keep[0] = False
    order = np.flatnonzero(keep)
    order = order[np.argsort(first[order], kind="stable")]
    lookup = np.zeros(len(areas), np.int32)
    lookup[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    numbered = np.zeros(flat.size, np.int32)
    numbered[inside] = lookup[labels]
    return numbered.reshape(label.shape)


def confidences(label: np.ndarray, probs: np.ndarray) -> list[float]:
    """Mean probability in [0, 1] of each instance 1..n; label int32 and probs uint8 of one shape."""
    inside = np.flatnonzero(label != 0)
    labels = label.ravel()[inside]
    sums, areas = np.bincount(labels, weights=probs.ravel()[inside]), np.bincount(labels)
    return [float(value) for value in sums[1:] / np.maximum(areas[1:], 1) / 255.0]


def _height(
    mask: np.ndarray, settings: InstanceSettings, probs: np.ndarray | None, guide: np.ndarray | None
) -> np.ndarray:
    """uint16 as mask: the higher, the deeper inside an instance."""
    if settings.method == "distance":
        height = _distance(mask) * STEPS
    elif guide is None:
        raise ValueError(
            f"instances.method {settings.method!r} needs the channel {settings.channel!r}, not in the store"
        )
    elif settings.method == "centre":
        height = guide.astype(np.float32)
    elif probs is None:
        raise ValueError("instances.method 'border' needs the class's probability beside the border's")
    else:
        height = np.maximum(probs.astype(np.float32) - guide.astype(np.float32), 0)
    if settings.smooth > 0 and mask.ndim == 3:
        height = scipy.ndimage.gaussian_filter(height, settings.smooth, mode="reflect")
    elif settings.smooth > 0:
        height = cv2.GaussianBlur(height, (0, 0), settings.smooth, borderType=cv2.BORDER_REFLECT)
    return np.minimum(np.rint(height), np.float32(65535)).astype(np.uint16)


def _distance(mask: np.ndarray) -> np.ndarray:
    """float32: distance of each pixel to the nearest that is not in the mask; all around the image none is."""
    if mask.ndim == 3:
        padded = np.pad(mask, 1)
        return scipy.ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1].astype(np.float32)
    padded = cv2.copyMakeBorder(np.ascontiguousarray(mask).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance: np.ndarray = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return distance
