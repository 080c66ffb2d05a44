"""Documents that differ in their keys alone: an image, or several, and its objects with a name and an outline.

Darwin of V7 (https://docs.v7labs.com/reference/darwin-json), Datumaro (https://openvinotoolkit.github.io/datumaro),
SuperAnnotate (https://doc.superannotate.com), ISAT, Segment Anything's SA-1B, and the JSON of Solafune's competitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from submissions.host.polygons.coco import decode_counts
from submissions.host.polygons.outlines import Entry, Outline, Ring, no_area

ABOUT_THE_IMAGE = ("item", "metadata", "image", "info")
NAMES = ("file_name", "filename", "name", "id")
OBJECTS, CLASSES = ("annotations", "instances", "objects"), ("className", "class", "category", "name")


def lists_objects(document: Mapping[str, Any]) -> bool:
    """Whether a document is of this kind."""
    several = document.get("items") or document.get("images")
    images = several if isinstance(several, list) and several else [document]
    return "categories" in document if "items" in document else bool(images) and all(map(_is_an_image, images[:1]))


def read_listed_objects(document: Mapping[str, Any]) -> dict[str, Entry]:
    """Entries by the image's name without its ending; of its objects those with an area are drawn."""
    found = {}
    for image in document.get("items") or document.get("images") or [document]:
        about = next((image[key] for key in ABOUT_THE_IMAGE if isinstance(image.get(key), Mapping)), image)
        name = str(image["id"]) if "items" in document else _named(about)
        outlines = [_outline(item, _classes(document)) for key in OBJECTS for item in image.get(key) or []]
        found[name] = Entry(outlines, _size(about))
    return found


def _is_an_image(image: Any) -> bool:
    if not isinstance(image, Mapping) or not any(isinstance(image.get(key), list) for key in OBJECTS):
        return False
    return any(isinstance(image.get(key), Mapping) for key in ABOUT_THE_IMAGE) or "file_name" in image


def _named(about: Mapping[str, Any]) -> str:
    return PurePosixPath(str(next(about[key] for key in NAMES if key in about))).with_suffix("").as_posix()


def _size(about: Mapping[str, Any]) -> tuple[int, int] | None:
    where = next(iter(about.get("slots") or []), about)
    if isinstance(where.get("size"), list):
        return int(where["size"][0]), int(where["size"][1])
    return (int(where["height"]), int(where["width"])) if where.get("height") and where.get("width") else None


def _classes(document: Mapping[str, Any]) -> list[str]:
    """Names by their number, in Datumaro's documents."""
    known = document.get("categories")
    return [str(one["name"]) for one in known["label"]["labels"]] if isinstance(known, Mapping) else []


def _outline(item: Mapping[str, Any], classes: list[str]) -> Outline:
    name = str(next((item[key] for key in CLASSES if key in item), "object"))
    name = classes[int(item["label_id"])] if "label_id" in item else name
    runs = next((item[key] for key in ("rle", "segmentation") if isinstance(item.get(key), Mapping)), None)
    if runs is not None:
        return Outline(name, patches=[(0, 0, decode_counts(dict(runs), f"object {item.get('id')}"))])
    if item.get("type", "polygon") != "polygon":
        return no_area(name, str(item["type"]))
    parts = _parts(item)
    return Outline(name, parts, corners=True) if parts else no_area(name, ", ".join(item))


def _parts(item: Mapping[str, Any]) -> list[list[Ring]]:
    """Outlines with their holes; of a list `segmentation` each ring is a part."""
    drawn = item.get("polygon")
    if isinstance(drawn, Mapping):
        paths = drawn.get("paths") or [drawn["path"], *(drawn.get("additional_paths") or [])]
        return [[np.array([[point["x"], point["y"]] for point in path], float) for path in paths]]
    if given := item.get("segmentation"):
        several = isinstance(given[0], list) and len(given[0]) > 2  # else numbers, or pairs of them
        return [[_ring(ring)] for ring in (given if several else [given])]
    points = item.get("points")
    return [[_ring(ring) for ring in (points, *(item.get("exclude") or []))]] if points else []


def _ring(numbers: list[Any]) -> Ring:
    """(n, 2) of x, y one after the other, or in pairs."""
    return np.asarray(numbers, float).reshape(-1, 2)
