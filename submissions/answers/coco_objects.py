"""Entries of COCO's result JSON: reading the file, the mask of an entry, and what is wrong with one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.polygons.coco import decode_counts
from submissions.host.polygons.outlines import Outline, draw
from submissions.images.damaged import read_json
from submissions.rle.polygon_text import mask_from_polygons

Entry = dict[str, Any]
REWRITE = "write it again"


def entry_mask(entry: Entry, shape: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W) of an entry: runs, a GeoJSON geometry, or in a solution of COCO polygons.

    Raises ValueError where it is none of these, or of another size.
    """
    given = entry.get("segmentation")
    if isinstance(given, Mapping) and "type" in given:
        try:
            return mask_from_polygons(json.dumps(given), shape, "geojson")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if isinstance(given, Mapping):
        if [int(side) for side in given.get("size", [])] != list(shape):
            raise ValueError(f"{where}: its size is {given.get('size')}, expected {list(shape)} (height, width)")
        return decode_counts(dict(given), where)
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where}: no segmentation; expected {{'size': [height, width], 'counts': text}}")
    rings = [[np.asarray(ring, float).reshape(-1, 2)] for ring in given]
    return draw(Outline("object", rings, corners=True), shape, where)


def read_entries(path: Path) -> list[Entry]:
    """The objects of a result file, or the annotations of a COCO document. ValueError where it is neither."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected COCO results, a JSON list of objects")
    document = read_json(path, cure=REWRITE)
    found = document.get("annotations") if isinstance(document, dict) else document
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"{path}: expected a list of objects {{image_id, category_id, segmentation, score}}")
    return found


def image_of(entry: Entry, ids: Mapping[int | str, str]) -> str | None:
    """The image that an entry names, by the image_id of each; None where it names none of them."""
    key = entry.get("image_id")
    return ids.get(key) if isinstance(key, (int, str)) and not isinstance(key, bool) else None


def entry_fault(entry: Entry, categories: Mapping[str, int | str], *, scored: bool) -> str | None:
    """What is wrong with an entry's class or score; None where nothing is."""
    if entry.get("category_id") not in categories.values():
        return f"category_id {entry.get('category_id')!r}, expected one of {sorted(categories.values())}"
    score = entry.get("score")
    number = isinstance(score, (int, float)) and not isinstance(score, bool) and math.isfinite(score)
    return f"score {score!r}, expected a number" if scored and not number else None
