"""Rules whose candidates must be scored on pixels: grids, hysteresis, instances, and exclusive classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision
from inference.decide.instances import InstanceSettings
from inference.decide.rules import ArgmaxRule, HysteresisRule, ThresholdRule
from inference.predict.store import quantise
from pipeline.settings.tuning import MOST_CANDIDATES
from pipeline.tuning.rules.histogram_rules import Candidates, Fit, Learner
from pipeline.tuning.scores.choice import Judge
from pipeline.tuning.scores.score_tables import CountScoreTable, RowScoreTable
from pipeline.tuning.scores.units import Request, Scorer
from submissions.metrics.overlap import Dice


def level(probability: float) -> int:
    """Threshold 1..255 of a probability, as the store quantises it."""
    return max(1, int(quantise(np.array([probability]))[0]))


@dataclass
class Grid(Candidates):
    """A choice among few decisions, each scored on every unit in one pass; asked: what is scored for it."""

    scorer: Scorer
    asked: list[Request]

    def requests(self) -> list[Request]:
        """See `Learner`."""
        return self.asked


def grid_of(name: str, scorer: Scorer, judge: Judge, candidates: Sequence[tuple[dict[str, Any], Decision]]) -> Grid:
    """The grid of some candidates; ValueError where they are too many to be scored on pixels."""
    if not 1 <= len(candidates) <= MOST_CANDIDATES:
        raise ValueError(
            f"tune: rule {name!r} has {len(candidates)} candidates, expected 1 to "
            f"{MOST_CANDIDATES}; give other lists (thresholds, tops, areas, depths, rejects)"
        )

    def scored() -> RowScoreTable:
        return RowScoreTable(scorer.metric, [scorer.table(decision, judge.everything) for _, decision in candidates])

    return Grid(name, judge, candidates, scored, scorer, [(decision, judge.everything) for _, decision in candidates])


def threshold_grid(name: str, base: Decision, scorer: Scorer, judge: Judge) -> Grid:
    """Thresholds for metrics that need pixels; with instances, thresholds times depths of the valley.

    The rules 'border' and 'centre' split by the channel of that name, 'grid' as the settings say.
    """
    k, settings = len(base.classes), scorer.criteria.settings
    if base.instances is not None and name != "grid":
        guided = InstanceSettings(**{**base.instances.model_dump(), "method": name})
        base = base.model_copy(update={"instances": guided})
    found: list[tuple[dict[str, Any], Decision]] = []
    for probability in settings.thresholds:
        rule = ThresholdRule(thresholds=[level(probability)] * k)
        if base.instances is None or base.instances.method == "components":
            found.append(({"threshold": level(probability)}, base.model_copy(update={"rule": rule})))
            continue
        for depth in settings.depths:
            own = InstanceSettings(**{**base.instances.model_dump(), "depth": depth})
            made = base.model_copy(update={"rule": rule, "instances": own})
            found.append(({"threshold": level(probability), "depth": depth}, made))
    return grid_of(name, scorer, judge, found)


def hysteresis_grid(base: Decision, scorer: Scorer, judge: Judge) -> Grid:
    """Bottom, top and the first area of the settings."""
    settings = scorer.criteria.settings
    k, area = len(base.classes), settings.areas[0]
    found = [
        (
            {"bottom": level(bottom), "top": level(top), "area": area},
            base.model_copy(
                update={"rule": HysteresisRule(top=[level(top)] * k, bottom=[level(bottom)] * k, area=[area] * k)}
            ),
        )
        for bottom in settings.thresholds
        for top in settings.tops
        if top > bottom
    ]
    return grid_of("hysteresis", scorer, judge, found)


def argmax_grid(base: Decision, scorer: Scorer, judge: Judge, rejects: Sequence[float], unknown: str | None) -> Grid:
    """Argmax, without a level below which pixels are rejected, and with each of `rejects`."""
    levels = [0, *(level(probability) for probability in rejects)]
    found = [
        ({"reject": reject}, base.model_copy(update={"rule": ArgmaxRule(reject=reject, unknown=unknown)}))
        for reject in levels
    ]
    return grid_of("argmax_reject" if rejects else "argmax", scorer, judge, found)


@dataclass
class Learned(Learner):
    """A rule of exclusive classes that is computed, not searched: learned from histograms, scored on pixels.

    learn: units bool (N,) -> (values to show, ArgmaxRule).
    """

    name: str
    base: Decision
    scorer: Scorer
    learn: Callable[[np.ndarray], tuple[dict[str, Any], ArgmaxRule]]
    coordinate: str | None = field(default=None)

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        shown, rule = self.learn(rows)
        return Fit(shown, self.base.model_copy(update={"rule": rule}))

    def pixels(self, fit: Fit, rows: np.ndarray) -> list[Request]:
        """The decision of this fit on the units asked for."""
        return [(fit.decision, rows)]

    def table(self, fit: Fit, rows: np.ndarray) -> pd.DataFrame:
        """See `Learner`."""
        return self.scorer.table(fit.decision, rows)


def prior_rule(base: Decision, scorer: Scorer, hists: np.ndarray) -> Learned:
    """Class prior correction: each class weighs true share / mean probability, over the units it learns from.

    hists: int64 (N, K, 2, 256). (Saerens, Latinne, Decaestecker, Neural Computation 2002: the ratio of
    priors.)
    """

    def learn(rows: np.ndarray) -> tuple[dict[str, Any], ArgmaxRule]:
        total = hists[rows].sum(axis=0)
        true = total[:, 1].sum(axis=-1)
        said = (total.sum(axis=1) * np.arange(256)).sum(axis=-1) / 255
        weights = np.where((true > 0) & (said > 0), true / np.maximum(said, 1e-9), 1.0)
        rounded = [float(np.clip(round(float(weight), 4), 0.1, 10.0)) for weight in weights]
        shown = {f"weight of {name}": weight for name, weight in zip(base.classes, rounded, strict=True)}
        return shown, ArgmaxRule(weights=rounded)

    return Learned("prior", base, scorer, learn)


def priority_rule(base: Decision, scorer: Scorer, hists: np.ndarray, judge: Judge) -> Learned:
    """Thresholds by class with priority: the rarest class claims first, the commonest (or background) takes
    the rest.

    A class's threshold is the plateau's middle of its own Dice over the units it learns from.
    """
    metric = Dice(over="dataset")

    def learn(rows: np.ndarray) -> tuple[dict[str, Any], ArgmaxRule]:
        area = hists[rows][:, :, 1].sum(axis=(0, 2))
        order = [int(k) for k in np.argsort(area, kind="stable")]
        rest = base.classes.index("background") if "background" in base.classes else order[-1]
        priority = [k for k in order if k != rest and area[k] > 0]
        thresholds = [0] * len(base.classes)
        for k in priority:
            score_table = CountScoreTable.of_thresholds(metric, hists[:, [k]])
            thresholds[k] = judge.choose(score_table, rows, np.arange(256)[:, None]).chosen
        shown = {f"threshold of {base.classes[k]}": thresholds[k] for k in priority}
        return shown, ArgmaxRule(thresholds=thresholds, priority=priority)

    return Learned("priority", base, scorer, learn)
