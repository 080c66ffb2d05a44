"""COCO: polygons, crowds, and runs as counts or as their compressed text (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline
from submissions.rle.codec import Dialect, decode


def read_coco(document: dict[str, Any]) -> dict[str, Entry]:
    """Entries by the file's path without its ending; polygons are painted and joined as by pycocotools."""
    names = {item["id"]: str(item["name"]) for item in document["categories"]}
    files = {item["id"]: Path(item["file_name"]).with_suffix("").as_posix() for item in document["images"]}
    found = {files[item["id"]]: Entry([], _size(item)) for item in document["images"]}
    for item in document["annotations"]:
        entry = found[files[item["image_id"]]]
        entry.outlines.append(_outline(item, names[item["category_id"]]))
    return found


def _size(item: dict[str, Any]) -> tuple[int, int] | None:
    return (int(item["height"]), int(item["width"])) if item.get("height") and item.get("width") else None


def _outline(item: dict[str, Any], name: str) -> Outline:
    crowd, given = bool(item.get("iscrowd")), item.get("segmentation")
    if isinstance(given, dict):
        return Outline(name, patches=[(0, 0, decode_counts(given, f"annotation {item.get('id')}"))], crowd=crowd)
    if not given:
        return Outline(name, fault=f"annotation {item.get('id')} has a box but no segmentation")
    return Outline(name, [[np.asarray(ring, float).reshape(-1, 2)] for ring in given], crowd=crowd, corners=True)


def decode_counts(given: dict[str, Any], where: str) -> np.ndarray:
    """bool (H, W) of {'size': [height, width], 'counts': list or compressed text}; column-major, zeros first."""
    if "size" not in given or "counts" not in given:
        raise ValueError(f"{where}: runs without size or counts")
    height, width = (int(number) for number in given["size"])
    counts = given["counts"]
    if isinstance(counts, str):
        return decode(counts, (height, width), Dialect(kind="coco_compressed"), where=where)
    lengths = np.asarray(counts, np.int64)
    if len(lengths) and (lengths.min() < 0 or int(lengths.sum()) != height * width):
        raise ValueError(f"{where}: counts add up to {int(lengths.sum())} pixels, expected {height} x {width}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T
