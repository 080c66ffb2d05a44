"""Points as masks: the host says where things are, and a ball around each place stands for the thing.

What comes out is a mask like any other: to learn from, to score by pixels. Points of a volume whose slices are images
of their own are cut by each slice. Turning a predicted mask back into a table of points is no part of this.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.competition import Competition
from submissions.host.listing import read_table
from submissions.host.mask_files import filled, open_path
from submissions.host.text_tables import lacking_columns
from submissions.host.truth import Truth, completed

Place = tuple[float, float, float]  # z, y, x in voxels of the host's grid


def point_table(competition: Competition, data: Path) -> dict[str, list[tuple[str, Place]]]:
    """Class and place of each point of the host's table, by the id of its volume (the stack, of single slices).

    A row with a place below 0 says that there is none: it is left out. Raises ValueError that names the file and what
    it lacks.
    """
    masks = competition.masks
    assert masks.table is not None and masks.points is not None
    frame = read_table(data, masks.table)
    names = [*masks.points.coordinates, *([masks.class_column] if masks.class_column else [])]
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(f"{masks.table.file}: {lacking_columns(missing, frame)}")
    found: dict[str, list[tuple[str, Place]]] = {}
    for row in frame.to_dict("records"):
        where = f"{masks.table.file}: id {row['image_id']}"
        place = _place([row[name] for name in masks.points.coordinates], masks.points.unit, where)
        name = str(row[masks.class_column]) if masks.class_column else competition.classes[-1]
        points = found.setdefault(str(row["image_id"]), [])
        if min(place) >= 0:
            points.append((name, place))
    return found


def document_points(competition: Competition, data: Path, row: Mapping[str, Any]) -> Iterator[tuple[str, Place]]:
    """Class and place of each point in the JSON documents of the volume in `row`; one that is not there has none.

    A document is {"points": [...]} or the list itself, a point {"location": {"x": ..}} or {"x": ..}. Raises ValueError
    that names a document that says something else.
    """
    masks = competition.masks
    assert masks.file is not None and masks.points is not None
    by_class = "{class}" in masks.file
    for name in competition.classes if by_class else competition.classes[-1:]:
        file = filled(masks.file.replace("{class}", name), row, "masks.file")
        path = open_path(competition, data, masks.file, file)
        if not path.is_file():
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8-sig"))
            points = document["points"] if isinstance(document, dict) else document
            places = [[point.get("location", point)[key] for key in masks.points.coordinates] for point in points]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{file}: {error!r}; expected points with {list(masks.points.coordinates)}, as masks.points names them"
            ) from error
        for values in places:
            yield name, _place(values, masks.points.unit, file)


def _place(values: list[Any], unit: float, where: str) -> Place:
    try:
        z, y, x = (float(value) / unit for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: place {values}, expected three numbers") from error
    return z, y, x


def draw_points(
    competition: Competition, points: list[tuple[str, Place]], shape: tuple[int, int, int], *, first: int, where: str
) -> Truth:
    """Truth of slices `first`, `first + 1`, ... of a volume: voxels within the radius of a point, later ones on top.

    shape: (Z, H, W) of these slices. Raises ValueError for a class that the contract does not list.
    """
    masks = competition.masks
    assert masks.points is not None
    planes = np.zeros((len(competition.classes), *shape), bool)
    instances = np.zeros(shape, np.int32)
    for number, (name, place) in enumerate(points, start=1):
        if name not in competition.classes:
            raise ValueError(f"{where}: class {name!r}, expected one of {competition.classes}")
        radius = masks.points.radius if isinstance(masks.points.radius, float) else masks.points.radius[name]
        centre = (place[0] - first, *place[1:])
        window = tuple(
            slice(max(0, math.ceil(middle - radius)), max(0, min(size, math.floor(middle + radius) + 1)))
            for middle, size in zip(centre, shape, strict=True)
        )
        axes = np.ogrid[window]
        inside = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2
        if competition.exclusive:
            planes[:, *window] &= ~inside
        planes[competition.classes.index(name)][window] |= inside
        instances[window][inside] = number
    return completed(competition, planes, instances=instances if masks.instances else None)
