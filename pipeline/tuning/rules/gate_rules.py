"""Rules with an image-level gate: a class is emptied in images whose image-level probability of showing it is too low.

The gate's level is chosen together with the threshold. Where pixel counts decide, both come from histograms; elsewhere
the rule `grid` is scored once as it is and once for empty masks, and the gate only chooses between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from inference.config import level_channels
from inference.decide.decision import Decision, Gate
from inference.decide.rules import NEVER, ThresholdRule
from pipeline.tuning.rules.histogram_rules import GATE_THRESHOLDS, Candidates, Evidence
from pipeline.tuning.rules.pixel_rules import Grid, grid_of
from pipeline.tuning.scores.choice import Judge
from pipeline.tuning.scores.score_tables import RowScoreTable
from pipeline.tuning.scores.units import Scorer, Unit

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
    levels = [np.where(said[:, evidence.scored] >= level, threshold, NEVER) for threshold, level in grid]
    candidates = []
    for threshold, level in grid:
        rule = ThresholdRule(thresholds=[threshold] * evidence.classes)
        decision = evidence.with_rule(rule, gate_of(evidence.base, source, level))
        candidates.append(({"threshold": threshold, "image_level": level}, decision))
    return evidence.at_levels(f"gated_{source}", candidates, np.stack(levels, axis=1))


def exclusive_gate(base: Decision, source: str, scorer: Scorer, judge: Judge) -> Grid:
    """Argmax, where a class that the image is not said to show leaves its pixels to background."""
    candidates = [
        ({"image_level": level}, base.model_copy(update={"gate": gate_of(base, source, level)}))
        for level in (0, *LEVELS)
    ]
    return grid_of(f"gated_{source}", scorer, judge, candidates)


def gated_grid(grid: Grid, source: str, said: np.ndarray) -> Grid:
    """A grid, each candidate with every level of the gate, of a contract of one class.

    said: int (N,) of `image_levels`. A mask is the candidate's or empty, so the candidates and the empty mask are all
    that is scored on pixels.
    """
    scorer, judge, base = grid.scorer, grid.judge, grid.candidates[0][1]
    nothing = base.model_copy(update={"gate": gate_of(base, source, NEVER)})

    def scored() -> RowScoreTable:
        empty = scorer.table(nothing, judge.everything)
        plain = [scorer.table(decision, judge.everything) for _, decision in grid.candidates]
        mixed = [
            pd.DataFrame(np.where(said[:, None] >= level, table, empty[table.columns]), columns=table.columns)
            for table in plain
            for level in (0, *LEVELS)
        ]
        return RowScoreTable(scorer.metric, mixed)

    candidates = [
        ({**shown, "image_level": level}, decision.model_copy(update={"gate": gate_of(base, source, level)}))
        for shown, decision in grid.candidates
        for level in (0, *LEVELS)
    ]
    asked = [*grid.asked, (nothing, judge.everything)]
    return Grid(f"gated_{source}", judge, candidates, scored, scorer, asked)
