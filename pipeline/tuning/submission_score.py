"""The score of a decision the whole way: mask, rows, CSV text, rows again, mask, the host's metric."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision, Mask
from pipeline.tuning.scores.criteria import Terms
from pipeline.tuning.scores.units import OofItem, Unit, as_volume, decided, make_units, scored_row
from pipeline.tuning.scores.workers import over_units, worker_pool
from submissions.host.competition import Competition
from submissions.host.sample import columns
from submissions.metrics import Metric
from submissions.table.scoring import Segmentation
from submissions.table.submission_table import Row, decode_rows, encode_rows


def score_through_submission(terms: Terms, items: Iterable[OofItem], decision: Decision) -> tuple[pd.DataFrame, float]:
    """A row a unit and the score, of masks that went through the table the host takes.

    Where the contract has no submission, or a row holds confidences as well (which the host's table
    rounds), the masks are scored as they are.
    """
    units, meta = make_units(items, terms.competition.metric.unit)
    function = partial(_unit_row, terms.competition, terms.metric, decision)
    with worker_pool(terms.workers) as pool:
        rows = list(over_units(function, units, "through the table", pool=pool, progress=terms.progress))
    table = pd.concat([meta, pd.DataFrame(rows)], axis=1)
    return table, terms.metric.score(table)


def _unit_row(competition: Competition, metric: Metric, decision: Decision, unit: Unit) -> dict[str, float]:
    parts = []
    for item in unit.items:
        truth = item.truth()
        mask = decided(item, item.probs(), decision)
        form = competition.submission
        if form is None or "{score}" in form.mask_template:
            parts.append((as_volume(mask, truth.planes.shape[1]), truth))
        else:
            parts.append((read_back(competition, item.fields, item.image_id, mask), truth))
    return scored_row(competition, metric, parts)


def read_back(competition: Competition, fields: Any, image_id: str, mask: Mask) -> Segmentation:
    """The mask as the host reads it from the rows that we write, slice by slice for a volume."""
    given = {**fields, "image_id": image_id}
    if mask.planes.ndim == 4:
        slices = [_one(competition, {**given, "z": z}, mask.planes[:, z], None) for z in range(mask.planes.shape[1])]
        return Segmentation(np.stack([planes for planes, _ in slices], axis=1))
    planes, label = _one(competition, given, mask.planes, mask)
    return Segmentation(planes[:, None], None if label is None else label[None])


def _one(
    competition: Competition, given: dict[str, Any], planes: np.ndarray, mask: Mask | None
) -> tuple[np.ndarray, np.ndarray | None]:
    instances, scores = (None, None) if mask is None else (mask.instances, mask.scores)
    rows = encode_rows(competition, given, planes, instances=instances, scores=scores)
    return decode_rows(competition, _through_csv(competition, rows), planes.shape[1:])


def _through_csv(competition: Competition, rows: list[Row]) -> list[Row]:
    """Rows after they were written as CSV text and read again; none of an empty mask where it has no row."""
    form = competition.submission
    assert form is not None
    if competition.dialect.empty == "missing" and form.rows != "image":
        rows = [row for row in rows if row[form.mask_column] != ""]
    text = pd.DataFrame(rows, columns=columns(form), dtype=object).to_csv(index=False, lineterminator="\n")
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return [{str(name): str(value) for name, value in row.items()} for row in frame.to_dict("records")]
