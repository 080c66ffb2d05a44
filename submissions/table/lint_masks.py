"""Every mask of a submission read as runs, none painted: which do not decode, their areas, which overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from submissions.host.competition import Competition
from submissions.host.contract.answer_form import placed
from submissions.host.patterns import FIELD, fill
from submissions.host.sample import submission_format
from submissions.rle.codec import PLACEHOLDER, find_overlap, read_runs
from submissions.rle.text import I64
from submissions.table.findings import Finding, rows_findings
from submissions.table.rows import Place, Shape3
from submissions.table.submission_table import cell_objects, label_index

UNKNOWN = -1
OF_OBJECTS = {"number", "score"}  # fields of a row that is an object, which only the mask's own cell tells
LOOSE = (1 << 31, 1 << 31)  # stands for the size of an image that is not at hand


@dataclass
class ReadMasks:
    """What was read of a table's rows.

    place: int64 (N,), index into `images` (image, slice) of each row, UNKNOWN where no image at hand has its
    id. class_index: int64 (N,). area: int64 (N,), pixels of a row's masks, UNKNOWN where they do not decode.
    """

    images: list[tuple[str, int]]
    place: np.ndarray
    class_index: np.ndarray
    area: np.ndarray
    findings: list[Finding] = field(default_factory=list)


def read_masks(
    competition: Competition,
    frame: pd.DataFrame,
    keys: list[tuple[str, ...]],
    *,
    places: Mapping[tuple[str, ...], Place],
    shapes: Mapping[str, Shape3],
    rows_by_id: Mapping[str, Mapping[str, Any]],
) -> ReadMasks:
    """Read every mask of the table, `keys` being those of its rows.

    A mask of an image that is not at hand is read as far as that goes without its size; COCO counts and polygons, which
    need it, are not.
    """
    form = submission_format(competition)
    if form.rows == "label":
        return _read_labels(competition, frame[form.mask_column].tolist(), keys)
    images: dict[tuple[str, int], int] = {}
    place = np.full(len(frame), UNKNOWN)
    class_index = np.full(len(frame), competition.scored_classes[0])
    area = np.full(len(frame), UNKNOWN, np.int64)
    faults: list[tuple[int, str]] = []
    kept: dict[int, list[tuple[int, I64]]] = {}
    sized, blind = competition.dialect.kind not in ("absolute", "relative"), 0
    for index, (key, cell) in enumerate(zip(keys, frame[form.mask_column].tolist(), strict=True)):
        found = places.get(key)
        if found is None:
            blind += 1
            if sized:
                continue
            size = LOOSE
        else:
            size = shapes[found.image_id][1:]
            place[index] = images.setdefault((found.image_id, found.z), len(images))
            if found.class_index is not None:
                class_index[index] = found.class_index
        try:
            listed = cell_objects(form, cell)
            own = {} if found is None else rows_by_id[found.image_id]
            dialect = competition.dialect if found is None else placed(competition.dialect, own)
            runs = [read_runs(one.text, size, dialect) for one in listed]
            for one in listed if form.lists_classes else []:
                label_index(competition, one.class_name)
        except ValueError as error:
            faults.append((index, f"id {'/'.join(key)}: {str(error).removeprefix('run-length text: ')}"))
            continue
        if form.lists_classes:  # the sizes of several classes in one cell are compared with nobody's
            place[index] = UNKNOWN
            continue
        area[index] = sum(int(part[:, 1].sum()) for part in runs)
        if not form.overlap and found is not None:
            kept.setdefault(int(place[index]), []).extend((index, part) for part in runs if len(part))
    findings = rows_findings("error", "masks that do not decode", faults)
    findings += rows_findings("error", "masks that overlap", _overlaps(kept, list(images), shapes, competition))
    if blind:
        cause = "are not read" if sized else "are read without knowing the size of the image"
        findings.append(Finding("warning", None, f"{blind} row(s) belong to no image in the data folder; they {cause}"))
    findings += _placeholders(frame[form.mask_column], competition)
    return ReadMasks(list(images), place, class_index, area, findings)


def _read_labels(competition: Competition, cells: list[str], keys: list[tuple[str, ...]]) -> ReadMasks:
    """Rows that name a class instead of a mask: none has a place or an area."""
    faults = []
    for index, (key, cell) in enumerate(zip(keys, cells, strict=True)):
        try:
            label_index(competition, cell)
        except ValueError as error:
            faults.append((index, f"id {'/'.join(key)}: {error}"))
    unknown = np.full(len(cells), UNKNOWN)
    findings = rows_findings("error", "labels that are not classes", faults)
    return ReadMasks([], unknown, np.zeros(len(cells), np.int64), unknown.astype(np.int64), findings)


def _overlaps(
    kept: Mapping[int, list[tuple[int, I64]]],
    images: list[tuple[str, int]],
    shapes: Mapping[str, Shape3],
    competition: Competition,
) -> Iterator[tuple[int, str]]:
    """The first overlap within each image, as the later row and the cause."""
    for number, parts in kept.items():
        shared = find_overlap([runs for _, runs in parts]) if len(parts) > 1 else None
        if shared is None:
            continue
        first, second, pixel = shared
        image_id, _ = images[number]
        height, width = shapes[image_id][1:]
        row, col = (pixel % height, pixel // height) if competition.dialect.order == "column" else divmod(pixel, width)
        other = parts[first][0] + 1
        yield (
            parts[second][0],
            (
                f"id {image_id}: pixel (row {row}, col {col}) is also in row {other}, and the host forbids "
                "overlap (submission.overlap: false)"
            ),
        )


def _placeholders(cells: pd.Series, competition: Competition) -> list[Finding]:
    """Masks that are the sample's '1 1' in most rows: the sample itself was handed in."""
    if competition.dialect.kind != "absolute" or len(cells) == 0:
        return []
    count = int((cells.str.strip() == PLACEHOLDER).sum())
    if 2 * count <= len(cells):
        return []
    cause = f"{count} of {len(cells)} masks are {PLACEHOLDER!r}, as in sample submissions: is this the sample?"
    return [Finding("warning", None, cause)]


def extra_column_findings(
    competition: Competition,
    frame: pd.DataFrame,
    keys: list[tuple[str, ...]],
    *,
    rows_by_id: Mapping[str, Mapping[str, object]],
    places: Mapping[tuple[str, ...], Place],
    shapes: Mapping[str, Shape3],
) -> list[Finding]:
    """Cells of the contract's extra columns that are not what its templates give, e.g. height and width."""
    form = submission_format(competition)

    def faults(name: str, template: str) -> Iterator[tuple[int, str]]:
        cells = zip(keys, frame[name].tolist(), frame[form.mask_column].tolist(), strict=True)
        for index, (key, cell, mask) in enumerate(cells):
            found = places.get(key)
            if found is None:
                continue
            _, height, width = shapes[found.image_id]
            given = {**rows_by_id[found.image_id], "id": found.image_id, "height": height, "width": width}
            given |= {"mask": mask} | ({"z": found.z} if shapes[found.image_id][0] > 1 else {})
            if found.class_index is not None:
                given["class"] = competition.classes[found.class_index]
            expected = fill(template, given, f"submission.extra.{name}")
            if cell.strip() != expected:
                yield index, f"id {'/'.join(key)}: column {name} is {cell!r}, expected {expected!r}"

    findings = []
    for name, template in form.extra.items():
        if OF_OBJECTS.intersection(FIELD.findall(template)):
            continue
        findings += rows_findings("error", f"wrong cells in column {name}", faults(name, template))
    return findings
