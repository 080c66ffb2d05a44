"""A decision under the host's own file: the tables that the host would hold, of training images, and their score."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision, segmentation_of
from pipeline.prediction.oof import OofItem
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.units import Unit, decided, make_units
from pipeline.tuning.scores.workers import over_units, worker_pool
from pipeline.tuning.search import TuneResult
from submissions.answers.table_answer import said_rows
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.sample import columns, row_keys, submission_format
from submissions.host_metric.host_file import HostFile
from submissions.host_metric.parts import HostScore, UnitRows, score_parts_of, scored_part
from submissions.metrics.intervals import Interval
from submissions.table.host_tables import open_host_metric, solution_rows
from submissions.table.submission_table import Row

KNOWN = "host_metric_scores.json"


@dataclass(frozen=True)
class HostResult:
    """A decision's score by the host's file: `cv` with its interval and folds, `nested` (NaN where there is none), the
    prediction interval, and `agreement`, the rank correlation of the images' scores with those of the metric that was
    tuned for (NaN where images have none)."""

    file: str
    whole: HostScore
    interval: Interval
    nested: float
    prediction: Interval | None
    fold_scores: dict[int, float]
    agreement: float
    printed: str

    @property
    def cv(self) -> float:
        """The score of all images."""
        return self.whole.score


def host_result(criteria: Criteria, items: Sequence[OofItem], result: TuneResult, cache: Path) -> HostResult | None:
    """What the host's file says of a decision, None where the contract has no such file.

    Scores are kept in the file `cache` by content, so that what was scored once is not scored again. Raises
    HostMetricError where the whole table has no score.
    """
    if criteria.competition.metric.file is None:
        return None
    units, meta = make_units(items, criteria.competition.metric.unit)
    tables = _tables(criteria, units, meta, [result.decision] * len(units))
    options: dict[str, Any] = {"rounds": criteria.settings.rounds, "seed": criteria.settings.seed}
    with _remembered(cache) as known:
        with tables.opened(criteria.competition, known) as host:
            whole = score_parts_of(host, tables.units, budget=criteria.competition.metric.seconds, **options)
            folds = {fold: _of_fold(host, tables.units, fold) for fold in sorted(set(meta["fold"]))}
            printed = host.printed
        judged, nested = whole, float("nan")
        if result.apart:
            other = _tables(criteria, units, meta, result.apart)
            with other.opened(criteria.competition, known) as host:
                judged = score_parts_of(host, other.units, budget=criteria.competition.metric.seconds, **options)
            nested = judged.score
    options["level"] = criteria.settings.level
    prediction = judged.prediction(result.test_groups, **options) if result.test_groups else None
    name = Path(criteria.competition.metric.file).name
    agreement = _agreement(whole, result.table)
    return HostResult(name, whole, whole.interval(**options), nested, prediction, folds, agreement, printed)


@dataclass(frozen=True)
class Tables:
    """Solution and submission of training images, and whose rows are whose."""

    solution: pd.DataFrame
    submission: pd.DataFrame
    units: UnitRows

    def opened(self, competition: Competition, known: dict[str, float]) -> HostFile:
        """The host's metric over these tables."""
        return open_host_metric(competition, self.solution, self.submission, known=known)


def _tables(criteria: Criteria, units: Sequence[Unit], meta: pd.DataFrame, decisions: Sequence[Decision]) -> Tables:
    """Raises ValueError where rows of two units have one id: the contract's ids do not tell parts of images apart."""
    function = partial(_unit_rows, criteria.competition)
    tasks = list(zip(units, decisions, strict=True))
    with worker_pool(criteria.workers) as pool:
        made = list(over_units(function, tasks, "tables for the host's metric", pool=pool, progress=criteria.progress))
    form = submission_format(criteria.competition)
    true = pd.DataFrame([row for rows, _ in made for row in rows], dtype=object)
    said = pd.DataFrame([row for _, rows in made for row in rows], columns=columns(form), dtype=object)
    keys = row_keys(true, form)
    if form.rows != "instance" and len(set(keys)) < len(keys):
        raise ValueError(
            f"metric.file: several of the training tables' rows have one id, as {_first_twice(keys)}; the host's file "
            "scores whole images (folds.method 'blocks' cuts them), or submission.id_template lacks a field"
        )
    counts = [np.cumsum([0, *(len(rows[side]) for rows in made)]) for side in (0, 1)]
    places = [[np.arange(a, b) for a, b in pairwise(ends)] for ends in counts]
    return Tables(true, said, UnitRows(meta, places[0], places[1]))


def _first_twice(keys: Sequence[tuple[str, ...]]) -> str:
    seen: set[tuple[str, ...]] = set()
    for key in keys:
        if key in seen:
            return "/".join(key)
        seen.add(key)
    return ""


def _unit_rows(competition: Competition, task: tuple[Unit, Decision]) -> tuple[list[Row], list[Row]]:
    """The solution's and the submission's rows of a unit."""
    unit, decision = task
    true: list[Row] = []
    said: list[Row] = []
    for item in unit.items:
        truth, probs = item.truth(), item.probs()
        mask = decided(item, probs, decision)
        given = {**item.fields, "image_id": item.image_id}
        volume = mask.planes.ndim == 4
        true += solution_rows(competition, given, truth, volume=volume)
        said += said_rows(competition, given, segmentation_of(probs, mask, decision), volume=volume)
    return true, said


def _of_fold(host: HostFile, units: UnitRows, fold: int) -> float:
    chosen = np.flatnonzero((units.meta["fold"] == fold).to_numpy())
    return scored_part(host, *units.of(chosen))


def _agreement(whole: HostScore, table: pd.DataFrame) -> float:
    if whole.mean_over != "image":
        return float("nan")
    own = whole.table.set_index("image_id")["score"]
    other = table.assign(image_id=table["image_id"].astype(str)).set_index("image_id")["score"]
    return float(own.rank().corr(other.reindex(own.index).rank()))


@contextmanager
def _remembered(cache: Path) -> Iterator[dict[str, float]]:
    """Scores by content, written back when the work is done or has failed."""
    known: dict[str, float] = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    before = len(known)
    try:
        yield known
    finally:
        if len(known) > before:
            write_atomic(cache, json.dumps(known) + "\n")


def host_lines(found: HostResult, result: TuneResult) -> list[str]:
    """What stage 06 prints of it, and its report says."""
    proxy = result.metric.name
    lines = list(found.whole.notes)
    lines += [f"{found.file} printed: {found.printed}"] if found.printed else []
    lines.append(
        f"tuned with {proxy}: {result.cv:.4f}, nested {result.nested:.4f}; scored by {found.file}: {found.cv:.4f}"
    )
    if found.agreement == found.agreement:
        weak = "" if found.agreement > 0.7 else f"; {proxy} is a poor stand-in, look for a nearer metric.proxy"
        lines.append(f"images stand in the same order under both: rank correlation {found.agreement:.3f}{weak}")
    return lines


def host_report(found: HostResult, result: TuneResult) -> list[str]:
    """The section of report.md."""
    lines = ["", "## The host's metric", "", *(f"- {line}" for line in host_lines(found, result))]
    low, high = found.interval.low, found.interval.high
    lines.append(f"- CV {found.cv:.4f} [{low:.4f}, {high:.4f}], nested {found.nested:.4f} by {found.file}")
    if found.prediction is not None:
        ends = f"[{found.prediction.low:.4f}, {found.prediction.high:.4f}]"
        lines.append(f"- One leaderboard of {result.test_groups} groups: {ends}")
    folds = ", ".join(f"fold {fold}: {score:.4f}" for fold, score in found.fold_scores.items())
    return [
        *lines,
        f"- {folds}",
        f"- Everything above is in {result.metric.name}, which the decision was tuned with.",
        "",
    ]
