"""Tables for a host's own metric: the solution as the host would hold it, and the file opened on both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from submissions.host.answer_size import truth_at_answer
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader, Truth
from submissions.host.patterns import fill
from submissions.host.sample import read_sample, row_keys, submission_format
from submissions.host_metric.host_file import HostFile, HostMetricError
from submissions.table.rows import answer_shape, row_places
from submissions.table.submission_table import Row, encode_rows

TRIED = 4  # training images whose truth is scored against itself
TRIAL_SECONDS = 60.0


def open_host_metric(
    competition: Competition,
    solution: pd.DataFrame,
    submission: pd.DataFrame,
    *,
    known: dict[str, float] | None = None,
    seconds: float | None = None,
) -> HostFile:
    """The contract's metric.file over two tables of text; ValueError where the contract has none."""
    metric = competition.metric
    if metric.file is None:
        raise ValueError(f"{competition.name}: metric {metric.name!r} is built in; there is no file of the host's")
    return HostFile(
        Path(metric.file), solution, submission, row_id=submission_format(competition).id_column,
        params=metric.params, seconds=metric.seconds if seconds is None else seconds, known=known,
    )  # fmt: skip


def solution_rows(
    competition: Competition, fields: Mapping[str, Any], truth: Truth, *, volume: bool | None = None
) -> list[Row]:
    """Rows of the truth of one image: the submission's columns, and those of metric.solution.

    volume: whether it has one row per slice (by default: where it has several). Such a table cannot say that pixels are
    not scored: they count as the truth has them.
    """
    form = submission_format(competition)
    extra = form.model_copy(update={"extra": {**form.extra, **competition.metric.solution}})
    deep = truth.planes.shape[1] > 1 if volume is None else volume
    planes = truth.planes if deep else truth.planes[:, 0]
    instances = None if truth.instances is None or deep else truth.instances.reshape(planes.shape[1:])
    flat = None if truth.objects is None or deep else {name: one[0] for name, one in truth.objects.items()}
    answered = competition.model_copy(update={"submission": extra})
    return encode_rows(answered, fields, planes, instances=instances, objects=flat)


def try_host_metric(competition: Competition, data: Path) -> str:
    """Why the host's file can score nothing, '' where it can: tried on the sample submission against itself, and where
    that has no score on the truth of a few training images, which a metric must like."""
    said = ""
    for name, make in (("the sample submission", _sample_tables), ("training masks", _training_tables)):
        tables = make(competition, data)
        if tables is None:
            continue
        limit = min(competition.metric.seconds, TRIAL_SECONDS)
        with open_host_metric(competition, *tables, seconds=limit) as host:
            try:
                host.score()
                return ""
            except HostMetricError as error:
                said = said or f"metric.file, tried on {name}: {error}"
    return said


def _sample_tables(competition: Competition, data: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The sample as solution, with the columns of metric.solution, and as submission; None without one, or images."""
    sample = read_sample(competition, data)
    listing, _ = list_images(competition, data, "test")
    if sample is None or not len(sample) or not len(listing):
        return None
    images = ListedImages(competition, data, listing)
    shapes = {image_id: answer_shape(images, image_id) for image_id in images.ids}
    places = row_places(competition, images, shapes)
    solution = sample.copy()
    for name, template in competition.metric.solution.items():
        solution[name] = [
            _filled(template, images, places[key].image_id, shapes, z=places[key].z)
            for key in row_keys(sample, submission_format(competition))
        ]
    return solution, sample


def _filled(
    template: str, images: ListedImages, image_id: str, shapes: Mapping[str, tuple[int, int, int]], *, z: int
) -> str:
    _, height, width = shapes[image_id]
    fields = {"z": z, **images.row(image_id), "id": image_id, "height": height, "width": width, "mask": ""}
    return fill(template, fields, "metric.solution")


def _training_tables(competition: Competition, data: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    listing, _ = list_images(competition, data, "train")
    images, masks = ListedImages(competition, data, listing), MaskReader(competition, data)
    rows: list[Row] = []
    for image_id in itertools.islice(images.ids, TRIED):
        fields = images.row(image_id)
        truth = truth_at_answer(competition, masks.read(fields, images.shape_of(image_id)[:3]))
        rows += solution_rows(competition, fields, truth)
    if not rows:
        return None
    solution = pd.DataFrame(rows, dtype=object)
    return solution, solution.drop(columns=[name for name in competition.metric.solution if name in solution])
