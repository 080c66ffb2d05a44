"""What a submission's row speaks of: which image, which slice of it, which class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
