"""The score of a decision the whole way: mask, answer, what the host reads out of it, the host's metric."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pandas as pd

from inference.decide.decision import Decision, segmentation_of
from pipeline.prediction.oof import OofItem
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.units import Unit, decided, make_units, scored_row
from pipeline.tuning.scores.workers import over_units, worker_pool
from submissions.answers import answer_of
from submissions.host.competition import Competition
from submissions.metrics import Metric


def score_through_submission(
    criteria: Criteria, items: Iterable[OofItem], decision: Decision
) -> tuple[pd.DataFrame, float]:
    """One row per unit and the score, of masks that went through what the host takes.

    Where the contract has no submission, the masks are scored as they are.
    """
    units, meta = make_units(items, criteria.competition.metric.unit)
    function = partial(_unit_row, criteria.competition, criteria.metric, decision)
    with worker_pool(criteria.workers) as pool:
        rows = list(over_units(function, units, "through the answer", pool=pool, progress=criteria.progress))
    table = pd.concat([meta, pd.DataFrame(rows)], axis=1)
    return table, criteria.metric.score(table)


def _unit_row(competition: Competition, metric: Metric, decision: Decision, unit: Unit) -> dict[str, float]:
    parts = []
    for item in unit.items:
        probs = item.probs()
        said = segmentation_of(probs, decided(item, probs, decision), decision)
        if competition.submission is not None:
            said = answer_of(competition).through({**item.fields, "image_id": item.image_id}, said)
        parts.append((said, item.truth()))
    return scored_row(competition, metric, parts)
