"""Rules with an image-level gate: a class is emptied in images whose image-level probability of showing it is too low.

The gate's level is chosen together with the threshold. Where pixel counts decide, both come from histograms; elsewhere
the rule `grid` is scored once as it is and once for empty masks, and the gate only chooses between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from inference.config import level_channels
from inference.decide.decision import Decision, Gate
from inference.decide.rules import NEVER, ThresholdRule
from pipeline.tuning.rules.histogram_rules import GATE_THRESHOLDS, Candidates, Evidence, Fit, Learner, score_table_at
from pipeline.tuning.rules.pixel_rules import Grid
from pipeline.tuning.scores.choice import Judge
from pipeline.tuning.scores.score_tables import RowScoreTable
from pipeline.tuning.scores.units import Request, Scorer, Unit

SOURCES = ("present", "classifier")  # a model's own image-level head; the experiment that tune.gate names
LEVELS = (3, 13, 26, 51, 77, 102, 128, 153, 179, 204, 230)


def gate_rules(channels: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The rules of this file that these channels allow."""
    return [f"gated_{source}" for source in SOURCES if set(level_channels(source, classes)) <= set(channels)]


def image_levels(channels: Sequence[int], unit: Unit) -> np.ndarray:
    """int64 (K,): the largest q of each of the channels (their indices) in a unit of one image."""
    (item,) = unit.items
    probs = item.probs()
    return np.array([int(probs[channel].max()) for channel in channels])


def gate_of(base: Decision, source: str, level: int) -> Gate | None:
    """The gate of all classes but background at one level; none at level 0."""
    if level == 0:
        return None
    area = [0 if base.exclusive and name == "background" else 1 for name in base.classes]
    return Gate(channel=f"{source}:{{class}}", top=[level] * len(area), area=area)


def without_idle_classifier(decision: Decision) -> Decision:
    """The decision without the classifier, whose channels come last, where its gate does not ask it."""
    if decision.classifier is None or (decision.gate is not None and decision.gate.channel == "classifier:{class}"):
        return decision
    asked = level_channels("classifier", decision.classes)
    kept = [name for name in decision.channels if name not in asked]
    return decision.model_copy(update={"classifier": None, "channels": kept})


def counted_gate(evidence: Evidence, source: str, said: np.ndarray) -> Candidates:
    """One threshold and one level of the gate for all classes; said: int (N, K) of `image_levels`."""
    grid = [(threshold, level) for threshold in GATE_THRESHOLDS for level in (0, *LEVELS)]
    hists, shown = evidence.hists[:, evidence.scored], said[:, evidence.scored]
    levels = np.stack([np.where(shown >= level, threshold, NEVER) for threshold, level in grid], axis=1)
    k = evidence.classes
    return Candidates(
        f"gated_{source}",
        None,
        score_table_at(evidence.metric, hists, levels),
        evidence.judge,
        np.array(grid, float),
        lambda c: evidence.with_rule(
            ThresholdRule(thresholds=[grid[c][0]] * k), gate_of(evidence.base, source, grid[c][1])
        ),
        lambda c: dict(zip(("threshold", "image_level"), grid[c], strict=True)),
    )


def exclusive_gate(base: Decision, source: str, scorer: Scorer, judge: Judge) -> Grid:
    """Argmax, where a class that the image is not said to show leaves its pixels to background."""
    candidates = [
        ({"image_level": level}, base.model_copy(update={"gate": gate_of(base, source, level)}))
        for level in (0, *LEVELS)
    ]
    return Grid(f"gated_{source}", scorer, judge, candidates)


@dataclass
class GatedGrid(Learner):
    """The candidates of a grid, each with every level of the gate; of a contract whose only class is scored.

    said: int (N,), what `image_levels` found of that class.
    """

    grid: Grid
    source: str
    scorer: Scorer
    judge: Judge
    said: np.ndarray
    name: str = field(init=False)
    coordinate: str | None = field(default=None)

    def __post_init__(self) -> None:
        self.name = f"gated_{self.source}"

    def requests(self) -> list[Request]:
        """The grid, and empty masks."""
        return [*self.grid.requests(), (self._nothing, self.judge.everything)]

    @property
    def _nothing(self) -> Decision:
        return self.grid.candidates[0][1].model_copy(update={"gate": gate_of(self._base, self.source, NEVER)})

    @property
    def _base(self) -> Decision:
        return self.grid.candidates[0][1]

    @cached_property
    def score_table(self) -> RowScoreTable:
        """Candidate c is c // levels of the grid, at level c % levels."""
        empty = self.scorer.table(self._nothing, self.judge.everything)
        plain = [self.scorer.table(decision, self.judge.everything) for _, decision in self.grid.candidates]
        mixed = [
            pd.DataFrame(np.where(self.said[:, None] >= level, table, empty[table.columns]), columns=table.columns)
            for table in plain
            for level in (0, *LEVELS)
        ]
        return RowScoreTable(self.scorer.metric, mixed)

    def fit(self, rows: np.ndarray) -> Fit:
        """See `Learner`."""
        number = len(LEVELS) + 1
        ranks = np.tile(np.arange(number, dtype=float), len(self.grid.candidates))
        coordinates = np.column_stack([np.repeat(self.grid.coordinates, number, axis=0), ranks])
        choice = self.judge.choose(self.score_table, rows, coordinates)
        (shown, decision), level = self.grid.candidates[choice.chosen // number], (0, *LEVELS)[choice.chosen % number]
        gated = decision.model_copy(update={"gate": gate_of(self._base, self.source, level)})
        return Fit({**shown, "image_level": level}, gated, choice)

    def table(self, fit: Fit, rows: np.ndarray) -> pd.DataFrame:
        """See `Learner`."""
        assert fit.choice is not None
        return self.score_table.tables[fit.choice.chosen][rows].reset_index(drop=True)
