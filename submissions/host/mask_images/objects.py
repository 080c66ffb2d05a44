"""Mask files that number objects: by value, page, channel or file, of one class or of those that a table says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np

from submissions.host.competition import Competition
from submissions.host.mask_files import OBJECT, files_there
from submissions.host.mask_images.object_tables import class_of_object
from submissions.host.mask_images.pixels import (
    Extent,
    Row,
    at_size,
    checked_slices,
    read_channels,
    read_ids,
    read_pixels,
)
from submissions.images.opening import open_mask
from submissions.images.reading import Reading

EXACT = 1 << 24  # the largest number up to which float32 holds every whole one


def numbered(competition: Competition, data: Path, pattern: str, row: Row, extent: Extent) -> np.ndarray | None:
    """int32 (Z, H, W): the objects' numbers, of one file per object or the values of one file; None without a file."""
    masks = competition.masks
    files = files_there(competition, data, pattern, row)
    if not files:
        return None
    numbers = np.zeros(extent.size, np.int32)
    if OBJECT in masks.path_fields:
        for number, path in enumerate(files, start=1):
            numbers[read_pixels(competition, path, row, extent) > 0] = number
        return numbers
    for path in files:
        if extent.shape[0] == 1 and (stacked := _of_pages(competition, path, row, extent)) is not None:
            return stacked
        pixels = read_ids(competition, path, row, extent)
        if pixels.max(initial=0) > np.iinfo(np.int32).max:
            pixels = np.unique(pixels, return_inverse=True)[1].reshape(extent.size) + int(pixels.min() > 0)
        numbers = pixels.astype(np.int32)
    return numbers


def numbered_in_channels(competition: Competition, data: Path, row: Row, extent: Extent) -> dict[str, np.ndarray]:
    """int32 (Z, H, W) of each class: the objects' numbers in the channel of the last mask file that has some.

    Raises ValueError for numbers so large that pixels, read as float32, would make one object of several.
    """
    found: dict[str, np.ndarray] = {}
    for path in files_there(competition, data, str(competition.masks.path), row):
        for name, numbers in read_channels(competition, path, row, extent).items():
            if (most := numbers.max(initial=0)) > EXACT:
                raise ValueError(
                    f"{path}: numbers up to {most}, expected at most {EXACT} where each channel is a class: number the "
                    "objects anew"
                )
            found[name] = numbers.astype(np.int32)
    return found


def _of_pages(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray | None:
    """int32 (1, H, W) of a file with a page an object, of an image of one slice; None where it has one page."""
    if competition.images.kind in ("pages", "volumes") or competition.images.frame is not None:
        return None
    with closing(open_mask(path, reading=Reading(array=competition.masks.array))) as reader:
        pages = reader.shape[0]
        if pages == 1:
            return None
        checked_slices(competition, (1, *reader.shape[1:3]), path, row, extent)
        numbers = np.zeros((1, *reader.shape[1:3]), np.int32)
        for page in range(pages):
            numbers[0][reader.read(page)[..., 0] > 0] = page + 1
    return at_size(numbers, extent)


def listed_objects(
    competition: Competition, data: Path, pattern: str, row: Row, extent: Extent, *, cells: Mapping[str, str]
) -> Iterator[tuple[int, list[str], np.ndarray]]:
    """(number, classes or void, bool (Z, H, W) where it is) of each object of an image that a table lists.

    cells: of `object_classes`, the image's own. Raises ValueError for an object that the table does not list.
    """
    masks, numbers = competition.masks, count(1)
    for path in files_there(competition, data, pattern, row):
        if OBJECT in masks.path_fields:
            name = class_of_object(competition, path.name, cells, path)
            yield next(numbers), [name], read_pixels(competition, path, row, extent) > 0
            continue
        pixels = read_ids(competition, path, row, extent)
        for value in np.unique(pixels).tolist():
            known = (masks.numbers or {}).get(value, [] if value == 0 and "0" not in cells else None)
            names = [class_of_object(competition, str(value), cells, path)] if known is None else known
            yield next(numbers), [names] if isinstance(names, str) else names, pixels == value


def numbered_in_table(
    competition: Competition, data: Path, row: Row, extent: Extent, cells: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """int32 (Z, H, W) of each class, and of void: the numbers of the objects that a table lists, later ones on top."""
    found: dict[str, np.ndarray] = {}
    path = str(competition.masks.path)
    for number, names, inside in listed_objects(competition, data, path, row, extent, cells=cells):
        for name in names:
            found.setdefault(name, np.zeros(extent.size, np.int32))[inside] = number
    return found
