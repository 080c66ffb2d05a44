"""How does a host give its masks: runs, images, polygons, or only classes? Guesses for a first contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from submissions.guess.draft import Draft
from submissions.guess.layout.files import FileGroup, unread_kinds, walk_files
from submissions.guess.layout.mask_files import Masks
from submissions.guess.layout.pairing import Layout
from submissions.guess.layout.photo_or_mask import are_masks
from submissions.guess.layout.words import DOCUMENTS, SUFFIXES
from submissions.guess.polygons import FoundPolygons
from submissions.guess.rle_dialect import UNKNOWN, Detection, detect_dialect
from submissions.guess.tables import FoundTable
from submissions.host.listing import spread
from submissions.images.opening import probe_image, read_image
from submissions.rle.text import KNOWN_EMPTIES

TEXTS_READ, IMAGES_READ = 300, 40
EMPTIES = ("", *KNOWN_EMPTIES)
MOST_CLASSES = 64
Read = TypeVar("Read")
NOWHERE = {"kind": "images", "path": "masks/{id}.png"}  # where no masks were found


def put_runs(draft: Draft, folder: Path, train: FileGroup, table: FoundTable, masks: Masks | None) -> None:
    """Masks from a table of runs, with the dialect found from the texts (and, for square images, from the pixels)."""
    assert table.runs is not None
    paths = dict(zip(train.ids(train.id_template), (path for path, _ in train.files), strict=True))
    cells = list(zip(table.ids, table.frame[table.runs].astype(str), strict=True))
    empty, why = _empty_spelling(table, set(paths))
    drawn = [(name, text) for name, text in cells if name in paths and " ".join(text.split()) not in EMPTIES]
    rows = spread(drawn, TEXTS_READ)
    if any("POLYGON" in text for _, text in rows):
        dialect, notes = (
            {"kind": "wkt"},
            ["WKT, taken for pixels; in other units dialect.span names columns with the size"],
        )
    else:
        dialect, notes = _detected({name: folder / paths[name] for name, _ in rows}, rows, empty)
        notes.append(f"empty: {why}")
    section: dict[str, Any] = {"kind": "rle", "table": table.source, "column": table.runs, "dialect": dialect}
    classes = ["thing"]
    if table.class_column:
        section["class_column"] = table.class_column
        classes = sorted(set(table.frame[table.class_column]) - {""})
        if len(set(zip(table.ids, table.frame[table.class_column], strict=True))) < len(table.ids):
            notes.append("rows of a class become one mask; where the host scores objects, add `instances: true`")
    elif table.repeats:
        section["instances"] = True
        notes.append("several rows of an image are its instances; without `instances` they are joined into one mask")
    if table.more_runs:
        notes.append(
            f"not used: the columns {table.more_runs} hold runs too; write them as rows with a column of the class"
        )
    if masks:
        notes.append(f"the same masks exist as images too: {masks.pattern}")
        if masks.pattern.rpartition("/")[0] == train.pattern.rpartition("/")[0]:
            section["path"] = masks.pattern  # so that they are not taken for images
    draft.put("masks", section, *notes)
    draft.put("classes", classes, "give the class its name")


def _detected(
    paths: Mapping[str, Path], rows: Sequence[tuple[str, str]], empty: str
) -> tuple[dict[str, Any], list[str]]:
    """The dialect of runs (image id, text), and why."""
    infos = {name: _tried(probe_image, paths[name]) for name in {name for name, _ in rows}}
    known = [(name, text, (info.height, info.width)) for name, text in rows if (info := infos[name]) is not None]
    images = None
    if all(height == width for *_, (height, width) in known):
        some = [(one, _tried(read_image, paths[one[0]])) for one in spread(known, IMAGES_READ)]
        read = [(one, image) for one, image in some if image is not None]
        known, images = [one for one, _ in read], [image for _, image in read]
    found = detect_dialect([text for _, text, _ in known], [shape for *_, shape in known], images=images)
    dialect, notes = _dialect(found, empty)
    return dialect, [*notes, *(reason for reason in found.reasons if not reason.startswith("empty"))]


def _tried(read: Callable[[Path], Read], path: Path) -> Read | None:
    """What is read of a file; None where it cannot be read, which stage 01 lists."""
    try:
        return read(path)
    except (ValueError, OSError):
        return None


def _empty_spelling(table: FoundTable, known: set[str]) -> tuple[str, str]:
    """How an empty mask is written in the table's runs, and the evidence for it."""
    cells = (" ".join(cell.split()) for cell in table.frame[table.runs])
    spelled = Counter(cell for cell in cells if cell in EMPTIES)
    if spelled:
        word, count = spelled.most_common(1)[0]
        return word, f"{count} of {len(table.ids)} cells are {word!r}"
    absent = len(known - set(table.ids))
    if absent:
        return "missing", f"{absent} of {len(known)} images have no row"
    return "", "every image has a row and none is empty; an empty cell is the usual way"


def _dialect(found: Detection, empty: str) -> tuple[dict[str, Any], list[str]]:
    """The dialect with the most usual value for each part that is not known, and notes on them."""
    usual = {"kind": "absolute", "order": "column", "base": 1}
    values = {part: getattr(found, part) for part in usual}
    notes = [
        f"dialect.{part}: "
        + (f"sure to {found.confidence[part]:.3f}" if value != UNKNOWN else "not known; this is the usual one")
        for part, value in values.items()
    ]
    values = {part: usual[part] if value == UNKNOWN else value for part, value in values.items()}
    if values["kind"] != "absolute":
        values.pop("base")
    if values["kind"].startswith("coco"):
        values.pop("order")
        return values, notes
    return {**values, "empty": empty}, notes


def put_other_masks(draft: Draft, folder: Path, polygons: FoundPolygons | None, tables: Sequence[FoundTable]) -> None:
    """Where there are neither runs nor mask images: polygons, a table of image classes, or nothing."""
    if polygons is not None:
        section: dict[str, Any] = {"kind": "polygons", "file": polygons.file}
        if polygons.meaning:
            section["polygon_classes"] = dict(polygons.meaning)
        if polygons.some_missing:
            section["missing"] = "empty"
        objects = "objects of a class become one mask; where the host scores objects, add `instances: true`"
        listed = "list names that are not classes in masks.polygon_classes"
        draft.put("masks", section, *polygons.notes, listed, objects)
        draft.put(
            "classes", polygons.classes, "as in the file; if classes exclude each other, one must be named background"
        )
        return
    for table in tables:
        column = table.label_column(MOST_CLASSES) if table.train > 0.5 and not table.is_sample else None
        if column is not None:
            why = "no masks were found, but this column has few values: classes of whole images?"
            draft.put("masks", {"kind": "none", "table": table.source, "column": column}, why)
            draft.put("classes", sorted(set(table.frame[column]) - {""}))
            draft.put("exclusive", True)
            return
    kinds = unread_kinds(folder)
    unread = [f"files of other kinds are not read: {kinds}; masks in them must be saved as PNG"] if kinds else []
    unread += [f"not used: {table.fault}" for table in tables if table.fault and not table.is_sample]
    if documents := _unread_documents(folder):
        unread.append(f"documents that name none of these images, or are of no kind that is read: {documents}")
    why = "no masks were found: no mask images with matching names, no table of runs, no document of polygons"
    draft.put("masks", dict(NOWHERE), why, *unread)
    draft.put("classes", ["thing"], "give the class its name")


def _unread_documents(folder: Path) -> str:
    """The first of the JSON and XML files, and how many there are; '' of none."""
    found = sorted(walk_files(folder, DOCUMENTS))
    found = [file for file in found if not file.endswith(".txt")]
    return f"{', '.join(found[:3])} ({len(found)} in all); COCO is read everywhere" if found else ""


def masks_in_tables(root: Path, layout: Layout, tables: Sequence[FoundTable]) -> tuple[Layout, FoundTable] | None:
    """The layout with the masks that a column of a table names, and the table; None where there is none.

    Its training images are then those of the table: masks may lie among them.
    """
    train = layout.train
    paths = dict(zip(train.ids(train.id_template), (path for path, _ in train.files), strict=True))
    for table in (one for one in tables if one.train > 0.5 and not one.is_sample and not one.repeats):
        folders = [str(PurePosixPath(table.file).parent), *(group.folder for group in (train, *layout.unused))]
        heads = ["", *(f"{folder}/" for folder in folders if folder not in ("", ".") and "{" not in folder)]
        for column, head in product(map(str, table.frame), dict.fromkeys(heads)):
            files = [f"{head}{cell}" for cell in table.frame[column]]
            pairs = {paths[name]: [file] for name, file in zip(table.ids, files, strict=True) if name in paths}
            if set(files) & set(pairs) or not _are_mask_files(root, files):
                continue
            masks = Masks(
                head + (table.parts.get(column) or f"{{{column}}}"),
                "one", pairs, notes=[f"named by the column {column} of {table.file}"],
            )  # fmt: skip
            images = replace(train, files=tuple(file for file in train.files if file[0] in pairs))
            unused = [group for group in layout.unused if not {path for path, _ in group.files} & set(files)]
            return replace(layout, train=images, masks=masks, unused=unused), table
    return None


def _are_mask_files(root: Path, files: Sequence[str]) -> bool:
    there = all(file.lower().endswith(SUFFIXES) and (root / file).is_file() for file in files)
    return there and are_masks(root, files) is not False
