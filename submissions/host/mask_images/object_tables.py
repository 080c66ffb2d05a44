"""A host's table of the objects in its mask files: of which class is a value, or a file?

Open Images lists a file an object (https://storage.googleapis.com/openimages/web/download_v7.html), COCO panoptic a
value a segment (https://cocodataset.org/#format-data), and void is the value 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from submissions.host.competition import Competition
from submissions.host.contract.tables import Table
from submissions.host.listing import read_table
from submissions.host.mask_files import OBJECT
from submissions.host.patterns import FIELD, scan
from submissions.host.text_tables import lacking_columns
from submissions.images.damaged import read_json
from submissions.images.opening import path_inside

CATEGORY = "category"  # the column of names in a panoptic document

Rows = Iterator[tuple[str, str, str]]  # image id, value or file, cell of the class


def object_classes(competition: Competition, data: Path) -> dict[str, dict[str, str]]:
    """The table's cells of classes by image id, and by value or by the file's name without its folders.

    Raises FileNotFoundError or ValueError that names the table and the column it lacks, or an object of two classes.
    """
    masks = competition.masks
    table = masks.table
    assert table is not None
    files = OBJECT in masks.path_fields
    found: dict[str, dict[str, str]] = {}
    rows = _segments(competition, data, table) if _is_document(table) else _rows(competition, data, table)
    for image_id, key, cell in rows:
        own = found.setdefault(image_id, {})
        key = PurePosixPath(key).name if files else key
        if own.setdefault(key, cell) != cell:
            raise ValueError(
                f"{table.file}: id {image_id}: {key!r} is {own[key]!r} in one row and {cell!r} in another, expected "
                "one class an object; correct the table, or masks.column"
            )
    return found


def class_of_object(competition: Competition, key: str, cells: Mapping[str, str], path: Path) -> str:
    """The class, or void, of a value or file `key` of the mask file `path`; ValueError where the table has none."""
    masks = competition.masks
    file = masks.table.file if masks.table else ""
    if key not in cells:
        raise ValueError(
            f"{path}: {file} has no row for {key!r} of this image, expected one with its class; give a value that "
            "is no object a meaning in masks.values ({0: void}), or correct the table"
        )
    cell = cells[key]
    known = masks.column_classes.get(masks.class_column or "")
    name = cell if known is None or cell == "void" else known.get(cell)
    if name is None or name not in (*competition.classes, "void"):
        expected = competition.classes if known is None else sorted(known)
        raise ValueError(
            f"{path}: {file} says {masks.class_column} {cell!r} of {key!r}, expected one of {expected}; add it to "
            "classes or masks.column_classes"
        )
    return name


def is_panoptic(document: Any) -> bool:
    """Whether a JSON document is COCO's of segments, with categories and images."""
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), list) for key in ("images", "annotations", "categories")
    ):
        return False
    return all(isinstance(one, dict) and "segments_info" in one for one in document["annotations"][:1])


def _is_document(table: Table) -> bool:
    return table.file.lower().endswith(".json")


def _rows(competition: Competition, data: Path, table: Table) -> Rows:
    masks = competition.masks
    frame = read_table(data, table)
    names = [masks.column, str(masks.class_column)]
    if any(name not in frame for name in names):
        raise ValueError(f"{table.file}: {lacking_columns([name for name in names if name not in frame], frame)}")
    yield from zip(frame["image_id"], frame[masks.column].str.strip(), frame[names[1]].str.strip(), strict=True)


def _segments(competition: Competition, data: Path, table: Table) -> Rows:
    """Of the segments of one panoptic document, or of those that fit a pattern, one below the other."""
    if competition.masks.class_column != CATEGORY:
        raise ValueError(
            f"{table.file}: masks.class_column is {competition.masks.class_column!r}, expected 'category', the names "
            "of a panoptic document's segments"
        )
    found = scan(data, table.file).files if FIELD.search(table.file) else [(table.file, {})]
    if not found:
        raise FileNotFoundError(f"{table.file}: no such file under {data}; the contract lists it as masks.table")
    for file, fields in found:
        identity = table.id
        for name, text in fields.items():
            identity = identity.replace(f"{{{name}}}", text)
        images = read_table(data, table.model_copy(update={"file": file, "id": identity}))
        ids = dict(zip(images["coco_id"], images["image_id"], strict=True)) if "coco_id" in images else {}
        document = read_json(path_inside(data, file), file)
        try:
            yield from _of_document(document, ids, crowds=not competition.masks.instances)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file}: {error!r}; expected COCO's panoptic JSON: images, annotations with segments_info, categories"
            ) from error


def _of_document(document: Any, ids: Mapping[str, str], *, crowds: bool) -> Rows:
    """Crowds, of which nobody says where one ends, are void where objects are told apart."""
    names = {one["id"]: str(one["name"]) for one in document["categories"]}
    for annotation in document["annotations"]:
        image_id = ids[str(annotation["image_id"])]
        for segment in annotation["segments_info"]:
            counts = crowds or not segment.get("iscrowd")
            yield image_id, str(segment["id"]), names[segment["category_id"]] if counts else "void"
