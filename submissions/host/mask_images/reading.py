"""The truth of an image from its mask files, of one observer or several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from submissions.host.competition import Competition
from submissions.host.mask_files import mask_files
from submissions.host.mask_images.objects import numbered, numbered_in_channels, numbered_in_table
from submissions.host.mask_images.pixels import Extent, Row
from submissions.host.mask_images.planes import read_planes
from submissions.host.truth import SOFT_TOP, Truth, completed, truth_of_objects
from submissions.images.opening import open_mask
from submissions.images.reading import Reading


def read_mask_images(
    competition: Competition, data: Path, row: Row, extent: Extent, *, cells: Mapping[str, str] | None = None
) -> Truth:
    """Truth of these slices of the image in `row`, from its mask files.

    cells: of `object_classes` the image's own, where a table says of which class an object is. Raises ValueError /
    FileNotFoundError that names the file, what was found and what was expected.
    """
    truth = _read(competition, data, row, extent, cells)
    if competition.images.kind != "volumes":
        return truth
    files = [data / name for name in mask_files(competition, data, row) if (data / name).is_file()]
    return replace(truth, spacing=_spacing(files[0], competition.masks.array)) if files else truth


def _spacing(path: Path, array: str | None) -> tuple[float, float, float] | None:
    """(z, y, x) in mm, where the file's format has it."""
    reader = open_mask(path, reading=Reading(array=array))
    reader.close()
    return getattr(reader, "spacing", None)


def _read(competition: Competition, data: Path, row: Row, extent: Extent, cells: Mapping[str, str] | None) -> Truth:
    masks = competition.masks
    assert masks.path is not None
    if masks.instances and (masks.channels or cells is not None):
        if cells is None:
            objects = numbered_in_channels(competition, data, row, extent)
        else:
            objects = numbered_in_table(competition, data, row, extent, cells)
        void = objects.pop("void", None)
        return truth_of_objects(competition, objects, extent.size, valid=None if void is None else void == 0)
    if masks.instances:
        by_class = {name: masks.path.replace("{class}", name) for name in competition.classes}
        each = {name: numbered(competition, data, path, row, extent) for name, path in by_class.items()}
        found = {name: numbers for name, numbers in each.items() if numbers is not None}
        return truth_of_objects(competition, found, extent.size)
    patterns = [masks.path.replace("{observer}", name) for name in masks.observers] or [masks.path]
    seen = [read_planes(competition, data, pattern, row, extent, cells=cells) for pattern in patterns]
    valids = [valid for _, valid in seen if valid is not None]
    valid = np.logical_and.reduce(valids) if valids else None
    if len(seen) == 1:
        return completed(competition, seen[0][0], valid=valid)
    votes = np.stack([planes for planes, _ in seen]).sum(axis=0, dtype=np.uint8)
    needed = {"any": 1, "all": len(seen)}.get(masks.join, len(seen) // 2 + 1)
    truth = completed(competition, np.asarray(votes >= needed), valid=valid)
    if masks.join != "mean":
        return truth
    return replace(truth, soft=np.rint(votes * (SOFT_TOP / len(seen))).astype(np.uint8))
