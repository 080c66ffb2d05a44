"""Does a table say of which class the objects in mask files are? COCO's panoptic documents, Open Images' tables."""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from submissions.guess.layout.files import near_files
from submissions.guess.layout.pairing import Layout
from submissions.guess.polygons import of_every_subset
from submissions.guess.tables import CLASS_COLUMN, MOST_CLASSES, TABLE, ReadTable
from submissions.host.competition import MOST_EXCLUSIVE
from submissions.host.mask_images.object_tables import CATEGORY, is_panoptic
from submissions.images.damaged import read_json

DOCUMENT = re.compile(r".*\.json", re.IGNORECASE)
LARGEST_LIST = 5_000_000  # bytes of a file that names classes
SHOWN = 12


@dataclass(frozen=True)
class ListedObjects:
    """What a table or document says of the objects in mask files, as settings of `masks`; files: where it says so."""

    settings: dict[str, Any]
    classes: list[str]
    exclusive: bool
    notes: list[str]
    files: list[str]


def listed_objects(folder: Path, layout: Layout, tables: Sequence[ReadTable]) -> ListedObjects | None:
    """The document or table that names the classes of the masks' objects; None where there is none."""
    if layout.masks is None or layout.masks.how not in ("one", "objects"):
        return None
    ids = dict(zip((path for path, _ in layout.train.files), layout.train.ids(layout.train.id_template), strict=True))
    owners = {PurePosixPath(file).name: ids[path] for path, files in layout.masks.pairs.items() for file in files}
    if layout.masks.how == "one":
        return _of_segments(folder, layout, owners)
    return _of_files(folder, layout, owners, tables)


def _of_segments(folder: Path, layout: Layout, owners: Mapping[str, str]) -> ListedObjects | None:
    """As a COCO panoptic document says; owners: the image of each mask file."""
    best: tuple[int, Path, Any, str, str] | None = None
    for path in near_files(folder, 2, DOCUMENT):
        document = _panoptic(path) if any(name.lower().endswith(".png") for name in owners) else None
        if document is None:
            continue
        images = {one.get("id"): one for one in document["images"]}
        pairs = [(images.get(one.get("image_id"), {}), owners.get(PurePosixPath(str(one.get("file_name"))).name))
                 for one in document["annotations"]]  # fmt: skip
        for key, strip in (("file_name", True), ("id", False)):
            ending = Path(str(next((image.get(key, "") for image, _ in pairs), ""))).suffix if strip else ""
            named = sum(str(image.get(key, "")).removesuffix(ending) == owner for image, owner in pairs if owner)
            if named and (best is None or named > best[0]):
                best = named, path, document, key, ending
    if best is None:
        return None
    _, path, document, key, ending = best
    file, _ = of_every_subset(folder, path.relative_to(folder).as_posix(), layout.train)
    table = {"file": _with_words(file, layout), "id": f"{{{key}}}", "strip": ending}
    table = {name: text for name, text in table.items() if text and text != "{id}"}
    names = list(dict.fromkeys(str(one["name"]) for one in document["categories"]))
    exclusive = len(names) <= MOST_EXCLUSIVE
    notes = [f"the ids of segments in red, green and blue, and their classes as {file} names them; 0 is void"]
    for word, wanted in (("things", True), ("stuff", False)):
        own = [str(one["name"]) for one in document["categories"] if bool(one.get("isthing", 1)) == wanted]
        notes += [f"{len(own)} classes of {word}: {_some(own)}"] if own else []
    notes.append("segments of a class become one mask; for objects add `instances: true` and leave out exclusive")
    settings = {"table": table, "class_column": CATEGORY, "values": {0: "void"}}
    return ListedObjects(settings, names, exclusive, notes, [file])


def _panoptic(path: Path) -> Any:
    """COCO's document of segments in a file; None of another."""
    if path.stat().st_size == 0:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b'"segments_info"') < 0:
            return None
    try:
        document = read_json(path)
    except ValueError:
        return None
    return document if is_panoptic(document) else None


def _with_words(file: str, layout: Layout) -> str:
    """The field {subset} with its words, as a file that is looked for has to have it."""
    place = layout.train.names.index("subset") if "subset" in layout.train.names else 0
    words = "|".join(sorted({fields[place] for _, fields in layout.train.files}))
    return file.replace("{subset}", f"{{subset:{words}}}", 1)


def _of_files(
    folder: Path, layout: Layout, owners: Mapping[str, str], tables: Sequence[ReadTable]
) -> ListedObjects | None:
    """As a table with a row a file says; owners: the image of each mask file."""
    best: tuple[int, str, pd.DataFrame, tuple[str, str, str]] | None = None
    for read in tables:
        columns = _columns(read.frame, owners)
        named = sum(PurePosixPath(cell).name in owners for cell in read.frame[columns[1]]) if columns else 0
        if columns and 2 * named > len(owners) and (best is None or named > best[0]):
            best = named, read.file, read.frame, columns
    if best is None:
        return None
    _, file, frame, (image, key, column) = best
    ours = frame[[PurePosixPath(cell).name in owners for cell in frame[key]]]
    labels = sorted(set(ours[column].str.strip()) - {""})
    known, source = _descriptions(folder, labels)
    table = {"file": file} | ({} if image == "id" else {"id": f"{{{image}}}"})
    settings: dict[str, Any] = {"table": table, "column": key, "class_column": column}
    notes = [
        f"a file an object, {len(owners)} for {len(layout.train.files)} images; its class as {file} says in {column}"
    ]
    if len(labels) == 1:
        settings["instances"] = True
    else:
        notes.append("objects of a class become one mask; where the host scores objects, add `instances: true`")
    if known:
        settings["column_classes"] = {column: known}
        notes.append(f"classes as {source} names them")
    return ListedObjects(settings, sorted(set(known.values())) if known else labels, False, notes, [file])


def _columns(frame: pd.DataFrame, owners: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The columns of the image, the file and the class, of a table that names some of these files; None of another."""
    names = [str(name) for name in frame.columns if re.fullmatch(r"\w+", str(name))]
    for key in names:
        mine = frame[[PurePosixPath(cell).name in owners for cell in frame[key]]]
        if mine.empty:
            continue
        wanted = [owners[PurePosixPath(cell).name] for cell in mine[key]]
        image = next((name for name in names if mine[name].tolist() == wanted), None)
        classes = [name for name in names if name not in (key, image) and CLASS_COLUMN.search(name)]
        fitting = [name for name in classes if 1 <= mine[name].nunique() <= min(MOST_CLASSES, len(mine))]
        if image is not None and fitting:
            return image, key, fitting[0]
    return None


def _descriptions(folder: Path, labels: Sequence[str]) -> tuple[dict[str, str], str]:
    """Names of labels that are codes, and the file of two columns that has them; none where there is no such file."""
    for path in near_files(folder, 2, TABLE):
        if path.suffix.lower() != ".csv" or path.stat().st_size > LARGEST_LIST:
            continue
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
        except (UnicodeDecodeError, csv.Error):
            continue
        named = {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}
        if all(named.get(label) for label in labels) and any(named[label] != label for label in labels):
            return {label: named[label] for label in labels}, path.relative_to(folder).as_posix()
    return {}, ""


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
