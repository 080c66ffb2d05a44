"""What else stage 06 may have measured - weights, views, shifts, the mean of models - in decision and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from inference.decide.decision import Decision
from pipeline.prediction.drift import Drift
from pipeline.tuning.comparisons.ensemble import EnsembleShift, ViewWorth, Weights
from pipeline.tuning.comparisons.shift_table import ShiftTable
from submissions.host.atomic import write_atomic


@dataclass(frozen=True)
class Extras:
    """Measurements beside the rule, None where they were not made; notes: sentences on the members' splits."""

    weights: Weights | None = None
    views: ViewWorth | None = None
    shifts: ShiftTable | None = None
    ensemble: EnsembleShift | None = None
    notes: list[str] = field(default_factory=list)


def decision_with(decision: Decision, extras: Extras) -> Decision:
    """The decision with the members' weights, the views that are kept, and in `learned` what was measured."""
    learned = dict(decision.learned)
    if extras.notes:
        learned["splits"] = extras.notes
    if extras.shifts is not None:
        learned["shift_test"] = {"optimal": extras.shifts.optimal, "robust": extras.shifts.robust}
    if extras.ensemble is not None:
        learned["ensemble_shift"] = extras.ensemble.learned
    update: dict[str, Any] = {"learned": learned}
    if extras.weights is not None:
        update["weights"] = extras.weights.weights
    if extras.views is not None:
        update["views"] = extras.views.kept
    return decision.model_copy(update=update)


def extras_report(extras: Extras) -> list[str]:
    """Sections of the report, as Markdown lines."""
    lines: list[str] = []
    if extras.notes:
        lines += ["## Splits", "", *(f"- {note}." for note in extras.notes), ""]
    if extras.weights is not None:
        lines += ["## Weights of experiments", "", f"{extras.weights.reason}.", ""]
        lines += ["| experiment | used | fitted |", "|---|---|---|"]
        fitted = extras.weights.fitted
        lines += [f"| {name} | {w:.4f} | {fitted[name]:.4f} |" for name, w in extras.weights.weights.items()]
        lines.append("")
    if extras.views is not None:
        lines += ["## Views", "", "Gain: score of the mean of all TTA views minus that without this view.", ""]
        lines += [*markdown(extras.views.table), ""]
    if extras.shifts is not None:
        lines += ["## Shift test", "", f"In short: {extras.shifts.sentence}.", ""]
        lines += [*markdown(extras.shifts.table), ""]
    if extras.ensemble is not None:
        lines += ["## Mean of models", "", _ensemble(extras.ensemble), ""]
    return lines


def _ensemble(shift: EnsembleShift) -> str:
    return (
        f"The mean scores {shift.gain.estimate:+.4f} [{shift.gain.low:.4f}, {shift.gain.high:.4f}] against one "
        f"model on the same images. Its best threshold is {shift.mean}, that of one model {shift.single}: moved by "
        f"{shift.moved} [{shift.moved_low}, {shift.moved_high}]. One model's threshold costs the mean {shift.lost:.4f}."
    )


def write_extras(folder: Path, extras: Extras) -> None:
    """views.csv and shifts.csv, where they were measured."""
    for name, found in (("views.csv", extras.views), ("shifts.csv", extras.shifts)):
        if found is not None:
            write_atomic(folder / name, found.table.to_csv(index=False, lineterminator="\n"))


def write_drift(folder: Path, found: Drift) -> None:
    """drift.csv, drift_histograms.csv and drift.md, for stage 07."""
    write_atomic(folder / "drift.csv", found.table.to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / "drift_histograms.csv", found.histograms.to_csv(index=False, lineterminator="\n"))
    said = [f"- {warning}" for warning in found.warnings] or [
        "The test images are like those that the decision was learned on."
    ]
    write_atomic(folder / "drift.md", "\n".join(["# Drift", "", *said, "", *markdown(found.table)]) + "\n")


def markdown(table: pd.DataFrame) -> list[str]:
    """A table as lines of Markdown; numbers with four decimals."""

    def row(cells: Sequence[object]) -> str:
        return "| " + " | ".join(f"{c:.4f}" if isinstance(c, float) else str(c) for c in cells) + " |"

    names = [str(name) for name in table.columns]
    return [row(names), row(["---"] * len(names)), *(row(list(r.values())) for r in table.to_dict("records"))]
