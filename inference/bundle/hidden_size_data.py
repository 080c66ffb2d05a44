"""A test set as large as the hidden one, made of copies of the images at hand under new names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from inference.submission import open_test_images
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.contract.tables import Table
from submissions.host.listed_images import ListedImages
from submissions.host.listing import LAYER_SEPARATOR, spread
from submissions.host.patterns import FIELD, FIELD_KIND, fields_of, fill, pattern_regex
from submissions.host.sample import read_sample, row_keys, submission_format
from submissions.host.text_tables import read_text_table
from submissions.images.opening import path_inside
from submissions.table.rows import answer_shape, row_places


class Change(NamedTuple):
    """What tells a copy from its original: a field of the pattern, its value before and after, the copy's id."""

    field: str
    before: str
    after: str
    image_id: str


def duplicate_images(
    competition: Competition, data: Path, folder: Path, *, number: int, sources: int
) -> dict[str, str]:
    """Lay out a test set of at least `number` images in `folder`, in turn copies of `sources` ones spread over `data`.

    The first round keeps its names; whole stacks are copied, so that every slice keeps its neighbours. Files are hard
    links where the disk allows it. Tables of the test images and the sample submission name the new ids. Returns the
    id in `data` of every new one. Raises ValueError where the contract's patterns give files no new name.
    """
    images = open_test_images(competition, data)
    stacks: dict[str, list[str]] = {}
    for image_id in images.ids:
        stacks.setdefault(str(images.row(image_id)["stack"]), []).append(image_id)
    chosen = _spread(list(stacks.values()), sources)
    of_path: dict[tuple[str, int], str] = {}
    named: list[tuple[str, Change | None]] = []
    turn = 0
    folder.mkdir(parents=True)
    while chosen and len(named) < number:
        for stack in chosen[: _needed(chosen, number - len(named))]:
            for image_id in stack:
                row = images.row(image_id)
                paths, change = _renamed(competition, row, turn)
                for old, new in zip(str(row["path"]).split(LAYER_SEPARATOR), paths, strict=True):
                    _link(path_inside(data, old), folder / new)
                of_path[LAYER_SEPARATOR.join(paths), int(row["page"])] = image_id
                named.append((image_id, change))
        turn += 1
    for table in competition.test_tables:
        _write_table(data, folder, table, named, set(images.ids))
    copies = open_test_images(competition, folder)
    origins = {one: of_path[str(copies.row(one)["path"]), int(copies.row(one)["page"])] for one in copies.ids}
    assert len(origins) == len(named), "the pattern finds what was filled into it"
    _write_sample(competition, data, folder, images, copies, origins)
    return origins


def _spread(stacks: Sequence[list[str]], sources: int) -> list[list[str]]:
    """Stacks spread evenly over all of them, as many as are needed for `sources` images."""
    for count in range(1, len(stacks) + 1):
        chosen = spread(stacks, count)
        if sum(map(len, chosen)) >= sources:
            return chosen[: _needed(chosen, sources)]
    return list(stacks)


def _needed(stacks: Sequence[list[str]], number: int) -> int:
    """How many of the stacks, from the first, hold `number` images."""
    held = 0
    for count, stack in enumerate(stacks, start=1):
        held += len(stack)
        if held >= number:
            return count
    return len(stacks)


def _renamed(competition: Competition, row: Mapping[str, Any], turn: int) -> tuple[list[str], Change | None]:
    """Paths of a copy's files, and what changes; of the first round as they are, and None."""
    pattern, paths = str(competition.images.test), str(row["path"]).split(LAYER_SEPARATOR)
    if not turn:
        return paths, None
    kinds = fields_of(pattern)
    identity = competition.images.test_id or competition.images.id
    templates = (competition.images.stack or "", identity)
    fixed = {"layer", *FIELD.findall(competition.images.z or "")}
    free = [name for one in templates for name in FIELD.findall(one) if name in kinds and name not in fixed]
    if not free:
        raise ValueError(
            f"{competition.name}: {pattern!r} has no field that differs from image to image, so images cannot be "
            "copied under new names; use --copies 0, the test images as they are"
        )
    before = after = ""
    found = []
    for path in paths:
        match = pattern_regex(pattern).match(path)
        assert match is not None, "the listing was made by this pattern"
        fields = match.groupdict()
        before = fields[free[0]]
        after = f"{before}{turn:06d}" if kinds[free[0]].endswith(":d}") else f"{before}x{turn}"
        fields[free[0]] = after
        found.append(_filled(pattern, fields))
    image_id = fill(identity, {**row, "id": row["image_id"], **fields, "page": row["page"]}, "images.id")
    return found, Change(free[0], before, after, image_id)


def _filled(pattern: str, fields: Mapping[str, str]) -> str:
    return FIELD_KIND.sub(lambda one: fields[one[1]], pattern)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # a page of a file that is there
        return
    if source.is_dir():  # an image that is a folder
        shutil.copytree(source, target)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _write_table(
    data: Path, folder: Path, table: Table, named: Sequence[tuple[str, Change | None]], test: set[str]
) -> None:
    """A table with a row for every copy; rows of no test image stay as they are."""
    taken_apart = {name for pattern in table.parts.values() for name in FIELD.findall(pattern)}
    several = FIELD.search(table.file) or taken_apart & set(FIELD.findall(table.id))
    if several or table.file.endswith((".json", ".gz", ".parquet")):
        raise ValueError(
            f"{table.file}: rows of COCO documents, gzip and Parquet files, of several files, and ids that are "
            "taken out of a cell cannot be copied; use --copies 0"
        )
    frame = read_text_table(path_inside(data, table.file), separator=table.separator, columns=table.columns)
    rows: dict[str, list[dict[str, str]]] = {}
    for record in frame.to_dict("records"):
        own = {str(name): str(value) for name, value in record.items()}
        rows.setdefault(fill(table.id, own, table.file).strip().removesuffix(table.strip), []).append(own)
    kept = [row for name, group in rows.items() if name not in test for row in group]
    for image_id, change in named:
        for row in rows.get(image_id, []):
            kept.append(row if change is None else {**row, **_changed(table, row, image_id, change)})
    written = pd.DataFrame(kept, columns=frame.columns)
    text = written.to_csv(index=False, sep=table.separator or ",", header=not table.columns)
    write_atomic(folder / table.file, text)


def _changed(table: Table, row: Mapping[str, str], image_id: str, change: Change) -> dict[str, str]:
    """The cells of a row that name the image, as they name its copy."""
    columns = FIELD.findall(table.id)
    if len(columns) == 1:
        return {columns[0]: row[columns[0]].replace(image_id, change.image_id, 1)}
    if change.field in columns:
        return {change.field: row[change.field].replace(change.before, change.after, 1)}
    return {name: row[name].replace(change.before, change.after) for name in columns}


def _write_sample(
    competition: Competition,
    data: Path,
    folder: Path,
    images: ListedImages,
    copies: ListedImages,
    origins: Mapping[str, str],
) -> None:
    """The sample submission with the rows of every copy instead of the original's, where the host gives one."""
    sample, form = read_sample(competition, data), submission_format(competition)
    if sample is None:
        return
    used = sorted(set(origins.values()))
    shapes = {image_id: answer_shape(images, image_id) for image_id in used}
    key_of = {place: key for key, place in row_places(competition, images, shapes).items()}
    rows = dict(zip(row_keys(sample, form), sample.to_dict("records"), strict=True))
    places = row_places(competition, copies, {copy: shapes[original] for copy, original in origins.items()})
    written = []
    for key, place in places.items():
        before = key_of[type(place)(origins[place.image_id], place.z, place.class_index)]
        if before in rows:
            written.append({**rows[before], form.id_column: key[0]})
    write_atomic(folder / form.sample, pd.DataFrame(written, columns=sample.columns).to_csv(index=False))
