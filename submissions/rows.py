"""What a submission's row speaks of: which image, slice and class, and which masks stand in its cell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from submissions.competition import Competition, SubmissionFormat, fill
from submissions.listing import ListedImages
from submissions.table import submission_format

Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """An image, the slice of it (0 for a plain image), and a class's index; None where rows name no class."""

    image_id: str
    z: int
    class_index: int | None


def image_shape(images: ListedImages, image_id: str) -> Shape3:
    """(Z, H, W) of a listed image, from its header where the format allows it."""
    source = images.open_alone(image_id)
    depth, height, width, _ = source.shape
    source.close()
    return depth, height, width


def row_places(
    competition: Competition, images: ListedImages, shapes: Mapping[str, Shape3]
) -> dict[tuple[str, ...], Place]:
    """Place of every row that a submission may have, by the row's key (see `table.row_keys`).

    Raises ValueError where two places would share a key: the contract's id_template does not tell them apart.
    """
    form = submission_format(competition)
    found: dict[tuple[str, ...], Place] = {}
    for image_id, (depth, height, width) in shapes.items():
        fields = {**images.row(image_id), "id": image_id, "height": height, "width": width}
        for z in range(depth):
            slice_fields = {**fields, "z": z} if depth > 1 else fields
            for key, index in _keys(competition, form, slice_fields):
                if key in found:
                    raise ValueError(
                        f"submission.id_template {form.id_template!r} gives {'/'.join(key)!r} to {image_id} "
                        f"and to {found[key].image_id}; name the fields that tell them apart"
                    )
                found[key] = Place(image_id, z, index)
    return found


def _keys(
    competition: Competition, form: SubmissionFormat, fields: Mapping[str, object]
) -> Iterable[tuple[tuple[str, ...], int | None]]:
    what = "submission.id_template"
    if form.rows != "image_class":
        yield (fill(form.id_template, fields, what),), None
        return
    for index in competition.scored_classes:
        name = competition.classes[index]
        cell = fill(form.id_template, {**fields, "class": name}, what)
        yield ((cell, name) if form.class_column else (cell,)), index


def cell_masks(form: SubmissionFormat, cell: str) -> list[tuple[str, float]]:
    """Masks in a cell as (text, confidence), confidence 1 where the host wants none; a blank list has none.

    Raises ValueError where the cell does not fit `submission.mask_template`, or a confidence is no number.
    """
    template = form.mask_template
    listed = form.rows == "image"
    if template == "{mask}" or (listed and "{score}" not in template):
        return [(cell, 1.0)]
    pattern, text = _cell_pattern(template, listed), cell.strip()
    found: list[tuple[str, float]] = []
    position = 0
    while position < len(text) or not (listed or found):
        match = pattern.match(text, position)
        if match is None:
            raise ValueError(f"{text[position:][:60]!r} is not written as the contract's {template!r}")
        found.append((match["mask"], _score(match.groupdict().get("score", "1"))))
        position = match.end()
    return found


@lru_cache
def _cell_pattern(template: str, listed: bool) -> re.Pattern[str]:
    """One mask of a cell. In a list the mask is one word; alone it may be several numbers."""
    parts = [re.escape(part) for part in re.split(r"(?:{mask}|{score}|{score:[^}]*})", template)]
    names = [name.split(":")[0] for name in re.findall(r"{(mask|score)(?::[^}]*)?}", template)]
    groups = {"mask": r"(?P<mask>\S+)" if listed else r"(?P<mask>.*?)", "score": r"(?P<score>\S+)"}
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
