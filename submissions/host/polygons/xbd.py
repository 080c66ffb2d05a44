"""xBD: a JSON an image, polygons as WKT in its pixels beside those of the map (https://xview2.org)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, no_area

RING = re.compile(r"\(([^()]+)\)")


def is_xbd(document: dict[str, Any]) -> bool:
    """Whether the features are listed in pixels, under xy."""
    features = document.get("features")
    return isinstance(features, dict) and isinstance(features.get("xy"), list)


def read_xbd(document: dict[str, Any]) -> dict[str, Entry]:
    """The entry of the document's image; an object's name is its damage, or its kind where none is told."""
    about = document.get("metadata") or {}
    height, width = about.get("height"), about.get("width")
    size = (int(height), int(width)) if height and width else None
    name = Path(str(about.get("img_name") or "")).stem
    return {name: Entry([_outline(feature) for feature in document["features"]["xy"]], size)}


def _outline(feature: dict[str, Any]) -> Outline:
    properties, text = feature["properties"], str(feature["wkt"])
    name = str(properties.get("subtype") or properties["feature_type"])
    rings = [
        [[float(number) for number in pair.split()[:2]] for pair in ring.split(",")] for ring in RING.findall(text)
    ]
    if not text.startswith(("POLYGON", "MULTIPOLYGON")) or not rings:
        return no_area(name, text[:20])
    return Outline(name, [[np.asarray(ring, float) for ring in rings]], corners=True)
