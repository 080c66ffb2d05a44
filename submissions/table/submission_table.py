"""The submission table: encoding masks into rows, writing them in the sample's order, reading them back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.contract.answer_form import SubmissionFormat, placed
from submissions.host.patterns import FIELD_KIND, fill
from submissions.host.sample import columns, read_sample, row_keys, sample_keys, submission_format
from submissions.rle.codec import Dialect, decode, decode_instances, encode, encode_instances, thinned
from submissions.table.objects import ClassObjects, known_objects, objects_by_class

Row = dict[str, str]
NO_FIELDS: Mapping[str, Any] = {}
CONFIDENCE = re.compile(r"{score(:[^}]*)?}")


class Confidence(float):
    """A confidence in [0, 1] as templates write it: {score} with four decimals, {score:.2f} as it says."""

    def __format__(self, form: str) -> str:
        return super().__format__(form or ".4f")


def encode_rows(
    competition: Competition,
    fields: Mapping[str, Any],
    planes: np.ndarray,
    *,
    instances: np.ndarray | None = None,
    scores: Sequence[float] | None = None,
    levels: np.ndarray | None = None,
    objects: Mapping[str, np.ndarray] | None = None,
) -> list[Row]:
    """Rows of one image.

    Parameters
    ----------
    fields : what the templates may name; `image_id`, and for a volume `z` is added slice by slice
    planes : bool (K, H, W), or (K, Z, H, W) for a volume; for labels an image that shows nothing has the first class
    instances : int32 (H, W), needed where the host wants a row (or part) an instance
    scores : confidence of each instance, in label order
    levels : uint8 (K, H, W), the classes' probabilities, which score objects where a cell lists those of all classes
    objects : int32 (H, W) by class, the objects where they are known; by default they are the parts of `planes`
    """
    form = submission_format(competition)
    if planes.ndim == 4:
        return [
            row for z in range(planes.shape[1]) for row in encode_rows(competition, {**fields, "z": z}, planes[:, z])
        ]
    given = {**fields, "id": fields["image_id"], "height": planes.shape[1], "width": planes.shape[2]}
    dialect = placed(competition.dialect, given)
    if form.rows == "label":
        return [answer_row(form, given, competition.classes[int(planes.any(axis=(1, 2)).argmax())])]
    if form.rows == "image_class":
        return [
            answer_row(form, {**given, "class": name}, encode(planes[index], dialect))
            for index, name in enumerate(competition.classes)
            if index in competition.scored_classes
        ]
    if form.lists_classes:
        found = (
            objects_by_class(competition, planes, levels) if objects is None else known_objects(competition, objects)
        )
        return [answer_row(form, given, " ".join(_listed_objects(competition, dialect, found)))]
    if not form.wants_objects:
        index = competition.scored_classes[0]
        return [answer_row(form, given, encode(planes[index], dialect))]
    if instances is None:
        raise ValueError(
            f"{fields['image_id']}: the host wants instances, but the decision does not split masks; set "
            "tune.instances and run stage 06"
        )
    texts = encode_instances(instances, dialect)
    confidence = list(scores) if scores is not None else [1.0] * len(texts)
    cells = [
        fill(form.mask_template, {"mask": text, "score": Confidence(score)}, "submission.mask_template")
        for text, score in zip(texts, confidence, strict=True)
    ]
    if form.rows == "image":
        return [answer_row(form, given, " ".join(cells))]
    numbered = [{**given, "number": number, "score": Confidence(score)} for number, score in enumerate(confidence)]
    rows = [answer_row(form, one, cell) for one, cell in zip(numbered, cells, strict=True)]
    return rows or [answer_row(form, {**given, "number": -1, "score": 1}, _empty(competition))]


def _listed_objects(competition: Competition, dialect: Dialect, objects: Iterable[ClassObjects]) -> Iterator[str]:
    """The text of each object of each class."""
    form = submission_format(competition)
    for name, label, scores in objects:
        for text, score in zip(encode_instances(label, dialect), scores, strict=True):
            given = {"class": name, "mask": text, "score": Confidence(score)}
            yield fill(form.mask_template, given, "submission.mask_template")


def _empty(competition: Competition) -> str:
    return "" if competition.dialect.empty == "missing" else competition.dialect.empty


def answer_row(form: SubmissionFormat, given: Mapping[str, Any], cell: str) -> Row:
    """One row of the table: the id, class and extra cells filled from `given`, and the mask's cell."""
    row = {form.id_column: fill(form.id_template, given, "submission.id_template")}
    if form.class_column:
        row[form.class_column] = str(given["class"])
    for name, template in form.extra.items():
        row[name] = fill(template, {**given, "mask": cell}, f"submission.extra.{name}")
    row[form.mask_column] = cell
    return row


def write_submission(path: Path, competition: Competition, data: Path, rows: Sequence[Row]) -> pd.DataFrame:
    """Write the rows of all images in the order of the sample submission; returns the table.

    Where the sample says nothing of rows (`sample_keys`) the order is that of the sorted ids. A row the sample does not
    name, or a name without a row (unless the dialect leaves empty masks out), is a ValueError that lists them; nothing
    is written.
    """
    form = submission_format(competition)
    frame = pd.DataFrame(list(rows), columns=columns(form), dtype=object)
    sample = read_sample(competition, data)
    keys = row_keys(frame, form)
    if sample is not None:
        frame = frame[[name for name in sample.columns if name in frame]]
    wanted = sample_keys(sample, form, nothing=frame.empty)
    if wanted is not None:
        extra, lacking = sorted(set(keys) - set(wanted)), sorted(set(wanted) - set(keys))
        if extra or lacking:
            raise ValueError(
                f"{form.sample}: {len(lacking)} id(s) have no prediction {_some(lacking)}, {len(extra)} predicted "
                f"id(s) are not in it {_some(extra)}; check that the test images belong to this sample"
            )
    else:
        wanted = sorted(set(keys))
    place = {key: index for index, key in enumerate(wanted)}
    order = sorted(range(len(keys)), key=lambda index: place[keys[index]])
    frame = frame.iloc[order].reset_index(drop=True)
    if competition.dialect.empty == "missing" and form.rows != "image":
        frame = frame[frame[form.mask_column] != ""].reset_index(drop=True)
    write_atomic(path, frame.to_csv(index=False, lineterminator="\n"))
    return frame


def _some(keys: Sequence[tuple[str, ...]], shown: int = 5) -> str:
    names = ["/".join(key) for key in keys[:shown]]
    return f"({', '.join(names)}{', ...' if len(keys) > shown else ''})" if keys else ""


def decode_rows(
    competition: Competition,
    rows: Sequence[Row],
    shape: tuple[int, int],
    *,
    step: int = 1,
    fields: Mapping[str, Any] = NO_FIELDS,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Planes bool (K, H, W) and, where rows are instances, int32 (H, W), of one image's submission rows.

    step: every step-th row and column of the image, whose size is `shape`. fields: the image's row of the listing,
    which a dialect with a span needs.

    Raises ValueError that names the row.
    """
    form = submission_format(competition)
    dialect = placed(competition.dialect, fields)
    planes = np.zeros((len(competition.classes), *thinned(shape, step)), bool)
    if form.rows == "label":
        for cell in [row[form.mask_column] for row in rows]:
            planes[label_index(competition, cell)] = True
        return planes, None
    if form.lists_classes:
        for found in read_objects(competition, rows, shape, step=step, fields=fields):
            planes[competition.classes.index(found.name)] = found.label > 0
        return planes, None
    if form.wants_objects:
        texts = [text for row in rows for text, _ in cell_masks(form, row[form.mask_column])]
        names = [f"id {rows[0][form.id_column]}, mask {number}" for number in range(1, len(texts) + 1)]
        overlap: Literal["error", "last"] = "last" if form.overlap else "error"
        label = decode_instances(texts, shape, dialect, where=names, overlap=overlap, step=step)
        planes[competition.scored_classes[0]] = label > 0
        return planes, label
    for index, row in zip(competition.scored_classes, _by_class(competition, rows), strict=True):
        if row is not None:
            where = "/".join(row_keys(pd.DataFrame([row]), form)[0])
            planes[index] = decode(row[form.mask_column], shape, dialect, where=f"id {where}", step=step)
    return planes, None


def read_objects(
    competition: Competition,
    rows: Sequence[Row],
    shape: tuple[int, int],
    *,
    step: int = 1,
    fields: Mapping[str, Any] = NO_FIELDS,
) -> Iterator[ClassObjects]:
    """Objects of one image whose cell lists those of all classes, by class; of one class the later lies on top.

    Parameters and errors as of `decode_rows`.
    """
    form = submission_format(competition)
    dialect = placed(competition.dialect, fields)
    by_class: dict[str, list[tuple[str, float, str]]] = {}
    for listed in rows:
        for one in cell_objects(form, listed[form.mask_column]):
            name = competition.classes[label_index(competition, one.class_name)]
            by_class.setdefault(name, []).append((one.text, one.score, f"id {listed[form.id_column]}"))
    for name, objects in by_class.items():
        texts, scores, where = (list(part) for part in zip(*objects, strict=True))
        label = decode_instances(texts, shape, dialect, where=where, overlap="last", step=step)
        yield ClassObjects(name, label, [scores[value - 1] for value in np.unique(label).tolist() if value])


def label_index(competition: Competition, cell: str) -> int:
    """Index of the class that a cell names; ValueError for another text."""
    if cell not in competition.classes:
        raise ValueError(f"{cell!r} is not a class of {competition.name}; expected one of {competition.classes}")
    return competition.classes.index(cell)


def read_confidences(competition: Competition, rows: Sequence[Row], instances: np.ndarray) -> list[float] | None:
    """Confidence of each instance of `decode_rows`, by ascending label; None where rows have none.

    They stand in the mask's cell, or in an extra column of the row; ValueError where one is no number.
    """
    form = submission_format(competition)
    labels = [value for value in np.unique(instances).tolist() if value > 0]
    if "{score" in form.mask_template:
        scores = [score for row in rows for _, score in cell_masks(form, row[form.mask_column])]
        return [scores[value - 1] for value in labels]
    column = next((name for name, template in form.extra.items() if CONFIDENCE.fullmatch(template)), None)
    if form.rows != "instance" or column is None or all(row[column].strip() == "" for row in rows):
        return None
    return [_score(rows[value - 1][column]) for value in labels]


def _by_class(competition: Competition, rows: Sequence[Row]) -> list[Row | None]:
    form = submission_format(competition)
    if form.rows == "image":
        return [rows[0] if rows else None] + [None] * (len(competition.scored_classes) - 1)
    names = [competition.classes[index] for index in competition.scored_classes]
    if form.class_column:
        found = {row[form.class_column]: row for row in rows}
    else:
        named = [(_id_pattern(form.id_template, tuple(names)).fullmatch(row[form.id_column]), row) for row in rows]
        found = {match["class"]: row for match, row in named if match is not None}
    return [found.get(name) for name in names]


@lru_cache
def _id_pattern(template: str, classes: tuple[str, ...]) -> re.Pattern[str]:
    """An id that names its class; other fields may be any text."""
    longest_first = sorted(map(re.escape, classes), key=len, reverse=True)  # 'x11' may end with the class 1 too
    text, position = "", 0
    for field in FIELD_KIND.finditer(template):
        text += re.escape(template[position : field.start()])
        seen = "(?P<class>" in text
        text += ".*?" if field[1] != "class" else "(?P=class)" if seen else f"(?P<class>{'|'.join(longest_first)})"
        position = field.end()
    return re.compile(text + re.escape(template[position:]), re.DOTALL)


class CellObject(NamedTuple):
    """One mask of a cell: its text, its confidence (1 where the host wants none), its class ('' where none is said)."""

    text: str
    score: float
    class_name: str


def cell_masks(form: SubmissionFormat, cell: str) -> list[tuple[str, float]]:
    """`cell_objects` without their classes."""
    return [(one.text, one.score) for one in cell_objects(form, cell)]


def cell_objects(form: SubmissionFormat, cell: str) -> list[CellObject]:
    """Masks in a cell; a blank list has none.

    Raises ValueError where the cell does not fit `submission.mask_template`, or a confidence is no number.
    """
    template = form.mask_template
    listed = form.rows == "image"
    if template == "{mask}" or not form.wants_objects:
        return [CellObject(cell, 1.0, "")]
    pattern, text = _cell_pattern(template, listed), cell.strip()
    found: list[CellObject] = []
    position = 0
    while position < len(text) or not (listed or found):
        match = pattern.match(text, position)
        if match is None:
            raise ValueError(f"{text[position:][:60]!r} does not match the contract's mask_template {template!r}")
        groups = match.groupdict()
        found.append(CellObject(match["mask"], _score(groups.get("score", "1")), groups.get("class", "")))
        position = match.end()
    return found


@lru_cache
def _cell_pattern(template: str, listed: bool) -> re.Pattern[str]:
    """One mask of a cell. In a list the mask is one word; alone it may be several numbers."""
    parts = [re.escape(part) for part in re.split(r"(?:{mask}|{class}|{score}|{score:[^}]*})", template)]
    names = [name.split(":")[0] for name in re.findall(r"{(mask|class|score)(?::[^}]*)?}", template)]
    groups = {
        "mask": r"(?P<mask>\S+)" if listed else r"(?P<mask>.*?)",
        "score": r"(?P<score>\S+)",
        "class": r"(?P<class>\S+)",
    }
    body = "".join(part + groups[name] for part, name in zip(parts, [*names, ""], strict=True) if name)
    return re.compile(body + parts[-1] + (r"(?:\s+|$)" if listed else "$"), re.DOTALL)


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise ValueError(f"confidence {text!r}, expected a number")
    return score
