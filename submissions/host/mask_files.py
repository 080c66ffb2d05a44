"""Which mask files belong to an image: one, or one per class, observer or object; and which belong to no image."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from submissions.host.competition import Competition
from submissions.host.patterns import FIELD, FIELD_KIND, Found, fields_of, fill, is_system_name, pattern_regex, scan
from submissions.host.problems import Problem
from submissions.images.opening import path_inside, resolve_inside

OBJECT = "object"
OF_THE_CONTRACT = {"id", "image_id", "page", "class", "observer", OBJECT, "rank", "rank1"}


def open_path(competition: Competition, data: Path, pattern: str, file: str) -> Path:
    """Path of the file that a filled pattern of the contract names.

    A pattern filled from the images' own names may follow links in the user's folders; filled from a table's columns it
    must stay inside the data folder, links included (ValueError).
    """
    images = competition.images
    own = OF_THE_CONTRACT.union(*(FIELD.findall(one) for one in (images.train, images.test) if one))
    return (path_inside if set(FIELD.findall(pattern)) <= own else resolve_inside)(data, file)


def filled(pattern: str, row: Mapping[str, Any], what: str = "masks.path", **more: str) -> str:
    """A mask's pattern filled from the fields of an image."""
    return fill(pattern, {**row, "id": row["image_id"], **more}, what)


def object_files(data: Path, pattern: str, row: Mapping[str, Any], **more: str) -> list[str]:
    """Mask files of the objects of one image, in the order of their names; hidden files are left out."""
    free = FIELD_KIND.sub(lambda match: _escaped(match.group()) if match[1] == OBJECT else match.group(), pattern)
    own = filled(free, row, **more)
    folder, _, name = own.rpartition("/")
    place = data / folder
    names = _names(place, place.stat().st_mtime_ns) if place.is_dir() else []
    start = bisect.bisect_left(names, name.split("{", 1)[0])
    regex, found = pattern_regex(name), []
    for one in names[start:]:
        if not one.startswith(name.split("{", 1)[0]):
            break
        if regex.match(one):
            found.append(f"{folder}/{one}" if folder else one)
    return found


def files_there(competition: Competition, data: Path, pattern: str, row: Mapping[str, Any]) -> list[Path]:
    """Mask files of an image by a pattern without {class} and {observer}; none where they may be missing."""
    masks = competition.masks
    assert masks.path is not None
    if f"{{{OBJECT}}}" not in pattern and OBJECT not in masks.path_fields:
        names = [filled(pattern, row)]
    else:
        names = object_files(data, pattern, row)
    paths = [open_path(competition, data, masks.path, name) for name in names]
    if masks.missing == "empty":
        return [path for path in paths if path.is_file()]
    if not paths:
        raise FileNotFoundError(
            f"{filled(pattern, row, object='*')}: no file; expected at least one object, or set masks.missing: empty"
        )
    return paths


def _escaped(field: str) -> str:
    """A field that filling leaves as it is."""
    return "{" + field + "}"


@lru_cache(maxsize=64)
def _names(folder: Path, changed: int) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if not is_system_name(one.name))


def mask_files(competition: Competition, data: Path, row: Mapping[str, Any]) -> list[str]:
    """All mask files that the contract gives to an image, there or not; of objects those that are there."""
    pattern = competition.masks.path
    assert pattern is not None
    files = []
    for variant in variants(competition, pattern):
        files += object_files(data, variant, row) if OBJECT in FIELD.findall(pattern) else [filled(variant, row)]
    return files


def variants(competition: Competition, pattern: str) -> list[str]:
    """The pattern for each class and each observer that it names."""
    found = [pattern]
    for field, names in (("class", competition.classes), ("observer", competition.masks.observers)):
        if field in FIELD.findall(pattern):
            found = [one.replace(f"{{{field}}}", name) for one in found for name in names]
    return found


def mask_patterns(competition: Competition) -> list[str]:
    """Patterns of all files that masks are read from: any text for what a table may give, an id in its fields."""
    masks = competition.masks
    fielded = masks.file if masks.file and FIELD.findall(masks.file) else None
    given = [*variants(competition, masks.path or ""), masks.valid, fielded]
    return [_loose(competition, pattern) for pattern in given if pattern]


def scan_masks(competition: Competition, data: Path) -> list[Found]:
    """Everything that fits the patterns of the masks."""
    return [scan(data, pattern) for pattern in mask_patterns(competition)]


def _loose(competition: Competition, pattern: str) -> str:
    images = competition.images
    own = fields_of(images.train)
    whole = FIELD_KIND.sub(lambda match: images.id if match[1] == "id" and "id" not in own else match.group(), pattern)
    return FIELD_KIND.sub(lambda match: own.get(match[1], f"{{{match[1]}:*}}"), whole)


def unpaired_masks(competition: Competition, data: Path, rows: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """A problem a mask file of no image, and a file that almost fits; of the training images in `rows`."""
    path = competition.masks.path
    if path is None or competition.masks.kind != "images" or competition.images.only_listed:
        return []
    found = [scan(data, _loose(competition, one)) for one in variants(competition, path)]
    problems = [problem for scanned in found for problem in scanned.almost]
    if competition.masks.surplus:
        return problems
    try:
        used = {file for row in rows for file in mask_files(competition, data, row)}
    except ValueError:  # a column that is not there: reading the masks says which
        return problems
    own = {str(path) for row in rows for path in str(row["path"]).split("|")}
    return problems + [
        Problem(file, "a mask without its image", f"an image as {competition.images.train} says",
                "add the image, remove the mask, or set masks.surplus: true")
        for file in sorted({file for scanned in found for file, _ in scanned.files} - used - own)
    ]  # fmt: skip
