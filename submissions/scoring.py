"""Masks against the truth under the host's metric: a row a unit, a score over all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from submissions.competition import Competition, MetricSettings
from submissions.listing import ListedImages, list_images
from submissions.masks import Truth
from submissions.metrics import Metric, build_metric
from submissions.table import decode_rows, read_submission, row_keys, submission_format


@dataclass(frozen=True)
class Segmentation:
    """What is said about one image: planes bool (K, Z, H, W); instances int32 (Z, H, W) and their confidences."""

    planes: np.ndarray
    instances: np.ndarray | None = None
    scores: Sequence[float] | None = None


@dataclass(frozen=True)
class Scored:
    """A row a unit (column `unit`, then the metric's), and the score over all of them."""

    table: pd.DataFrame
    score: float


def host_metric(settings: MetricSettings) -> Metric:
    """The metric that a contract names."""
    return build_metric(settings.name, **settings.params)


def unit_row(metric: Metric, competition: Competition, said: Segmentation, truth: Truth) -> dict[str, float]:
    """The metric's row of one unit; the classes that the contract scores, void left out."""
    if metric.needs == "instances":
        if said.instances is None or truth.instances is None:
            raise ValueError(f"{metric.name} needs instances, and the prediction or the truth has none")
        pred = said.instances[0] if said.scores is None else (said.instances[0], np.asarray(said.scores))
        return metric.rows(pred, truth.instances[0], None if truth.valid is None else truth.valid[0])
    chosen = competition.scored_classes
    pred, true = said.planes[chosen], truth.planes[chosen]
    if metric.needs == "planes" and pred.shape[1] == 1:
        return metric.rows(pred[:, 0], true[:, 0], None if truth.valid is None else truth.valid[0])
    return metric.rows(pred, true, truth.valid)


def score_units(
    metric: Metric, competition: Competition, units: Iterable[tuple[str, Segmentation, Truth]]
) -> Scored:
    """Score units, one in memory at a time."""
    rows = [{"unit": name, **unit_row(metric, competition, said, truth)} for name, said, truth in units]
    table = pd.DataFrame(rows)
    return Scored(table, metric.score(table) if rows else float("nan"))


def joined_stack(parts: Sequence[tuple[Segmentation, Truth]]) -> tuple[Segmentation, Truth]:
    """Slices of one stack, in order, as one volume."""
    valid = None
    if any(truth.valid is not None for _, truth in parts):
        every = [np.ones(truth.planes.shape[1:], bool) if truth.valid is None else truth.valid for _, truth in parts]
        valid = np.concatenate(every)
    said = Segmentation(np.concatenate([said.planes for said, _ in parts], axis=1))
    return said, Truth(np.concatenate([truth.planes for _, truth in parts], axis=1), valid)


def by_unit(
    competition: Competition, images: Iterable[tuple[str, str, Segmentation, Truth]]
) -> Iterator[tuple[str, Segmentation, Truth]]:
    """Units of scoring from (image id, stack, said, truth) in reading order: images, or whole stacks."""
    if competition.metric.unit == "image":
        for image_id, _, said, truth in images:
            yield image_id, said, truth
        return
    current, parts = "", []
    for _, stack, said, truth in images:
        if parts and stack != current:
            yield current, *joined_stack(parts)
            parts = []
        current = stack
        parts.append((said, truth))
    if parts:
        yield current, *joined_stack(parts)


def score_submission(competition: Competition, submission: Path, solution: Path, data: Path) -> Scored:
    """The host's metric of a submission table against a solution table of the same form, over the test images.

    Sizes come from the test images under `data`. Raises ValueError where an id is missing or does not decode.
    """
    form = submission_format(competition)
    said, true = read_submission(submission, competition), read_submission(solution, competition)
    lacking = sorted(set(row_keys(true, form)) - set(row_keys(said, form)))
    if lacking and competition.dialect.empty != "missing":
        raise ValueError(f"{submission}: {len(lacking)} id(s) of the solution are missing, e.g. {lacking[:3]}")
    listing, _ = list_images(competition, data, "test")
    images = ListedImages(competition, data, listing)
    said_rows, true_rows = rows_by_image(competition, said, images), rows_by_image(competition, true, images)

    def decoded() -> Iterator[tuple[str, str, Segmentation, Truth]]:
        for image_id in images.in_reading_order(true_rows):
            depth, height, width, _ = images.open_alone(image_id).shape
            planes, instances = decode_rows(competition, said_rows.get(image_id, []), (height, width))
            true_planes, true_instances = decode_rows(competition, true_rows[image_id], (height, width))
            yield (
                image_id,
                str(images.row(image_id)["stack"]),
                Segmentation(planes[:, None], None if instances is None else instances[None]),
                Truth(true_planes[:, None], None, None if true_instances is None else true_instances[None]),
            )

    return score_units(host_metric(competition.metric), competition, by_unit(competition, decoded()))


def rows_by_image(
    competition: Competition, frame: pd.DataFrame, images: ListedImages
) -> dict[str, list[dict[str, str]]]:
    """Rows of a submission by the image they belong to."""
    form = submission_format(competition)
    owner: dict[str, str] = {}
    for image_id in images.ids:
        fields = {**images.row(image_id), "id": image_id}
        names = competition.classes if "{class}" in form.id_template else [""]
        for name in names:
            owner[form.id_template.format_map({**fields, "class": name, "z": fields["z"]})] = image_id
    found: dict[str, list[dict[str, str]]] = {}
    for row in frame.to_dict("records"):
        image_id = owner.get(str(row[form.id_column]))
        if image_id is None:
            raise ValueError(f"id {row[form.id_column]!r}: no test image of that id")
        found.setdefault(image_id, []).append({str(name): str(value) for name, value in row.items()})
    return found
