"""Points as masks: the host says where things are, and a ball around each place stands for the thing.

What comes out is a mask like any other, to learn from and to score by pixels, and the places themselves, to score by
distance. Balls of a volume whose slices are images of their own are cut by each slice. The way back, from a mask to
places, is `submissions.table.objects.places_of_parts`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.competition import Competition
from submissions.host.listing import read_table
from submissions.host.mask_files import filled, open_path
from submissions.host.text_tables import lacking_columns
from submissions.host.truth import NamedPlace, Truth, completed

Place = tuple[float, float, float]  # z, y, x in voxels of the host's grid


@dataclass
class VolumePoints:
    """The points of a volume, and the size of its voxels where a column says it [host's unit]."""

    points: list[NamedPlace] = field(default_factory=list)
    voxel: float | None = None

    @property
    def spacing(self) -> Place | None:
        """(z, y, x)."""
        return None if self.voxel is None else (self.voxel, self.voxel, self.voxel)


def point_table(competition: Competition, data: Path) -> dict[str, VolumePoints]:
    """The points of the host's table, by the id of their volume (the stack, of single slices).

    A row with a place below 0 says that there is none: it is left out. Raises ValueError that names the file and what
    it lacks.
    """
    masks = competition.masks
    assert masks.table is not None and masks.points is not None
    frame = read_table(data, masks.table)
    voxel = masks.points.spacing
    names = [*masks.points.coordinates, *(name for name in (masks.class_column, voxel) if name)]
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(f"{masks.table.file}: {lacking_columns(missing, frame)}")
    found: dict[str, VolumePoints] = {}
    for row in frame.to_dict("records"):
        where = f"{masks.table.file}: id {row['image_id']}"
        place = read_place([row[name] for name in masks.points.coordinates], masks.points.unit, where)
        name = str(row[masks.class_column]) if masks.class_column else competition.classes[-1]
        own = found.setdefault(str(row["image_id"]), VolumePoints())
        own.voxel = own.voxel if voxel is None else voxel_size(row[voxel], f"{where}: {voxel}")
        if min(place) >= 0:
            own.points.append((name, place))
    return found


def voxel_size(text: Any, where: str) -> float:
    """The size of a voxel; ValueError where that is no number above 0."""
    try:
        size = float(text)
    except (TypeError, ValueError):
        size = math.nan
    if not (size > 0 and math.isfinite(size)):
        raise ValueError(f"{where} is {text!r}, expected the size of a voxel, a number above 0")
    return size


def document_points(competition: Competition, data: Path, row: Mapping[str, Any]) -> Iterator[NamedPlace]:
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
            yield name, read_place(values, masks.points.unit, file)


def read_place(values: list[Any], unit: float, where: str) -> Place:
    """(z, y, x) in voxels of three values in the host's unit; ValueError where they are not finite numbers."""
    try:
        z, y, x = (float(value) / unit for value in values)
    except (TypeError, ValueError):
        z = y = x = math.nan
    if not all(map(math.isfinite, (z, y, x))):
        raise ValueError(f"{where}: place {values}, expected three numbers")
    return z, y, x


def draw_points(
    competition: Competition, points: Sequence[NamedPlace], shape: tuple[int, int, int], *, first: int, where: str
) -> Truth:
    """Truth of slices `first`, `first + 1`, ... of a volume: voxels within the radius of a point, later ones on top.

    shape: (Z, H, W) of these slices; the truth's points are counted from the first of them. Raises ValueError for a
    class that the contract does not list.
    """
    masks = competition.masks
    assert masks.points is not None
    planes = np.zeros((len(competition.classes), *shape), bool)
    instances = np.zeros(shape, np.int32)
    here = [(name, (place[0] - first, *place[1:])) for name, place in points]
    for number, (name, centre) in enumerate(here, start=1):
        if name not in competition.classes:
            raise ValueError(f"{where}: class {name!r}, expected one of {competition.classes}")
        radius = masks.points.radius if isinstance(masks.points.radius, float) else masks.points.radius[name]
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
    return replace(completed(competition, planes, instances=instances if masks.instances else None), points=here)
