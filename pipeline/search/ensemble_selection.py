"""Which runs together? Greedy forward selection on out-of-fold predictions, nested, within the time of the host.

Caruana, Niculescu-Mizil, Crew and Ksikes, Ensemble Selection from Libraries of Models, ICML 2004: beginning with the
best run, the run whose addition to the mean helps most is added, again and again, the same one as often as it helps.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from inference.decide.rules import ArgmaxRule, class_planes
from pipeline.prediction.oof import OofItem, StoredItem, oof_channels
from pipeline.runs import AS_PROBS, Run
from pipeline.tuning.scores.choice import selection_folds
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.score_tables import CountScoreTable
from pipeline.tuning.scores.units import make_units
from submissions.host.atomic import write_atomic
from submissions.metrics import CountMetric, build_metric, joint_histograms
from submissions.metrics.intervals import Interval, paired_bootstrap
from submissions.metrics.overlap import pixel_counts

logger = logging.getLogger(__name__)

ROUNDS = 20  # additions at most
GAIN = 1e-4  # what an addition has to bring on the units it is chosen on

Counts = tuple[int, ...]  # how often each run is in the mean


@dataclass(frozen=True)
class Selection:
    """Runs with how often each was chosen, from all images.

    nested: score where each fold, or part of the groups of a single one, is decided by what was chosen without it;
    single: the same of the best run alone;
    gain: interval of their difference. seconds: a test image of the chosen runs. judged: the metric that chose.
    """

    counts: dict[str, int]
    nested: float
    single: float
    gain: Interval
    seconds: float
    judged: str


@dataclass
class _Library:
    """All runs' probabilities of the same images in memory, and the score tables of the means computed so far.

    scored: the classes that the metric counts, of those in `probs`; exclusive: every pixel has one of these.
    """

    names: list[str]
    scored: list[int]
    exclusive: bool
    probs: list[list[np.ndarray]]  # one list per image, of uint8 (K, ...) a run
    planes: list[np.ndarray]
    valid: list[np.ndarray | None]
    unit: np.ndarray  # of each image
    metric: CountMetric
    score_tables: dict[Counts, CountScoreTable] = field(default_factory=dict)

    def score_table(self, counts: Counts) -> CountScoreTable:
        """All thresholds of the mean of the runs, each as often as `counts` says, on all units; of exclusive classes
        the most probable one, which is one candidate."""
        if counts not in self.score_tables:
            total, found = sum(counts), np.zeros(0, np.int64)
            for index, probs in enumerate(self.probs):
                mean = sum(np.float32(number) * one for number, one in zip(counts, probs, strict=True) if number)
                rounded = np.clip(np.floor(mean / np.float32(total) + np.float32(0.5)), 0, 255).astype(np.uint8)
                counted = self._counted(rounded, self.planes[index][self.scored], self.valid[index])
                found = found if found.size else np.zeros((self.unit.max() + 1, *counted.shape), np.int64)
                found[self.unit[index]] += counted
            self.score_tables[counts] = (
                CountScoreTable(self.metric, *(found[:, part, None] for part in range(4)))
                if self.exclusive
                else CountScoreTable.of_thresholds(self.metric, found)
            )
        return self.score_tables[counts]

    def _counted(self, probs: np.ndarray, true: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Pixels of the scored classes: int64 (4, K) of exclusive ones, else joint histograms (K, 2, 256)."""
        if not self.exclusive:
            return joint_histograms(probs[self.scored], true, valid)
        return pixel_counts(class_planes(list(probs), ArgmaxRule(), [])[self.scored], true, valid)

    def best(self, counts: Counts, rows: np.ndarray) -> tuple[float, int]:
        """The best score on the units bool (N,), and the threshold that has it."""
        scores = np.nan_to_num(self.score_table(counts).scores(rows[None].astype(np.float64))[0], nan=-1.0)
        return float(scores.max()), int(np.argmax(scores))


def alike(runs: Sequence[Run], members: Mapping[str, Sequence[StoredItem]]) -> dict[tuple[str, ...], list[Run]]:
    """The runs that can be averaged with each other, by the channels of their items in `members`.

    Left out, with a warning: runs whose logits were averaged, which stage 06 refuses as members. Raises ValueError
    where none is left.
    """
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run.predict.merge != "probs":
            logger.warning("%s is left out: its logits were averaged (predict.merge), and %s", run.name, AS_PROBS)
            continue
        found.setdefault(tuple(oof_channels(members[run.name])), []).append(run)
    if not found:
        raise ValueError(f"none of the runs {', '.join(members)} can be a member of an ensemble")
    return found


def select_ensemble(
    criteria: Criteria,
    members: Mapping[str, Sequence[OofItem]],
    seconds: Mapping[str, float],
    *,
    budget: float = np.inf,
) -> Selection:
    """Choose among runs whose items are of the same images; `seconds` a test image each, `budget` those of all chosen.

    Thresholds and choices of a fold are those of the other folds; of a single fold, of the other parts of its groups.
    Classes that exclude each other have no threshold: the most probable one is taken, as by stage 06's rule argmax.
    A metric that is not made of pixel counts chooses by the Dice of the pixels instead. Raises ValueError where a run
    has other images, where there is a single group, and where no run alone keeps the budget.
    """
    library, meta = _read(criteria, members)
    names, cost = library.names, np.nan_to_num([seconds[name] for name in members], nan=np.inf)  # unknown: any time
    affordable = cost <= budget
    if not affordable.any():
        taken = ", ".join(f"{name} {seconds[name]:.3g} s" for name in names)
        raise ValueError(f"no run predicts an image within {budget:.3g} s: {taken}; raise --limit")
    folds = sorted(set(meta["fold"]))
    if len(folds) < 2:
        raise ValueError("the runs predicted only one group of images; a selection is checked on other groups")
    chosen: list[pd.DataFrame] = []
    alone: list[pd.DataFrame] = []
    for fold in folds:
        own = (meta["fold"] == fold).to_numpy()
        for tables, counts in (
            (chosen, _grow(library, ~own, cost, budget)),
            (alone, _first(library, ~own, affordable)),
        ):
            threshold = library.best(counts, ~own)[1]
            rows = library.score_table(counts).table(threshold, own)
            tables.append(pd.concat([meta[own].reset_index(drop=True), rows], axis=1))
    one, other = pd.concat(chosen, ignore_index=True), pd.concat(alone, ignore_index=True)
    settings, metric = criteria.settings, library.metric
    gain = paired_bootstrap(
        metric, one, other, one["group"], rounds=settings.rounds, seed=settings.seed, level=settings.level
    )
    final = _grow(library, np.ones(len(meta), bool), cost, budget)
    used = {name: number for name, number in zip(names, final, strict=True) if number}
    spent = float(sum(seconds[name] for name in used))
    return Selection(used, metric.score(one), metric.score(other), gain, spent, metric.name)


def _read(criteria: Criteria, members: Mapping[str, Sequence[OofItem]]) -> tuple[_Library, pd.DataFrame]:
    """Everything in memory, and the units' table (image_id, group, stratum, fold to be nested over)."""
    metric = criteria.metric if isinstance(criteria.metric, CountMetric) else build_metric("dice")
    assert isinstance(metric, CountMetric)
    by_id = {name: {item.image_id: item for item in items} for name, items in members.items()}
    first = next(iter(by_id))
    for name, items in by_id.items():
        if set(items) != set(by_id[first]):
            raise ValueError(f"{name!r} and {first!r} have different out-of-fold images; an ensemble needs the same")
    competition = criteria.competition
    units, meta = make_units(list(members[first]), competition.metric.unit)
    channels = [list(criteria.channels).index(name) for name in competition.classes]
    probs, planes, valid, place = [], [], [], []
    for number, unit in enumerate(units):
        for item in unit.items:
            truth = item.truth()
            probs.append([
                by_id[name][item.image_id].probs()[channels].reshape(truth.planes.shape) for name in members
            ])  # fmt: skip
            planes.append(truth.planes)
            valid.append(truth.valid)
            place.append(number)
    library = _Library(
        list(members), competition.scored_classes, competition.exclusive, probs, planes, valid, np.array(place), metric
    )
    return library, selection_folds(meta)[0]


def _first(library: _Library, rows: np.ndarray, affordable: np.ndarray) -> Counts:
    """The best run alone."""
    singles = [tuple(int(i == k) for i in range(len(library.names))) for k in np.flatnonzero(affordable)]
    return max(singles, key=lambda counts: library.best(counts, rows)[0])


def _grow(library: _Library, rows: np.ndarray, cost: np.ndarray, budget: float) -> Counts:
    """The selection on the units bool (N,)."""
    counts = _first(library, rows, cost <= budget)
    score = library.best(counts, rows)[0]
    for _ in range(ROUNDS):
        grown = [tuple(number + (i == k) for i, number in enumerate(counts)) for k in range(len(counts))]
        kept = [one for one in grown if cost[np.array(one) > 0].sum() <= budget]
        found = max(kept, key=lambda one: library.best(one, rows)[0])
        best = library.best(found, rows)[0]
        if best < score + GAIN:
            break
        counts, score = found, best
    return counts


def write_ensemble(path: Path, competition: str, selection: Selection) -> Path:
    """The experiment that is the ensemble: its members, and how they came about; stage 06 weighs and decides them."""
    document = {"competition": competition, "members": list(selection.counts)}
    chosen = ", ".join(f"{name} {number} times" for name, number in selection.counts.items())
    note = (
        f"# Chosen by greedy forward selection: {chosen}.\n# Nested {selection.judged} {selection.nested:.4f}, best "
        f"run alone {selection.single:.4f}, gain {selection.gain.estimate:+.4f} "
        f"[{selection.gain.low:+.4f}, {selection.gain.high:+.4f}].\n"
    )
    write_atomic(path, note + yaml.safe_dump(document, sort_keys=False))
    return path
