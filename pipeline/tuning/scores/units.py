"""Out-of-fold predictions as stage 06 sees them: items, the units that are scored, and one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision, Mask, apply_each, segmentation_of
from pipeline.prediction.oof import OofItem
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.workers import over_units
from submissions.host.competition import Competition
from submissions.host.masks import Truth
from submissions.metrics import Metric, joint_histogram
from submissions.table.scoring import Segmentation, joined_stack, unit_row

Measure = Callable[[np.ndarray, Mask, Decision], dict[str, Any]]  # of probabilities, mask and decision of an image
Request = tuple[Decision, np.ndarray]  # a decision, and bool (N,) of the units that it is asked for


@dataclass(frozen=True)
class Unit:
    """What is scored as one: an image, or the slices of a stack in order."""

    name: str
    items: tuple[OofItem, ...]

    @property
    def fold(self) -> int:
        """Fold whose model predicted it."""
        return self.items[0].fold


def make_units(items: Iterable[OofItem], unit: str) -> tuple[list[Unit], pd.DataFrame]:
    """Units sorted by name whatever the order of the items, and their table: image_id, fold, group, stratum.

    Raises ValueError where there is no item, an id is there twice, or a stack lies in several folds or
    groups.
    """
    found: dict[str, list[OofItem]] = {}
    seen: set[str] = set()
    for item in items:
        if item.image_id in seen:
            raise ValueError(f"image {item.image_id!r} occurs twice; expected one out-of-fold prediction of each")
        seen.add(item.image_id)
        found.setdefault(item.stack if unit == "stack" else item.image_id, []).append(item)
    if not found:
        raise ValueError("there are no out-of-fold predictions to learn from; run stage 05_predict_oof first")
    units = [Unit(name, tuple(sorted(found[name], key=lambda item: item.z))) for name in sorted(found)]
    for made in units:
        for what in ("fold", "group"):
            values = sorted({str(getattr(item, what)) for item in made.items})
            if len(values) > 1:
                raise ValueError(
                    f"stack {made.name!r} lies in the {what}s {values}, but it is scored as one; use a "
                    "folds.method that keeps stacks whole"
                )
    rows = [(made.name, made.fold, str(made.items[0].group), str(made.items[0].stratum)) for made in units]
    return units, pd.DataFrame(rows, columns=["image_id", "fold", "group", "stratum"])


def decided(item: OofItem, probs: np.ndarray, decision: Decision) -> Mask:
    """Mask of one item."""
    return next(decided_each(item, probs, [decision]))


def decided_each(item: OofItem, probs: np.ndarray, decisions: Sequence[Decision]) -> Iterator[Mask]:
    """Masks of one item, a decision each; the very same one again where the next decision changes nothing.

    A classifier's channels come last; a decision that does not ask it knows nothing of them.
    """
    for channels, alike in groupby(decisions, key=lambda one: len(one.channels)):
        yield from apply_each(probs[:channels], alike, group=str(item.stratum))


def scored_row(
    competition: Competition, metric: Metric, parts: Sequence[tuple[Segmentation, Truth]]
) -> dict[str, float]:
    """The metric's row of one unit from what is said and true of its images."""
    said, true = parts[0] if len(parts) == 1 else joined_stack(parts)
    return unit_row(metric, competition, said, true)


def decided_rows(
    competition: Competition, metric: Metric, task: tuple[Unit, Sequence[Decision]]
) -> list[dict[str, float]]:
    """The metric's row of a unit under each decision; probabilities and truth are read once."""
    unit, decisions = task
    if not decisions:
        return []
    read = [(item, item.probs(), item.truth()) for item in unit.items]
    rows: list[dict[str, float]] = []
    before: tuple[Mask, ...] = ()
    each = zip(*(decided_each(item, probs, decisions) for item, probs, _ in read), strict=True)
    for decision, masks in zip(decisions, each, strict=True):
        if rows and all(one is other for one, other in zip(masks, before, strict=True)):
            rows.append(dict(rows[-1]))
            continue
        before = masks
        parts = [
            (segmentation_of(probs, mask, decision), truth) for mask, (_, probs, truth) in zip(masks, read, strict=True)
        ]
        rows.append(scored_row(competition, metric, parts))
    return rows


def unit_histograms(classes: Sequence[int], unit: Unit) -> np.ndarray:
    """int64 (K, 3, 256): joint histogram of each class over the unit, and that of what is not scored, which a gate or a
    share of the image looks at all the same; `classes` are the channels' indices."""
    total = np.zeros((len(classes), 3, 256), np.int64)
    for item in unit.items:
        probs, truth = item.probs(), item.truth()
        for k, channel in enumerate(classes):
            q = probs[channel].reshape(truth.planes[k].shape)
            total[k, :2] += joint_histogram(q, truth.planes[k], truth.valid)
            if truth.valid is not None:
                total[k, 2] += np.bincount(q[~truth.valid], minlength=256)
    return total


def decided_unit(
    competition: Competition,
    metric: Metric,
    decision: Decision,
    measures: Sequence[Measure],
    unit: Unit,
    truths: Sequence[Truth] = (),
) -> tuple[dict[str, float], list[list[dict[str, Any]]]]:
    """The metric's row of a unit under the decision, and for each of `measures` what it says of each of its images.

    truths: of its images, where they are read already.
    """
    parts: list[tuple[Segmentation, Truth]] = []
    found: list[list[dict[str, Any]]] = [[] for _ in measures]
    for index, item in enumerate(unit.items):
        probs = item.probs()
        mask = decided(item, probs, decision)
        parts.append((segmentation_of(probs, mask, decision), truths[index] if truths else item.truth()))
        for measure, said in zip(measures, found, strict=True):
            said.append({"image_id": item.image_id, **measure(probs, mask, decision)})
    return scored_row(competition, metric, parts), found


class Scorer:
    """Scores decisions on units in one pass, and remembers what was scored.

    A decision is known by everything of it that changes the mask.
    """

    def __init__(self, criteria: Criteria, units: Sequence[Unit], pool: Executor | None = None) -> None:
        self.criteria, self.units, self.pool = criteria, units, pool
        self._rows: dict[str, dict[int, dict[str, float]]] = {}

    @property
    def metric(self) -> Metric:
        """The metric of the criteria."""
        return self.criteria.metric

    def score(self, requests: Sequence[Request], what: str) -> None:
        """Score what is asked for and not known yet."""
        wanted: list[list[Decision]] = [[] for _ in self.units]
        for decision, rows in requests:
            known = self._rows.setdefault(_key(decision), {})
            for index in np.flatnonzero(rows).tolist():
                if index not in known:
                    known[index] = {}
                    wanted[index].append(decision)
        tasks = [(unit, decisions) for unit, decisions in zip(self.units, wanted, strict=True)]
        if not any(wanted):
            return
        function = partial(decided_rows, self.criteria.competition, self.metric)
        made = over_units(function, tasks, what, pool=self.pool, progress=self.criteria.progress)
        for place, (decisions, rows_of_unit) in enumerate(zip(wanted, made, strict=True)):
            for decision, row in zip(decisions, rows_of_unit, strict=True):
                self._rows[_key(decision)][place] = row

    def table(self, decision: Decision, rows: np.ndarray) -> pd.DataFrame:
        """Rows of the units in bool (N,) `rows`, in order; they must have been scored."""
        known = self._rows[_key(decision)]
        return pd.DataFrame([known[int(index)] for index in np.flatnonzero(rows)])


def _key(decision: Decision) -> str:
    return decision.model_dump_json(include={"rule", "gate", "post", "instances"})
