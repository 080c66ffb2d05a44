"""Which images does the host give? One row per image, from the contract's path patterns and tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd

from submissions.host.competition import Competition
from submissions.host.contract.tables import Table
from submissions.host.mask_files import mask_files, scan_masks, unpaired_masks
from submissions.host.near_ids import difference
from submissions.host.patterns import FIELD, fill, pattern_regex, scan
from submissions.host.problems import Problem, require_folder
from submissions.host.ranks import names_ranks, put_ranks
from submissions.host.sample import read_sample, submission_format
from submissions.host.text_tables import read_text_table
from submissions.images.damaged import read_json
from submissions.images.formats.table import find_format
from submissions.images.opening import path_inside, probe_image

T = TypeVar("T")
Split = Literal["train", "test"]
LAYER_SEPARATOR = "|"
COLUMNS = ["image_id", "split", "path", "page", "stack", "z", "series"]


def read_table(data: Path, table: Table) -> pd.DataFrame:
    """A table of the host's as text, with the column `image_id` first; blank cells are ''.

    Of a COCO document it is the list of images. Rows that `only` does not name are left out.
    Raises FileNotFoundError or ValueError that names the file and the column it lacks.
    """
    frame = _read_files(data, table)
    for column, pattern in table.parts.items():
        frame = _taken_apart(frame, column, pattern, table.file)
    for column, wanted in table.only.items():
        if column not in frame:
            raise ValueError(f"{table.file}: `only` names the column {column!r}; the file has {list(frame.columns)}")
        frame = frame[frame[column].isin(wanted)].reset_index(drop=True)
    ids = [fill(table.id, row, table.file).strip() for row in table_rows(frame)]
    if table.strip:
        ids = [name.removesuffix(table.strip) for name in ids]
    frame = frame.rename(columns=table.rename).drop(columns="image_id", errors="ignore")
    frame.insert(0, "image_id", pd.Series(ids, dtype=object, index=frame.index))
    return frame


def _read_files(data: Path, table: Table) -> pd.DataFrame:
    """The table's file, or the files that fit its pattern one below the other, the pattern's fields as columns."""
    found = scan(data, table.file).files if FIELD.search(table.file) else [(table.file, {})]
    if not found or not path_inside(data, found[0][0]).is_file():
        raise FileNotFoundError(f"{table.file}: no such file under {data}; the contract lists it as a table")
    frames = []
    for name, fields in found:
        path = path_inside(data, name)
        if path.suffix == ".json":
            frame = _coco_images(path)
        else:
            frame = read_text_table(path, separator=table.separator, columns=table.columns)
        frames.append(frame.assign(**fields))
    return pd.concat(frames, ignore_index=True).fillna("") if len(frames) > 1 else frames[0]


def _taken_apart(frame: pd.DataFrame, column: str, pattern: str, file: str) -> pd.DataFrame:
    """The table with a column for each field of the pattern. ValueError for a cell that does not fit it."""
    if column not in frame:
        raise ValueError(f"{file}: no column {column!r}, which `parts` names; it has {list(frame.columns)}")
    regex = pattern_regex(pattern)
    found = [regex.fullmatch(str(cell).strip()) for cell in frame[column]]
    wrong = next((index for index, match in enumerate(found) if match is None), None)
    if wrong is not None:
        cell = frame[column].iloc[wrong]
        raise ValueError(f"{file}, row {wrong + 1}: {column} is {cell!r}, expected {pattern!r} (`parts` of the table)")
    fields = pd.DataFrame([match.groupdict() for match in found if match is not None], index=frame.index, dtype=object)
    return frame.assign(**{str(name): fields[name] for name in fields})


def _coco_images(path: Path) -> pd.DataFrame:
    """One row per image of a COCO document, as text; its number is `coco_id` too, because {id} is the image's name."""
    wanted = "expected COCO JSON with a list `images`"
    document = read_json(path, path.name, cure=wanted)
    try:
        images = [{str(name): str(value) for name, value in image.items()} for image in document["images"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name}: {error!r}; {wanted}") from error
    return pd.DataFrame([{**row, "coco_id": row["id"]} if "id" in row else row for row in images], dtype=str)


def list_images(competition: Competition, data: Path, split: Split) -> tuple[pd.DataFrame, list[Problem]]:
    """Every image of a split as a row, sorted by id, and what is wrong with the listing.

    Columns: image_id, split, path (relative; layers joined by '|'), page (-1: none), stack, z, series, then the
    pattern's fields and the columns of the contract's tables, as text; '' where there is none. No pixel is decoded.
    """
    require_data(competition, data)
    pattern = competition.images.train if split == "train" else competition.images.test
    if pattern is None:
        return pd.DataFrame(columns=COLUMNS), []
    identity = (competition.images.test_id if split == "test" else None) or competition.images.id
    rows, problems = _rows_of_files(competition, data, pattern, identity, split=split)
    rows = _without_masks(competition, data, rows)
    given = {str(row["image_id"]) for row in rows}
    if split == "train":
        rows = _labelled(competition, data, rows)
        if not rows:
            problems.append(
                Problem(pattern, "no file", "training images", "check --data, and images.train of the contract")
            )
    tables = competition.tables if split == "train" else competition.test_tables
    for table in tables:
        rows, found = _join(competition, data, table, rows, given)
        problems += found
    listed = [_placed(competition, row, split) for row in rows]
    listed.sort(key=lambda row: row["image_id"])
    problems += _repeated(listed)
    if split == "train":
        problems += slices_left_out(listed) if competition.masks.kind == "points" and competition.images.stack else []
        problems += _unknown_classes(competition, listed) if competition.masks.kind == "none" else []
        problems += unpaired_masks(competition, data, listed)
    return pd.DataFrame(listed, columns=None if listed else COLUMNS).fillna(""), problems


def require_data(competition: Competition, data: Path) -> Path:
    """The folder of the host's files; FileNotFoundError that says how to fetch them where there is none."""
    return require_folder(
        data, f"the files of {competition.name}", competition.download or "put the host's files into it"
    )


def formats_used(competition: Competition, data: Path) -> set[str]:
    """Names of the formats of the images, training and test: of each ending, that of the first sound file."""
    images = competition.images
    paths = [path for pattern in (images.train, images.test) if pattern for path, _ in scan(data, pattern).files]
    found: dict[str, str] = {}
    for path in paths:
        ending = "".join(Path(path).suffixes[-2:]).lower()
        if ending not in found and (name := _format_of(path_inside(data, path))):
            found[ending] = name
    return set(found.values())


def _format_of(path: Path) -> str | None:
    """Name of a file's format, None of a damaged one: stage 01 named it, and stage 07 may leave it empty."""
    try:
        return find_format(path).name
    except ValueError:
        return None


def _rows_of_files(
    competition: Competition, data: Path, pattern: str, identity: str, *, split: Split
) -> tuple[list[dict[str, Any]], list[Problem]]:
    images = competition.images
    rows: list[dict[str, Any]] = []
    layered: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    found = scan(data, pattern)
    problems = list(found.almost)
    for path, fields in found.files:
        if images.kind == "pages":
            try:
                pages = probe_image(path_inside(data, path), page=0, reading=images.reading).pages
            except (ValueError, OSError) as error:
                if split == "train":
                    problems.append(Problem(path, str(error), "a file of several pages", "replace the file"))
                    continue
                pages = _named_pages(competition, data, {**fields, "path": path}, identity)
            rows += [{**fields, "path": path, "page": page} for page in range(pages)]
        elif images.layered:
            others = {name: text for name, text in fields.items() if name != "layer"}
            row = layered.setdefault(tuple(others.items()), {**others, "path": "", "page": -1})
            row["path"] += (LAYER_SEPARATOR if row["path"] else "") + path
        else:
            rows.append({**fields, "path": path, "page": -1})
    rows += layered.values()
    if names_ranks(competition):
        put_ranks(rows)
    for row in rows:
        row["image_id"] = fill(identity, row, "images.id")
    return rows, problems


def _named_pages(competition: Competition, data: Path, file: dict[str, Any], identity: str) -> int:
    """Pages, from the first, of an unreadable file of test images that the sample names; 1 where there is no sample.

    Each is listed, and fails when it is opened, as a file of one image does.
    """
    sample = read_sample(competition, data) if competition.submission is not None else None
    if sample is None:
        return 1
    form = submission_format(competition)
    names = {"class": competition.classes[competition.scored_classes[0]]}
    cells = set(sample[form.id_column])
    for page in range(len(cells) + 1):
        row = {**file, "page": page}
        row["image_id"] = fill(identity, row, "images.id")
        fields = {**_placed(competition, row, "test"), **names, "id": row["image_id"]}
        if fill(form.id_template, fields, "submission.id_template") not in cells:
            break
    return page


def _without_masks(competition: Competition, data: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose file is not another one's mask: `a_mask.png` beside `a.png` fits the pattern `{id}.png` too.

    A file that holds image and mask as two arrays is its own.
    """
    if competition.masks.path is None:
        return rows
    paths = {row["path"] for row in rows}
    try:
        masks = {file for row in rows for file in mask_files(competition, data, row) if file != row["path"]} & paths
    except ValueError:  # the path names a table's column, which is joined later
        return rows
    return [row for row in rows if row["path"] not in masks]


def _labelled(competition: Competition, data: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with a mask file, where images without one are to be left out."""
    if competition.masks.missing != "skip":
        return rows
    return [row for row in rows if any((data / file).is_file() for file in mask_files(competition, data, row))]


def passed_over(competition: Competition, data: Path) -> list[str]:
    """Files that operating systems leave ('._x.png', 'Thumbs.db') among the images and masks; they are not read."""
    patterns = [pattern for pattern in (competition.images.train, competition.images.test) if pattern]
    found = [scan(data, pattern) for pattern in patterns] + scan_masks(competition, data)
    return sorted({name for scanned in found for name in scanned.system})


def _join(
    competition: Competition, data: Path, table: Table, rows: list[dict[str, Any]], given: Set[str]
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Rows with the table's columns, and rows of it about no image; `given`: ids of images, those left out too."""
    try:
        frame = read_table(data, table)
    except (ValueError, OSError) as error:
        return rows, [Problem(table.file, str(error), "a readable table", "check the download and the contract")]
    masks = competition.masks
    if masks.table is not None and masks.kind == "rle":
        frame = frame.drop(
            columns=[masks.column, *([masks.class_column] if masks.class_column else [])], errors="ignore"
        )
    attributes = {row["image_id"]: row for row in reversed(table_rows(frame))}
    known = {row["image_id"] for row in rows}
    hint = difference(set(attributes) - given, known - set(attributes))
    problems = [
        Problem(f"{table.file}: id {name!r}", "no image with that id", "a file that matches the contract's pattern",
                hint or "download the image or delete the row")
        for name in attributes
        if name not in given and not competition.images.only_listed and not table.both_splits
    ]  # fmt: skip
    joined = []
    for row in rows:
        extra = attributes.get(row["image_id"])
        if extra is None and competition.images.only_listed:
            continue
        if extra is None and not _may_be_missing(competition, table):
            problems.append(
                Problem(row["path"], f"id {row['image_id']!r} without a row", f"a row in {table.file}",
                        hint or "add the row or remove the image")
            )  # fmt: skip
        joined.append({**(extra or {}), **row})
    return joined, problems


def _may_be_missing(competition: Competition, table: Table) -> bool:
    masks = competition.masks
    same_file = masks.table is not None and masks.table.file == table.file
    return same_file and masks.kind == "rle" and masks.dialect.empty == "missing"


def _placed(competition: Competition, row: dict[str, Any], split: Split) -> dict[str, Any]:
    images = competition.images
    stack, z = row["image_id"], 0
    if images.stack is not None and images.z is not None:
        stack = fill(images.stack, row, "images.stack")
        text = fill(images.z, row, "images.z")
        try:
            z = int(text)
        except ValueError as error:
            raise ValueError(f"{row['path']}: images.z gives {text!r}, expected a whole number") from error
    series = fill(images.series, row, "images.series") if images.series else stack
    first = {"image_id": row["image_id"], "split": split, "path": row["path"], "page": row["page"]}
    placed = {**first, "stack": stack, "z": z, "series": series}
    return {**placed, **{name: value for name, value in row.items() if name not in placed}}


def _repeated(rows: list[dict[str, Any]]) -> list[Problem]:
    problems = []
    for before, after in itertools.pairwise(rows):
        if before["image_id"] == after["image_id"]:
            problems.append(
                Problem(after["path"], f"id {after['image_id']!r} twice (also {before['path']})",
                        "one file per id", "make images.id different for each file")
            )  # fmt: skip
    return problems


def slices_left_out(rows: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Stacks whose z skips numbers: points are found by their place in the stack, where every slice is there."""
    stacks: dict[str, set[int]] = {}
    for row in rows:
        stacks.setdefault(row["stack"], set()).add(row["z"])
    return [
        Problem(f"stack {stack}", f"{len(found)} slices from z {min(found)} to {max(found)}",
                "every slice in between, as points are places", "add the slices that lack")
        for stack, found in stacks.items()
        if len(found) <= max(found) - min(found)
    ]  # fmt: skip


def _unknown_classes(competition: Competition, rows: list[dict[str, Any]]) -> list[Problem]:
    """Images of a contract without masks whose class is missing or not one of the contract's."""
    column, classes = competition.masks.column, competition.classes
    return [
        Problem(row["path"], f"{column} {row.get(column)!r}", f"one of {classes}", "correct classes or masks.column")
        for row in rows
        if row.get(column) not in classes
    ]


def table_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows as dicts by the names of its columns."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, spread evenly over all of them, in order."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]
