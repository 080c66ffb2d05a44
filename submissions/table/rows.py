"""Which image, slice and class a submission's row is about, and how large the image is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from submissions.host.competition import Competition
from submissions.host.contract.answer_form import SubmissionFormat
from submissions.host.listed_images import ListedImages
from submissions.host.patterns import fill
from submissions.host.sample import read_sample, row_keys, submission_format
from submissions.table.submission_table import Row, encode_rows

Shape3 = tuple[int, int, int]
SampleRows = Mapping[tuple[str, ...], Mapping[str, str]]
BESIDE = 8  # images on either side that are asked for their size where an image cannot tell its own


@dataclass(frozen=True)
class Place:
    """An image, the slice of it (0 for a plain image), and a class's index; None where rows name no class."""

    image_id: str
    z: int
    class_index: int | None


def answer_shape(images: ListedImages, image_id: str) -> Shape3:
    """(Z, H, W) that the host wants of a listed image: its own, from its header where that says it, or submission.size.

    Raises ValueError or OSError where the file cannot be read.
    """
    depth, height, width, _ = images.shape_of(image_id)
    return depth, *(_wanted_size(images.competition) or (height, width))


def _wanted_size(competition: Competition) -> tuple[int, int] | None:
    return competition.submission.size if competition.submission else None


def assumed_shape(images: ListedImages, image_id: str, sample: SampleRows) -> Shape3:
    """`answer_shape`; of an image whose header cannot be read, what the host says elsewhere.

    Height and width are those that the listing's table or the sample names, else those of images beside it in the
    listing; the depth of a volume is the number of slices that the sample names, else that of those images. 1 where
    nothing is known.
    """
    try:
        return answer_shape(images, image_id)
    except (ValueError, OSError):
        said = _named_sizes(images, image_id, sample)
    size = _wanted_size(images.competition)
    said |= {} if size is None else {"height": size[0], "width": size[1]}
    beside = (1, 1, 1) if len(said) == 3 else _shape_beside(images, image_id)
    return said.get("depth", beside[0]), said.get("height", beside[1]), said.get("width", beside[2])


def _named_sizes(images: ListedImages, image_id: str, sample: SampleRows) -> dict[str, int]:
    """Those of depth, height and width that the listing and the sample name."""
    competition, row = images.competition, images.row(image_id)
    form = submission_format(competition)
    fields = {**row, "id": image_id}
    said: dict[str, str] = {name: str(row[name]) for name in ("height", "width") if name in row}
    if competition.images.kind != "volumes":
        said["depth"], named = "1", _sampled(competition, form, fields, sample)
    else:
        slices = (_sampled(competition, form, {**fields, "z": z}, sample) for z in range(len(sample)))
        found = list(itertools.takewhile(len, slices))
        said["depth"], named = str(len(found)), [one for rows in found for one in rows]
    for column, template in form.extra.items():
        if named and template in ("{height}", "{width}"):
            said[template.strip("{}")] = named[0][column].strip()
    return {name: int(text) for name, text in said.items() if text.isdecimal() and int(text) > 0}


def _sampled(
    competition: Competition, form: SubmissionFormat, fields: Mapping[str, object], sample: SampleRows
) -> list[Mapping[str, str]]:
    """The sample's rows of an image or slice."""
    return [sample[key] for key, _ in _keys(competition, form, fields) if key in sample]


def _shape_beside(images: ListedImages, image_id: str) -> Shape3:
    """Size of the nearest image in the listing's order, in which stacks stay together; (1, 1, 1) where none is read."""
    ids = images.ids
    place = ids.index(image_id)
    near = range(max(0, place - BESIDE), min(len(ids), place + BESIDE + 1))
    for index in sorted(near, key=lambda index: abs(index - place)):
        try:
            return answer_shape(images, ids[index])
        except (ValueError, OSError):
            continue
    return 1, 1, 1


def sample_rows(competition: Competition, data: Path) -> SampleRows:
    """Rows of the sample submission by their keys, of each the first; none where there is no sample."""
    sample = read_sample(competition, data)
    if sample is None:
        return {}
    keys = row_keys(sample, submission_format(competition))
    found: dict[tuple[str, ...], Mapping[str, str]] = {}
    for key, row in zip(keys, sample.to_dict("records"), strict=True):
        found.setdefault(key, {str(name): str(text) for name, text in row.items()})
    return found


def empty_rows(images: ListedImages, image_ids: Sequence[str], sample: SampleRows) -> list[Row]:
    """Rows of images that could not be predicted: masks without a pixel, of the images' size (see `assumed_shape`).

    No mask is held in memory, however large the image.
    """
    competition = images.competition
    rows: list[Row] = []
    for image_id in image_ids:
        depth, height, width = assumed_shape(images, image_id, sample)
        slices = (depth,) if competition.images.kind == "volumes" else ()
        planes = np.broadcast_to(np.False_, (len(competition.classes), *slices, height, width))
        instances = np.broadcast_to(np.int32(0), (height, width))
        rows += encode_rows(competition, images.row(image_id), planes, instances=instances, scores=[])
    return rows


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
                if key in found and found[key].image_id == image_id:
                    raise ValueError(
                        f"{image_id} has {depth} slices, and submission.id_template {form.id_template!r} no {{z}}: "
                        "images.frame chooses one of them, images.kind: pages makes each an image"
                    )
                if key in found:
                    raise ValueError(
                        f"submission.id_template {form.id_template!r} gives the id {'/'.join(key)!r} to both "
                        f"{image_id} and {found[key].image_id}; add fields that differ"
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
