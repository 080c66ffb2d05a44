"""XML of viewers of slides, a document an image, places in pixels of the largest level.

Aperio ImageScope (MoNuSeg, MoNuSAC; https://www.leicabiosystems.com) and ASAP (CAMELYON;
https://github.com/computationalpathologygroup/ASAP).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, Ring, box, ellipse, no_area

RECTANGLE, ELLIPSE = "1", "2"  # ImageScope's types of regions, which two corners may give
UNNAMED = ("", "Description")  # what ImageScope writes where nobody named a layer
ASAP_AREAS = ("Polygon", "Spline", "Rectangle")


def read_imagescope(root: Element) -> dict[str, Entry]:
    """The entry of the document's image, an object a region; a negative region is a hole of the one around it.

    An object's name is its layer's, or that of the layer's attribute (MoNuSAC); 'object' where there is none.
    """
    outlines: list[Outline] = []
    for layer in root.iter("Annotation"):
        named = [layer.get("Name", ""), *(one.get("Name", "") for one in layer.iterfind("Attributes/Attribute"))]
        name = next((one.strip() for one in named if one.strip() not in UNNAMED), "object")
        regions = list(layer.iter("Region"))
        own = [_region(one, name) for one in regions if one.get("NegativeROA") != "1"]
        for hole in (_ring(one.iter("Vertex")) for one in regions if one.get("NegativeROA") == "1"):
            around = [one for one in own if one.parts and _lies_in(hole, one.parts[0][0])]
            if around:
                min(around, key=lambda one: float(np.prod(np.ptp(one.parts[0][0], axis=0)))).parts[0].append(hole)
        outlines += own
    return {"": Entry(outlines)}


def _region(region: Element, name: str) -> Outline:
    ring, kind = _ring(region.iter("Vertex")), region.get("Type", "0")
    if len(ring) == 2 and kind in (RECTANGLE, ELLIPSE):
        (left, top), (right, bottom) = ring.min(axis=0), ring.max(axis=0)
        oval = ellipse((left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2)
        return Outline(name, [box(left, top, right, bottom) if kind == RECTANGLE else oval], corners=True)
    return Outline(name, [[ring]], corners=True) if len(ring) > 2 else no_area(name, f"region of {len(ring)} points")


def read_asap(root: Element) -> dict[str, Entry]:
    """The entry of the document's image; an object's name is its group's, 'object' where it is in none."""
    outlines = []
    for one in root.iter("Annotation"):
        group, kind = one.get("PartOfGroup", ""), one.get("Type", "Polygon")
        name = "object" if group in ("", "None") else group
        ring = _ring(sorted(one.iter("Coordinate"), key=lambda place: int(place.get("Order", "0"))))
        known = kind in ASAP_AREAS and len(ring) > 2
        outlines.append(Outline(name, [[ring]], corners=True) if known else no_area(name, kind))
    return {"": Entry(outlines)}


def _ring(places: Iterable[Element]) -> Ring:
    """(n, 2) of the X and Y of elements; a decimal comma is read as a point."""
    numbers = [[float(one.attrib[key].replace(",", ".")) for key in ("X", "Y")] for one in places]
    return np.asarray(numbers, float).reshape(-1, 2)


def _lies_in(hole: Ring, ring: Ring) -> bool:
    """Whether the box around a hole lies in that around a ring."""
    return bool((hole.min(axis=0) >= ring.min(axis=0)).all() and (hole.max(axis=0) <= ring.max(axis=0)).all())
