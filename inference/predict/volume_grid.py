"""The working grid of a volume, and the boxes that a 3D network is shown on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.config import InputConfig, PredictConfig
from inference.predict.tiles import Axis, plan_axis

if TYPE_CHECKING:
    from submissions.images.opening import ImageReader

Size3 = tuple[int, int, int]
Spacing = tuple[float, float, float]


def spacing_of(reader: ImageReader) -> Spacing | None:
    """Distance of voxels (z, y, x) in mm where the volume's file says it."""
    found: Spacing | None = getattr(reader, "spacing", None)
    return found


def work_shape(host: Sequence[int], scale: float, config: InputConfig, spacing: Spacing | None) -> Size3:
    """Size (Z, H, W) at work of a volume of `host` size: by `spacing_mm` along all axes, else by scale in the plane.

    Raises ValueError where a spacing is asked for and the volume's own is not known.
    """
    depth, height, width = host[:3]
    if config.spacing_mm is None:
        return depth, max(1, round(height * scale)), max(1, round(width * scale))
    if spacing is None:
        raise ValueError(
            f"input.spacing_mm is {list(config.spacing_mm)}, but the volume's file does not say how far apart its "
            "voxels are; leave it out, or give volumes as NIfTI"
        )
    sides = [
        max(1, round(n * own / wanted)) for n, own, wanted in zip(host[:3], spacing, config.spacing_mm, strict=True)
    ]
    return sides[0], sides[1], sides[2]


@dataclass(frozen=True, eq=False)
class BoxGrid:
    """Sizes (Z, H, W) at the host and at work, and the boxes along the three axes of the working volume."""

    host: Size3
    work: Size3
    axes: tuple[Axis, Axis, Axis]

    @property
    def tile(self) -> Size3:
        """Depth, height and width of a box."""
        z, y, x = (axis.tile for axis in self.axes)
        return z, y, x

    @property
    def padded(self) -> Size3:
        """Size of the mirrored working volume."""
        z, y, x = (axis.padded for axis in self.axes)
        return z, y, x


def make_box_grid(host: Size3, work: Size3, config: PredictConfig, *, whole: bool = False) -> BoxGrid:
    """Lay the boxes of `config` over a volume; `whole`: one box for all of it.

    A volume that is smaller than a box along an axis is not padded along it: networks pad to their own strides.
    """
    tile = tuple(side + 2 * config.border for side in work) if whole else config.box
    z, y, x = (plan_axis(work[i], tile[i], config.overlap, config.window, config.border, divisor=1) for i in range(3))
    return BoxGrid(host, work, (z, y, x))
