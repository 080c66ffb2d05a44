"""Label Studio: one JSON of all tasks, places in percent of the image (https://labelstud.io/guide/export.html)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, box, ellipse, no_area
from submissions.host.polygons.packed import unpack_brush

UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what the server puts before the name of an uploaded file


def read_label_studio(document: list[dict[str, Any]]) -> dict[str, Entry]:
    """Entries by the image's name, as uploaded and as the server calls it; of several annotators the first counts."""
    found: dict[str, Entry] = {}
    for task in document:
        address = next((str(one) for one in task["data"].values() if PurePosixPath(str(one)).suffix), "")
        done = [one for one in task["annotations"] if not one.get("was_cancelled")]
        results = [one for one in (done[0]["result"] if done else []) if "original_width" in one]
        size = _size(results[0]) if results else None
        entry = Entry([outline for one in results for outline in _outlines(one)], size)
        name = PurePosixPath(unquote(address)).stem
        found |= {name: entry, UPLOADED.sub("", name, count=1): entry}
    return found


def _size(item: dict[str, Any]) -> tuple[int, int]:
    """(height, width) of the image that an object was drawn on."""
    return int(item["original_height"]), int(item["original_width"])


def _outlines(item: dict[str, Any]) -> list[Outline]:
    """The object once for each of its labels."""
    value, kind = item["value"], str(item["type"])
    labels = value.get(kind) or value.get("labels") or []
    return [_outline(item, str(label), kind.removesuffix("labels")) for label in labels]


def _outline(item: dict[str, Any], name: str, kind: str) -> Outline:
    value, scale = item["value"], np.array([item["original_width"], item["original_height"]]) / 100
    if kind == "polygon":
        return Outline(name, [[np.asarray(value["points"], float).reshape(-1, 2) * scale]], corners=True)
    if kind == "brush":
        return Outline(name, patches=[(0, 0, unpack_brush(value["rle"], _size(item)))])
    if kind not in ("rectangle", "ellipse") or value.get("rotation"):
        return no_area(name, f"turned {kind}" if value.get("rotation") else kind)
    left, top = np.array([value["x"], value["y"]]) * scale
    if kind == "ellipse":
        radii = np.array([value["radiusX"], value["radiusY"]]) * scale
        return Outline(name, [ellipse(left, top, *radii)], corners=True)
    right, bottom = np.array([value["x"] + value["width"], value["y"] + value["height"]]) * scale
    return Outline(name, [box(left, top, right, bottom)], corners=True)
