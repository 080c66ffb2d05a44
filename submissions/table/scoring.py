"""Masks against the truth under the host's metric: one row per unit, a score over all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from submissions.host.competition import Competition
from submissions.host.contract.answer_form import SubmissionFormat, placed
from submissions.host.contract.metric import MetricSettings
from submissions.host.masks import Truth
from submissions.host.sample import row_keys, submission_format
from submissions.host.truth import NamedPlace
from submissions.metrics import Metric, build_metric
from submissions.metrics.object_f1 import Outlines
from submissions.rle.codec import POLYGONS, read_outlines, thinned
from submissions.table.objects import ClassObjects, objects_by_class, places_of_parts
from submissions.table.rows import Place, Shape3
from submissions.table.submission_table import (
    NO_FIELDS,
    Row,
    cell_masks,
    decode_rows,
    read_confidences,
    read_objects,
)

USAGE = "Usage"


@dataclass(frozen=True)
class Segmentation:
    """What is said about one image: planes bool (K, Z, H, W), instances int32 (Z, H, W), confidences.

    levels: uint8 (K, Z, H, W), the classes' probabilities, by which objects of several classes are scored.
    objects: of several classes, as an answer lists them; None where they are the connected parts of planes.
    points: places as an answer lists them, in voxels from the first slice that is here; None where they are the
    centres of the parts of planes.
    outlines: the instances as an answer draws them, where it is of polygons.
    """

    planes: np.ndarray
    instances: np.ndarray | None = None
    scores: Sequence[float] | None = None
    levels: np.ndarray | None = None
    objects: Sequence[ClassObjects] | None = None
    points: Sequence[NamedPlace] | None = None
    outlines: Outlines | None = None


@dataclass(frozen=True)
class Scored:
    """One row per unit (column `unit`, then the metric's), and the score over all of them."""

    table: pd.DataFrame
    score: float


def host_metric(settings: MetricSettings) -> Metric:
    """The metric of arrays that a contract names: of a host's own file, which scores tables, its proxy."""
    name, params = settings.built_in
    return build_metric(name, **params)


def unit_row(metric: Metric, competition: Competition, said: Segmentation, truth: Truth) -> dict[str, float]:
    """The metric's row of one unit; the classes that the contract scores, void left out."""
    valid = truth.valid
    metric = metric.at(truth.spacing)
    if metric.needs == "instances":
        if said.instances is None or truth.instances is None:
            raise ValueError(f"{metric.name} needs instances, but the prediction or the truth has none")
        if metric.of_outlines and valid is None and said.outlines is not None and truth.outlines is not None:
            return metric.rows(said.outlines, truth.outlines)
        labels, wanted = _flat(said.instances), _flat(truth.instances)
        pred = labels if said.scores is None else (labels, np.asarray(said.scores))
        return metric.rows(pred, wanted, None if valid is None else _flat(valid))
    if metric.needs == "objects":
        there = [one.label for one in class_objects(competition, _true_segmentation(truth))]
        found = [(one.label, np.asarray(one.scores)) for one in class_objects(competition, said)]
        return metric.rows(found, there, None if valid is None else valid[0])
    if metric.needs == "points":
        if truth.points is None:
            raise ValueError(f"{metric.name} needs places, but the host's masks are not given as points")
        places = places_of_parts(competition, said.planes, said.levels) if said.points is None else said.points
        names = competition.foreground
        return metric.rows(_by_class(places, names), _by_class(truth.points, names), valid)
    chosen = competition.scored_classes
    pred, true = said.planes, truth.planes
    if chosen != list(range(len(true))):  # indexing copies, and these may be slides
        pred, true = pred[chosen], true[chosen]
    if metric.needs == "planes" and pred.shape[1] == 1:
        return metric.rows(pred[:, 0], true[:, 0], None if valid is None else valid[0])
    return metric.rows(pred, true, valid)


def _by_class(places: Sequence[NamedPlace], names: Sequence[str]) -> list[np.ndarray]:
    """float64 (n, 3) for each class."""
    return [np.array([place for own, place in places if own == name], float).reshape(-1, 3) for name in names]


def _true_segmentation(truth: Truth) -> Segmentation:
    """The truth as if it were an answer: with the objects that the host names, where it does."""
    listed = None
    if truth.objects is not None:
        listed = [ClassObjects(name, label[0], []) for name, label in truth.objects.items()]
    return Segmentation(truth.planes, truth.instances, objects=listed)


def class_objects(competition: Competition, said: Segmentation) -> list[ClassObjects]:
    """The objects of each scored class but the background: those listed, instances, or the parts of planes.

    Raises ValueError for a volume of several slices.
    """
    if said.planes.shape[1] > 1:
        raise ValueError(f"objects by class are of single images, not of {said.planes.shape[1]} slices")
    listed = {one.name: one for one in said.objects or ()}
    names = [competition.classes[index] for index in competition.scored_classes]
    if said.objects is not None:
        nothing = np.zeros(said.planes.shape[2:], np.int32)
        return [listed.get(name, ClassObjects(name, nothing, [])) for name in names if name != "background"]
    if said.instances is not None:
        count = len(np.unique(said.instances)) - int((said.instances == 0).any())
        return [ClassObjects(names[0], said.instances[0], list(said.scores or [1.0] * count))]
    levels = None if said.levels is None else said.levels[:, 0]
    return list(objects_by_class(competition, said.planes[:, 0], levels))


def check_metric(competition: Competition) -> Metric:
    """The contract's metric; ValueError where it asks for what the contract's masks do not tell."""
    metric = host_metric(competition.metric)
    if metric.needs == "instances" and not competition.one_kind_of_object:
        raise ValueError(
            f"metric {metric.name} compares objects of one class: set masks.instances, or name a metric of pixels"
        )
    if metric.needs == "points" and competition.masks.kind != "points":
        raise ValueError(f"metric {metric.name} compares places: give masks.kind 'points', or name a metric of pixels")
    if metric.needs == "objects" and (competition.images.kind == "volumes" or competition.metric.unit == "stack"):
        raise ValueError(f"metric {metric.name} is of objects in single images, not of volumes or stacks")
    return metric


def try_metric(metric: Metric, competition: Competition) -> None:
    """Raises ValueError where the metric cannot score a unit of this contract: tried on one that shows nothing."""
    masks, stacked, deep = competition.masks, competition.metric.unit == "stack", competition.images.kind == "volumes"
    planes = np.zeros((len(competition.classes), 2 if deep else 1, 4, 4), bool)
    nothing, single = np.zeros(planes.shape[1:], np.int32), competition.one_kind_of_object
    truth = Truth(
        planes, None, nothing if single else None, (1.0, 1.0, 1.0), points=[] if masks.kind == "points" else None,
        objects={} if masks.instances and not single else None,
    )  # fmt: skip
    part = Segmentation(planes, nothing if metric.needs == "instances" else None), truth
    try:
        unit_row(metric, competition, *(joined_stack([part, part]) if stacked else part))
    except ValueError as error:
        units = "stacks" if stacked else "volumes" if deep else "images"
        raise ValueError(f"{metric.name} cannot score the {units} of {competition.name}: {error}") from error


def _flat(volume: np.ndarray) -> np.ndarray:
    """(Z, H, W), or (H, W) where it is one slice."""
    return volume[0] if len(volume) == 1 else volume


def score_units(metric: Metric, competition: Competition, units: Iterable[tuple[str, Segmentation, Truth]]) -> Scored:
    """Score units, one in memory at a time."""
    rows = [{"unit": name, **unit_row(metric, competition, said, truth)} for name, said, truth in units]
    table = pd.DataFrame(rows)
    return Scored(table, metric.score(table) if rows else float("nan"))


def joined_stack(parts: Sequence[tuple[Segmentation, Truth]]) -> tuple[Segmentation, Truth]:
    """Slices of one stack, in order, as one volume; points are counted from the first of them."""
    valid = None
    if any(truth.valid is not None for _, truth in parts):
        every = [np.ones(truth.planes.shape[1:], bool) if truth.valid is None else truth.valid for _, truth in parts]
        valid = np.concatenate(every)
    (said, true), levels = parts[0], None
    if all(one.levels is not None for one, _ in parts):
        levels = np.concatenate([one.levels for one, _ in parts], axis=1)
    planes = np.concatenate([one.planes for one, _ in parts], axis=1)
    truth = Truth(
        np.concatenate([one.planes for _, one in parts], axis=1), valid, None, true.spacing, None, true.points
    )
    return Segmentation(planes, levels=levels, points=said.points), truth


def by_unit(
    competition: Competition, images: Iterable[tuple[str, str, Segmentation, Truth]]
) -> Iterator[tuple[str, Segmentation, Truth]]:
    """Units of scoring from (image id, stack, said, truth) in reading order: images, or whole stacks."""
    if competition.metric.unit == "image":
        for image_id, _, said, truth in images:
            yield image_id, said, truth
        return
    current = ""
    parts: list[tuple[Segmentation, Truth]] = []
    for _, stack, said, truth in images:
        if parts and stack != current:
            yield current, *joined_stack(parts)
            parts = []
        current = stack
        parts.append((said, truth))
    if parts:
        yield current, *joined_stack(parts)


def rows_by_image(
    frame: pd.DataFrame,
    form: SubmissionFormat,
    places: Mapping[tuple[str, ...], Place],
    *,
    others: Literal["error", "skip"] = "error",
) -> dict[str, list[tuple[int, Row]]]:
    """Rows of a table by the image they belong to, each with the slice it is of.

    A row of no image in `places` is a ValueError, or with others='skip' left out.
    """
    found: dict[str, list[tuple[int, Row]]] = {}
    for key, row in zip(row_keys(frame, form), frame.to_dict("records"), strict=True):
        if key in places:
            named = {str(name): str(value) for name, value in row.items()}
            found.setdefault(places[key].image_id, []).append((places[key].z, named))
        elif others == "error":
            raise ValueError(f"id {'/'.join(key)!r}: no test image with that id")
    return found


def decode_image(
    competition: Competition,
    rows: Sequence[tuple[int, Row]],
    shape: Shape3,
    *,
    step: int = 1,
    fields: Mapping[str, Any] = NO_FIELDS,
) -> Segmentation:
    """The masks of one image's rows (slice, row), (Z, H, W) being its size; a slice without rows is empty.

    step: every step-th row and column of each slice. fields: the image's row of the listing.
    """
    slices: list[list[Row]] = [[] for _ in range(shape[0])]
    for z, row in rows:
        slices[z].append(row)
    if submission_format(competition).lists_classes and shape[0] == 1:
        objects = list(read_objects(competition, slices[0], shape[1:], step=step, fields=fields))
        planes = np.zeros((len(competition.classes), *thinned(shape[1:], step)), bool)
        for one in objects:
            planes[competition.classes.index(one.name)] = one.label > 0
        return Segmentation(planes[:, None], objects=objects)
    parts = [decode_rows(competition, part, shape[1:], step=step, fields=fields) for part in slices]
    planes = np.stack([part for part, _ in parts], axis=1)
    labels = [label for _, label in parts if label is not None]
    if len(labels) != 1:
        return Segmentation(planes)
    scores = read_confidences(competition, slices[0], labels[0])
    dialect, form = placed(competition.dialect, fields), submission_format(competition)
    if dialect.kind not in POLYGONS or step > 1:
        return Segmentation(planes, labels[0][None], scores)
    texts = [text for row in slices[0] for text, _ in cell_masks(form, row[form.mask_column])]
    return Segmentation(planes, labels[0][None], scores, outlines=Outlines(read_outlines(texts, shape[1:], dialect)))
