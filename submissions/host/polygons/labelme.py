"""labelme: a JSON an image (https://github.com/wkentaro/labelme)."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import Any

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, box, ellipse, no_area
from submissions.host.polygons.packed import unpack_png


def read_labelme(document: dict[str, Any]) -> dict[str, Entry]:
    """The entry of the document's image; polygons, rectangles, circles and masks have an area."""
    height, width = document.get("imageHeight"), document.get("imageWidth")
    size = (int(height), int(width)) if height and width else None
    name = PureWindowsPath(str(document.get("imagePath") or "")).stem
    return {name: Entry([_outline(shape) for shape in document["shapes"]], size)}


def _outline(shape: dict[str, Any]) -> Outline:
    name, kind = str(shape["label"]), shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], float).reshape(-1, 2)
    if kind == "polygon":
        return Outline(name, [[points]])
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return Outline(name, [box(left, top, right, bottom)])
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return Outline(name, [ellipse(points[0, 0], points[0, 1], radius, radius)])
    if kind == "mask":
        left, top = (int(round(value)) for value in points.min(axis=0))
        return Outline(name, patches=[(top, left, unpack_png(shape["mask"]))])
    return no_area(name, str(kind))
