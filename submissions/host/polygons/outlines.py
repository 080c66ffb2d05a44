"""What every format becomes: outlines with a name, and the pixels inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

SUBPIXEL_BITS = 4  # cv2 takes coordinates as fixed point: sixteenths of a pixel
CORNERS = 90  # of the polygon that a circle or ellipse becomes

Ring = np.ndarray


@dataclass(frozen=True)
class Outline:
    """One annotated object.

    parts: each a list of rings, float (n, 2) of x, y in pixels, the outside first, holes after it; a pixel is inside by
    the even-odd rule, the line itself included. patches: (top, left, bool (h, w)) of formats that hold pixels.
    crowd: many objects that nobody has told apart. fault: why it has no area, if it has none.
    """

    name: str
    parts: list[list[Ring]] = field(default_factory=list)
    patches: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    crowd: bool = False
    fault: str = ""


@dataclass(frozen=True)
class Entry:
    """What a document says of one image: its outlines, and (height, width) where it names them."""

    outlines: list[Outline]
    size: tuple[int, int] | None = None


def draw(outline: Outline, shape: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W) of the pixels inside an outline. ValueError, naming `where`, for one that has no area."""
    if outline.fault:
        raise ValueError(f"{where}: {outline.name}: {outline.fault}; or leave it out with masks.polygon_classes")
    drawn = np.zeros(shape, bool)
    for rings in outline.parts:
        drawn |= _fill_rings(rings, shape, where)
    for top, left, pixels in outline.patches:
        _paste(drawn, top, left, pixels, where)
    return drawn


def _fill_rings(rings: Sequence[Ring], shape: tuple[int, int], where: str) -> np.ndarray:
    drawn = np.zeros(shape, np.uint8)
    points = []
    for ring in rings:
        if ring.ndim != 2 or len(ring) < 3 or not np.isfinite(ring).all():
            raise ValueError(f"{where}: a polygon with {len(ring)} points, expected at least 3 finite ones")
        points.append(np.round(ring * (1 << SUBPIXEL_BITS)).astype(np.int32))
    cv2.fillPoly(drawn, points, 1, shift=SUBPIXEL_BITS)
    return drawn.astype(bool)


def _paste(drawn: np.ndarray, top: int, left: int, pixels: np.ndarray, where: str) -> None:
    """Adds a patch of pixels; ValueError where it lies outside of the image."""
    bottom, right = top + pixels.shape[0], left + pixels.shape[1]
    if min(top, left) < 0 or bottom > drawn.shape[0] or right > drawn.shape[1]:
        raise ValueError(
            f"{where}: pixels of rows {top} to {bottom}, columns {left} to {right}, in an image of {drawn.shape}"
        )
    drawn[top:bottom, left:right] |= pixels


def box(left: float, top: float, right: float, bottom: float) -> list[Ring]:
    """A rectangle's outline."""
    return [np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)]


def ellipse(x: float, y: float, radius_x: float, radius_y: float, turned: float = 0.0) -> list[Ring]:
    """An ellipse's outline; `turned`: radians, clockwise on the screen."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    across, down = radius_x * np.cos(angle), radius_y * np.sin(angle)
    cos, sin = np.cos(turned), np.sin(turned)
    return [np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1)]


def no_area(name: str, kind: str) -> Outline:
    """An outline of a kind (a line, a point, a box for detection) that says nothing about pixels."""
    return Outline(name, fault=f"a {kind!r}, which has no area; expected polygons or masks")
