"""Mask files that say which pixels are of which class, by file, channel, value, colour or a table of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from submissions.host.competition import Competition
from submissions.host.contract.masks import Colour
from submissions.host.mask_files import files_there
from submissions.host.mask_images.objects import listed_objects
from submissions.host.mask_images.pixels import Extent, Row, colour_name, read_channels, read_codes, read_pixels
from submissions.host.patterns import FIELD

SOFT = 8  # unknown values that are more than a forgotten class or two
SHOWN = 8


def read_planes(
    competition: Competition, data: Path, pattern: str, row: Row, extent: Extent, *, cells: Mapping[str, str] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """bool (K, Z, H, W), and (Z, H, W) of what counts, of one observer."""
    classes, masks = competition.classes, competition.masks
    planes = np.zeros((len(classes), *extent.size), bool)
    if "class" in masks.path_fields:
        for index, name in enumerate(classes):
            for path in files_there(competition, data, pattern.replace("{class}", name), row):
                planes[index] |= _foreground(competition, path, row, extent)
        return planes, None
    valid = np.ones(extent.size, bool)
    if cells is not None:
        for _, names, inside in listed_objects(competition, data, pattern, row, extent, cells=cells):
            _put(competition, names, inside, planes, valid)
        return planes, valid if "void" in masks.class_names else None
    for path in files_there(competition, data, pattern, row):
        if masks.channels:
            for name, pixels in read_channels(competition, path, row, extent).items():
                if name == "void":
                    valid &= pixels == 0
                else:
                    planes[classes.index(name)] |= pixels != 0
        elif masks.values is None:
            planes[-1] |= _foreground(competition, path, row, extent)
        else:
            _put_values(competition, path, row, planes, valid, extent=extent)
    return planes, valid if "void" in masks.class_names else None


def _put(
    competition: Competition, names: Sequence[str], inside: np.ndarray, planes: np.ndarray, valid: np.ndarray
) -> None:
    """Sets the classes where an object is, of exclusive ones those alone; clears `valid` where it is void."""
    if competition.exclusive:
        planes[:, inside] = False
    for name in names:
        if name == "void":
            valid &= ~inside
        else:
            planes[competition.classes.index(name)] |= inside


def _foreground(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """bool (Z, H, W) of one class: what is not 0, or reaches the threshold of soft masks."""
    pixels, threshold = read_pixels(competition, path, row, extent), competition.masks.threshold
    if threshold is not None:
        return np.asarray(pixels >= threshold)
    inside, most = np.asarray(pixels != 0), pixels.max(initial=0)
    if (inside & (pixels != most)).any():
        count = len(np.unique(pixels))
        raise ValueError(
            f"{path}: {count} values up to {most}, but a mask of one class has two; for soft borders set "
            f"masks.threshold: {_half(int(most))} (1: all that is not 0), for classes by value masks.values, for "
            "objects masks.instances"
        )
    return inside


def _half(most: int) -> int:
    return (most + 1) // 2


def _put_values(
    competition: Competition, path: Path, row: Row, planes: np.ndarray, valid: np.ndarray, *, extent: Extent
) -> None:
    """Sets the classes that the values or colours of a file stand for, and clears `valid` where they are void."""
    colours = competition.masks.colours
    if colours is not None:
        pixels = read_codes(competition, path, row, extent)
        meaning = {_code(colour): names for colour, names in colours.items()}
    else:
        pixels = read_pixels(competition, path, row, extent)
        meaning = competition.masks.numbers or {}
    found = np.unique(pixels).tolist()
    unknown = [value for value in found if value not in meaning]
    if unknown:
        raise ValueError(_unknown_values(competition, path, unknown, found[-1]))
    for value in found:
        names = meaning[value]
        for name in [names] if isinstance(names, str) else names:
            name = _class_of_image(competition, name, row)
            if name == "void":
                valid &= pixels != value
            else:
                planes[competition.classes.index(name)] |= pixels == value


def _class_of_image(competition: Competition, name: str, row: Row) -> str:
    """The class itself, or for '{column}' the one that the image's cell of that column stands for."""
    for column in FIELD.findall(name):
        known, cell = competition.masks.column_classes[column], row.get(column)
        if cell not in known:
            found = f"{column} {cell!r}" if column in row else f"no column {column!r} in the contract's tables"
            raise ValueError(
                f"{row['image_id']}: {found}, expected one of {sorted(known)}; mend masks.column_classes or the table"
            )
        return known[cell]
    return name


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _unknown_values(competition: Competition, path: Path, unknown: list[int], most: int) -> str:
    masks = competition.masks
    more = ", ..." if len(unknown) > SHOWN else ""
    if masks.colours is not None:
        listed = ", ".join(colour_name(code) for code in unknown[:SHOWN])
        lossy = (
            "; JPEG changes colours: convert it again from the original"
            if path.suffix.lower() in (".jpg", ".jpeg")
            else ""
        )
        known = ", ".join(map(str, masks.values or {}))
        return f"{path}: found colours {listed}{more}, expected only {known}; correct masks.values{lossy}"
    listed, known = ", ".join(map(str, unknown[:SHOWN])), ", ".join(map(str, sorted(masks.numbers or {})))
    soft = ""
    if len(unknown) > SOFT and len(competition.classes) == 1:
        soft = f"; for soft borders set masks.threshold: {_half(most)} instead of masks.values"
    return f"{path}: found values [{listed}{more}], expected only [{known}]; correct masks.values{soft}"
