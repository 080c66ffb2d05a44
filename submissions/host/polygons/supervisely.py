"""Supervisely: a JSON an image, polygons with holes and bitmaps (https://docs.supervisely.com)."""

from __future__ import annotations

from typing import Any

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, box, no_area
from submissions.host.polygons.packed import unpack_png


def read_supervisely(document: dict[str, Any]) -> dict[str, Entry]:
    """The entry of the document's image, without a name: the file is named as its image."""
    size = document["size"]
    outlines = [_outline(item) for item in document["objects"]]
    return {"": Entry(outlines, (int(size["height"]), int(size["width"])))}


def _outline(item: dict[str, Any]) -> Outline:
    name, kind = str(item["classTitle"]), str(item["geometryType"])
    if kind == "bitmap":
        left, top = item["bitmap"]["origin"]
        return Outline(name, patches=[(int(top), int(left), unpack_png(item["bitmap"]["data"], zipped=True))])
    if kind not in ("polygon", "rectangle"):
        return no_area(name, kind)
    outside = np.asarray(item["points"]["exterior"], float).reshape(-1, 2)
    if kind == "rectangle":
        return Outline(name, [box(*outside.min(axis=0), *outside.max(axis=0))])
    holes = [np.asarray(ring, float).reshape(-1, 2) for ring in item["points"].get("interior") or []]
    return Outline(name, [[outside, *holes]])
