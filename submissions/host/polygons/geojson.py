"""GeoJSON in pixels, as QuPath writes it: polygons with holes (https://qupath.readthedocs.io, RFC 7946)."""

from __future__ import annotations

from typing import Any

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, no_area


def read_geojson(document: dict[str, Any] | list[Any]) -> dict[str, Entry]:
    """The entry of the document's image, without a name: the file is named as its image."""
    features = document if isinstance(document, list) else document.get("features", [document])
    return {"": Entry([_outline(feature) for feature in features])}


def _outline(feature: dict[str, Any]) -> Outline:
    name, geometry = _class(feature.get("properties") or {}), feature["geometry"]
    kind = str(geometry["type"])
    if kind not in ("Polygon", "MultiPolygon"):
        return no_area(name, kind)
    parts = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
    return Outline(name, [[np.asarray(ring, float)[:, :2] for ring in rings] for rings in parts], corners=True)


def _class(properties: dict[str, Any]) -> str:
    """QuPath's classification, or a property called class, label, type or name; 'object' where there is none."""
    given = properties.get("classification")
    if isinstance(given, dict) and given.get("name"):
        return str(given["name"])
    for key in ("classification", "class", "label", "type", "name", "objectType"):
        if isinstance(properties.get(key), str) and properties[key].strip():
            return str(properties[key])
    return "object"
