"""CVAT for images 1.1 and for video 1.1: an XML of all images (https://docs.cvat.ai/docs/manual/advanced/xml_format)."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, box, ellipse, no_area

GEOMETRIES = ("polygon", "box", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")


def read_cvat(root: ElementTree.Element) -> dict[str, Entry]:
    """Entries by the image's name without its ending; objects that lie higher come later.

    Tracks name frames by number: the images are those that CVAT exports with them, frame_000000 and so on.
    """
    found: dict[str, Entry] = {}
    for image in root.iter("image"):
        shapes = [shape for shape in image if shape.tag in GEOMETRIES]
        shapes.sort(key=lambda shape: int(shape.get("z_order", "0")))
        size = int(image.attrib["height"]), int(image.attrib["width"])
        found[Path(image.attrib["name"]).with_suffix("").as_posix()] = Entry([_outline(one) for one in shapes], size)
    frames: dict[str, list[tuple[int, Outline]]] = {}
    for track in root.iter("track"):
        for shape in track:
            if shape.tag in GEOMETRIES and shape.get("outside", "0") == "0":
                placed = int(shape.get("z_order", "0")), _outline(shape, track.attrib["label"])
                frames.setdefault(f"frame_{int(shape.attrib['frame']):06d}", []).append(placed)
    for name, placed_ones in frames.items():
        found[name] = Entry([outline for _, outline in sorted(placed_ones, key=lambda one: one[0])])
    return found


def _outline(shape: ElementTree.Element, label: str | None = None) -> Outline:
    name = label or shape.attrib["label"]
    if shape.tag == "polygon":
        points = [[float(number) for number in pair.split(",")] for pair in shape.attrib["points"].split(";")]
        return Outline(name, [[np.asarray(points, float)]], corners=True)
    if shape.tag == "box":
        left, top, right, bottom = (float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Outline(name, [box(left, top, right, bottom)], corners=True)
    if shape.tag == "ellipse":
        x, y, across, down = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        turned = math.radians(float(shape.get("rotation", "0")))
        return Outline(name, [ellipse(x, y, across, down, turned)], corners=True)
    if shape.tag == "mask":
        return Outline(name, patches=[_patch(shape)])
    return no_area(name, shape.tag)


def _patch(shape: ElementTree.Element) -> tuple[int, int, np.ndarray]:
    """Pixels of a mask: counts along the rows of its box, zeros first."""
    height, width = int(shape.attrib["height"]), int(shape.attrib["width"])
    lengths = np.array([int(number) for number in shape.attrib["rle"].split(",")], np.int64)
    if lengths.min() < 0 or int(lengths.sum()) != height * width:
        raise ValueError(f"a mask of {int(lengths.sum())} pixels in a box of {height} x {width}")
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
    return int(shape.attrib["top"]), int(shape.attrib["left"]), pixels
