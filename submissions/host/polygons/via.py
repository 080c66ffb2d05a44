"""VIA 2, the VGG image annotator: a project or its annotations, JSON or CSV (https://www.robots.ox.ac.uk/~vgg/software/via)."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, box, ellipse, no_area


def read_via(document: dict[str, Any]) -> dict[str, Entry]:
    """Entries by the file's name without its ending; a region's class is its only, or its first, attribute."""
    images = document.get("_via_img_metadata", document)
    found: dict[str, Entry] = {}
    for image in images.values():
        regions = image["regions"]
        regions = list(regions.values()) if isinstance(regions, Mapping) else regions
        found[Path(image["filename"]).with_suffix("").as_posix()] = Entry([_outline(region) for region in regions])
    return found


def read_via_table(path: Path) -> dict[str, Entry]:
    """The same of VIA's CSV, one row per region; an image without a region has one row that says so.

    Raises KeyError for another table's columns.
    """
    found: dict[str, Entry] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            entry = found.setdefault(Path(row["filename"]).with_suffix("").as_posix(), Entry([]))
            shape = json.loads(row["region_shape_attributes"])
            if shape:
                named = {"shape_attributes": shape, "region_attributes": json.loads(row["region_attributes"])}
                entry.outlines.append(_outline(named))
    return found


def _outline(region: dict[str, Any]) -> Outline:
    shape, name = region["shape_attributes"], _class(region.get("region_attributes") or {})
    kind = str(shape["name"])
    if kind == "polygon":
        points = np.stack([np.asarray(shape[f"all_points_{axis}"], float) for axis in "xy"], axis=1)
        return Outline(name, [[points]])
    if kind == "rect":
        left, top = float(shape["x"]), float(shape["y"])
        return Outline(name, [box(left, top, left + float(shape["width"]), top + float(shape["height"]))])
    if kind == "circle":
        return Outline(name, [ellipse(shape["cx"], shape["cy"], shape["r"], shape["r"])])
    if kind == "ellipse":
        x, y, across, down = (float(shape[key]) for key in ("cx", "cy", "rx", "ry"))
        return Outline(name, [ellipse(x, y, across, down, float(shape.get("theta") or 0))])
    return no_area(name, kind)


def _class(attributes: Mapping[str, Any]) -> str:
    """The first attribute that is set; of several choices the one that is ticked. 'object' where there is none."""
    for value in attributes.values():
        if isinstance(value, Mapping):
            value = next((choice for choice, ticked in value.items() if ticked), "")
        if str(value).strip():
            return str(value).strip()
    return "object"
