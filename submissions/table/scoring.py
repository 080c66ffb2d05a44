"""Masks against the truth under the host's metric: a row a unit, a score over all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from submissions.host.competition import Competition, MetricSettings, SubmissionFormat
from submissions.host.listing import ListedImages, list_images
from submissions.host.masks import Truth
from submissions.host.sample import read_submission, row_keys, submission_format
from submissions.host_metric.parts import scored_part
from submissions.metrics import Metric, build_metric
from submissions.table.host_tables import open_host_metric
from submissions.table.rows import Place, Shape3, image_shape, row_places
from submissions.table.submission_table import Row, decode_rows, read_confidences

USAGE = "Usage"


@dataclass(frozen=True)
class Segmentation:
    """What is said about one image: planes bool (K, Z, H, W), instances int32 (Z, H, W), confidences."""

    planes: np.ndarray
    instances: np.ndarray | None = None
    scores: Sequence[float] | None = None


@dataclass(frozen=True)
class Scored:
    """A row a unit (column `unit`, then the metric's), and the score over all of them."""

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
            raise ValueError(f"{metric.name} needs instances, and the prediction or the truth has none")
        labels, wanted = _flat(said.instances), _flat(truth.instances)
        pred = labels if said.scores is None else (labels, np.asarray(said.scores))
        return metric.rows(pred, wanted, None if valid is None else _flat(valid))
    chosen = competition.scored_classes
    pred, true = said.planes[chosen], truth.planes[chosen]
    if metric.needs == "planes" and pred.shape[1] == 1:
        return metric.rows(pred[:, 0], true[:, 0], None if valid is None else valid[0])
    return metric.rows(pred, true, valid)


def _flat(volume: np.ndarray) -> np.ndarray:
    """(Z, H, W), or (H, W) where it is one slice."""
    return volume[0] if len(volume) == 1 else volume


def score_units(metric: Metric, competition: Competition, units: Iterable[tuple[str, Segmentation, Truth]]) -> Scored:
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


@dataclass(frozen=True)
class ScoredParts:
    """A submission's score over all units, and over parts of them.

    parts: a row a part: `part` ('usage' or a column's name), `value`, `units`, `score`.
    """

    overall: Scored
    parts: pd.DataFrame


def score_submission(competition: Competition, submission: Path, solution: Path, data: Path) -> Scored:
    """The host's metric of a submission table against a solution table of its form, over the test images.

    Sizes come from the test images under `data`; rows of the solution whose column `Usage` says 'Ignored' are
    left out. Raises ValueError where an id is missing, is of no test image, or does not decode.
    """
    return score_parts(competition, submission, solution, data).overall


def score_parts(competition: Competition, submission: Path, solution: Path, data: Path) -> ScoredParts:
    """`score_submission`, and the scores of its parts: public and private where the solution has a column
    `Usage`, and each group and stratum that the solution or the test tables name.

    Where masks of instances overlap, the later row has the pixel. A host's own file scores the tables as they are, and
    rows of units are then those of its proxy. Raises as `score_submission`, and where
    one unit is both public and private.
    """
    form = submission_format(competition)
    said, true = read_submission(submission, competition), read_submission(solution, competition)
    if USAGE in true:
        true = true[true[USAGE].str.strip().str.lower() != "ignored"].reset_index(drop=True)
    lacking = sorted(set(row_keys(true, form)) - set(row_keys(said, form)))
    if lacking and competition.dialect.empty != "missing":
        raise ValueError(f"{submission}: {len(lacking)} id(s) of the solution are missing: {lacking[:3]} ...")
    listing, _ = list_images(competition, data, "test")
    images = ListedImages(competition, data, listing)
    shapes = {image_id: image_shape(images, image_id) for image_id in images.ids}
    places = row_places(competition, images, shapes)
    said_rows, true_rows = rows_by_image(said, form, places), rows_by_image(true, form, places)

    def decoded() -> Iterator[tuple[str, str, Segmentation, Truth]]:
        for image_id in images.in_reading_order(true_rows):
            given = decode_image(competition, said_rows.get(image_id, []), shapes[image_id])
            wanted = decode_image(competition, true_rows[image_id], shapes[image_id])
            stack = str(images.row(image_id)["stack"])
            yield image_id, stack, given, Truth(wanted.planes, None, wanted.instances)

    metric = host_metric(competition.metric)
    scored = score_units(metric, competition, by_unit(competition, decoded()))
    units = _unit_attributes(competition, images, true_rows)
    if competition.metric.file is not None:
        return _by_host_file(competition, (said, true), places, images, scored.table, units)
    return ScoredParts(scored, _part_scores(metric, scored.table, units))


def _by_host_file(
    competition: Competition,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    places: Mapping[tuple[str, ...], Place],
    images: ListedImages,
    table: pd.DataFrame,
    units: pd.DataFrame,
) -> ScoredParts:
    """The scores of the host's own file, rows in the solution's order; `table` keeps the rows of its proxy.

    Raises HostMetricError where the whole has no score; a part without one has NaN.
    """
    form, stacked = submission_format(competition), competition.metric.unit == "stack"
    kept = set(row_keys(frames[1], form))
    said = frames[0][[key in kept for key in row_keys(frames[0], form)]]
    order = {key: index for index, key in enumerate(row_keys(frames[1], form))}
    said = said.iloc[np.argsort([order[key] for key in row_keys(said, form)], kind="stable")].reset_index(drop=True)
    true = frames[1].drop(columns=[USAGE], errors="ignore")
    names = []
    for frame in (true, said):
        ids = [places[key].image_id for key in row_keys(frame, form)]
        names.append(np.array([str(images.row(one)["stack"]) if stacked else one for one in ids], dtype=object))
    rows = []
    with open_host_metric(competition, true, said) as host:
        score = host.score()
        for name in units:
            for value in sorted(set(units[name]) - {""}):
                chosen = set(units.index[units[name] == value])
                both = [np.flatnonzero([one in chosen for one in part]) for part in names]
                rows.append({"part": name, "value": value, "units": len(chosen), "score": scored_part(host, *both)})
    return ScoredParts(Scored(table, score), pd.DataFrame(rows, columns=["part", "value", "units", "score"]))


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
            raise ValueError(f"id {'/'.join(key)!r}: no test image of that id")
    return found


def decode_image(
    competition: Competition, rows: Sequence[tuple[int, Row]], shape: Shape3, *, step: int = 1
) -> Segmentation:
    """The masks of one image's rows (slice, row), (Z, H, W) being its size; a slice without rows is empty.

    step: every step-th row and column of each slice.
    """
    slices: list[list[Row]] = [[] for _ in range(shape[0])]
    for z, row in rows:
        slices[z].append(row)
    parts = [decode_rows(competition, part, shape[1:], step=step) for part in slices]
    planes = np.stack([part for part, _ in parts], axis=1)
    labels = [label for _, label in parts if label is not None]
    if len(labels) != 1:
        return Segmentation(planes)
    return Segmentation(planes, labels[0][None], read_confidences(competition, slices[0], labels[0]))


def _unit_attributes(
    competition: Competition, images: ListedImages, rows: Mapping[str, Sequence[tuple[int, Row]]]
) -> pd.DataFrame:
    """What divides units into parts, by unit: Usage, and the contract's group and strata; '' if unknown."""
    names = [name for name in (competition.group, *competition.strata) if name]
    values: dict[str, dict[str, set[str]]] = {}
    for image_id, of_image in rows.items():
        listed = images.row(image_id)
        unit = str(listed["stack"]) if competition.metric.unit == "stack" else image_id
        known = values.setdefault(unit, {name: set() for name in (USAGE, *names)})
        for _, row in of_image:
            for name, seen in known.items():
                seen.add(str({**listed, **row}.get(name, "")).strip())
    for unit, known in values.items():
        if len(known[USAGE]) > 1:
            raise ValueError(f"{unit}: its rows in the solution are {sorted(known[USAGE])}, not one Usage")
    plain = {
        unit: {name: next(iter(seen)) if len(seen) == 1 else "" for name, seen in known.items()}
        for unit, known in values.items()
    }
    return pd.DataFrame.from_dict(plain, orient="index")


def _part_scores(metric: Metric, table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in units:
        of_row = units[name].reindex(table["unit"]).to_numpy() if len(table) else np.array([])
        for value in sorted(set(of_row) - {""}):
            part = table[of_row == value]
            rows.append({"part": name, "value": value, "units": len(part), "score": metric.score(part)})
    return pd.DataFrame(rows, columns=["part", "value", "units", "score"])
