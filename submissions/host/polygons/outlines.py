"""What every format becomes: outlines with a name, and the pixels inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

SUBPIXEL_BITS = 4  # cv2 takes coordinates as fixed point: sixteenths of a pixel
FIFTHS = 5  # in which pycocotools walks along an edge
SMALLEST = 0.1  # pixels, of all outlines of an image together
CORNERS = 90  # of the polygon that a circle or ellipse becomes

Ring = np.ndarray


@dataclass(frozen=True)
class Outline:
    """One annotated object.

    parts: each a list of rings, float (n, 2) of x, y in pixels, the outside first, holes after it; a pixel is inside by
    the even-odd rule. patches: (top, left, bool (h, w)) of formats that hold pixels.
    corners: whether places count from the outer corner of the first pixel, and a pixel is inside as pycocotools has it,
    about where its centre is (formats whose own tools paint so, or that give shares of the width); else places are
    pixels' centres, and the line itself is included.
    crowd: many objects that nobody has told apart. fault: why it has no area, if it has none.
    """

    name: str
    parts: list[list[Ring]] = field(default_factory=list)
    patches: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    crowd: bool = False
    fault: str = ""
    corners: bool = False


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
        for ring in rings:
            if ring.ndim != 2 or len(ring) < 3 or not np.isfinite(ring).all():
                raise ValueError(f"{where}: a polygon with {len(ring)} points, expected at least 3 finite ones")
        drawn |= _inside_corners(rings, shape) if outline.corners else _filled(rings, shape)
    for top, left, pixels in outline.patches:
        _paste(drawn, top, left, pixels, where)
    return drawn


def lie_elsewhere(outlines: Sequence[Outline], shape: tuple[int, int]) -> str:
    """Where all outlines of an image lie, if not one of them lies in it, and '' otherwise: places of a map, for one.

    Outlines so small that a pixel holds all of them lie elsewhere too, as longitudes and latitudes do.
    """
    rings = [rings[0] for outline in outlines for rings in outline.parts if rings and len(rings[0])]
    known = [ring for ring in rings if ring.ndim == 2 and np.isfinite(ring).all()]
    places = np.array([(*ring.min(axis=0), *ring.max(axis=0)) for ring in known])
    if not len(places) or any(outline.patches for outline in outlines):
        return ""
    left, top, right, bottom = places.T
    inside = (left < shape[1]) & (right > 0) & (top < shape[0]) & (bottom > 0)
    if inside.any() and max(right.max() - left.min(), bottom.max() - top.min()) > SMALLEST:
        return ""
    return f"x from {left.min():g} to {right.max():g}, y from {top.min():g} to {bottom.max():g}"


def moved(outline: Outline, by: np.ndarray) -> Outline:
    """The outline with its places (x, y) at `by` @ (x, y, 1); by: float (2, 3)."""
    return replace(outline, parts=[[ring @ by[:, :2].T + by[:, 2] for ring in rings] for rings in outline.parts])


def _filled(rings: Sequence[Ring], shape: tuple[int, int]) -> np.ndarray:
    drawn = np.zeros(shape, np.uint8)
    points = [np.round(ring * (1 << SUBPIXEL_BITS)).astype(np.int32) for ring in rings]
    cv2.fillPoly(drawn, points, 1, shift=SUBPIXEL_BITS)
    return drawn.astype(bool)


def _inside_corners(rings: Sequence[Ring], shape: tuple[int, int]) -> np.ndarray:
    """Pixels of rings as pycocotools paints one (`rleFrPoly` of its maskApi.c): down each column those after an odd
    number of crossings."""
    crossings = [_crossings(ring, shape) for ring in rings]
    cols, rows = np.concatenate([col for col, _ in crossings]), np.concatenate([row for _, row in crossings])
    drawn = np.zeros(shape, bool)
    if len(cols):
        left, right, top, bottom = cols.min(), cols.max() + 1, rows.min(), rows.max()
        odd = np.zeros((bottom - top + 1, right - left), np.uint8)
        np.bitwise_xor.at(odd, (rows - top, cols - left), 1)
        drawn[top:bottom, left:right] = np.bitwise_xor.accumulate(odd, axis=0)[:-1]
    return drawn


def _crossings(ring: Ring, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """int64 (n,) column whose middle a ring crosses, and the first row below the crossing, 0 to the height."""
    x, y = np.trunc(FIFTHS * ring.T + 0.5).astype(np.int64)
    x1, y1 = np.roll(x, -1), np.roll(y, -1)
    across, down = np.abs(x1 - x), np.abs(y1 - y)
    flat, steps = across >= down, np.maximum(across, down)
    turned = np.where(flat, x > x1, y > y1)  # an edge is walked from its left or upper end, its points then turned
    x, x1, y, y1 = np.where(turned, x1, x), np.where(turned, x, x1), np.where(turned, y1, y), np.where(turned, y, y1)
    slope = np.where(flat, y1 - y, x1 - x) / np.maximum(steps, 1)
    edge = np.repeat(np.arange(len(x)), steps + 1)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    place = np.where(turned[edge], steps[edge] - place, place)
    beside = np.trunc(np.where(flat, y, x)[edge] + slope[edge] * place + 0.5).astype(np.int64)
    u = np.where(flat[edge], place + x[edge], beside)
    v = np.where(flat[edge], beside, place + y[edge])
    moved = np.flatnonzero(u[1:] != u[:-1])
    col = (np.minimum(u[1:], u[:-1])[moved] + 0.5) / FIFTHS - 0.5
    row = np.ceil(np.clip((np.minimum(v[1:], v[:-1])[moved] + 0.5) / FIFTHS - 0.5, 0, shape[0]))
    kept = (np.floor(col) == col) & (col >= 0) & (col <= shape[1] - 1)
    return col[kept].astype(np.int64), row[kept].astype(np.int64)


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
