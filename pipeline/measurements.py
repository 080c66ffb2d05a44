"""What stage 06 measures beside the rule: weights of members, worth of views, shifts, the mean of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.store import open_prediction
from pipeline.oof import StoredItem, oof_channels, run_items
from pipeline.oof_sample import finished_parts, sample_ids
from pipeline.runs import Run, read_run
from pipeline.stage import read_stage
from pipeline.tuning.arms import Mixed, mixed_items
from pipeline.tuning.ensemble import EnsembleShift, ViewWorth, Weights, ensemble_shift, fit_weights, view_worth
from pipeline.tuning.extras import Extras
from pipeline.tuning.items import Progress, quiet
from pipeline.tuning.shift import ShiftTable, shift_table
from pipeline.workspace import Workspace
from submissions.metrics import Metric


@dataclass(frozen=True)
class OutOfFold:
    """What a decision is learned from: items, the channels of their probabilities, weights where they are a mean."""

    items: Sequence[StoredItem] | Sequence[Mixed]
    channels: list[str]
    weights: Weights | None = None


def out_of_fold(
    space: Workspace, runs: Sequence[Run], metric: Metric, *, workers: int = 1, progress: Progress = quiet
) -> OutOfFold:
    """The run's own predictions, or the weighted mean of the members', with weights fitted on them.

    Raises ValueError where members have other images or other channels than the first.
    """
    members = {run.name: run_items(space, run) for run in runs}
    channels = {name: oof_channels(items) for name, items in members.items()}
    first = channels[runs[0].name]
    for name, found in channels.items():
        if found != first:
            raise ValueError(f"{name!r} predicts {found}, {runs[0].name!r} {first}: members need the same channels")
    if not space.experiment.members:
        return OutOfFold(members[runs[0].name], first)
    settings = space.experiment.tune
    weights = fit_weights(space.competition, metric, members, settings, first, workers=workers, progress=progress)
    return OutOfFold(mixed_items(members, weights.weights), first, weights)


def measure(space: Workspace, runs: Sequence[Run], metric: Metric, found: OutOfFold, **options: Any) -> Extras:
    """Everything that the experiment asks for beside the rule; `options` are workers and progress."""
    parts = [(part.shift, part.stage.folder) for part, _ in finished_parts(space)]
    chosen = set(sample_ids(space)) if parts else set()
    views: ViewWorth | None = None
    shifts: ShiftTable | None = None
    given = (space.competition, metric)
    for shift, folder in parts:
        if shift is None:
            apart = {view: run_items(space, runs[0], folder, only=chosen, view=view) for view in stored_views(folder)}
            views = view_worth(*given, apart, space.experiment.tune, found.channels, **options)
    shifted = {shift: folder for shift, folder in parts if shift is not None}
    if shifted:
        arms = {"none": run_items(space, runs[0], only=chosen)}
        arms |= {shift: run_items(space, runs[0], folder, only=chosen) for shift, folder in shifted.items()}
        shifts = shift_table(*given, arms, space.experiment.tune, found.channels, **options)
    return Extras(found.weights, views, shifts, second_seed_shift(space, runs, metric, found, **options))


def stored_views(folder: Path) -> list[str]:
    """Names of the views that the predictions of a folder hold apart, in their order."""
    with open_prediction(min(folder.glob("*.h5"))) as prediction:
        return list(dict.fromkeys(name.partition("/")[0] for name in prediction.channels))


def second_seed_shift(
    space: Workspace, runs: Sequence[Run], metric: Metric, found: OutOfFold, **options: Any
) -> EnsembleShift | None:
    """The mean of this experiment and the one of `tune.second_seed` against this one alone; None without one.

    Raises ValueError where the two were split by different fold files, or trained differently but for the seed.
    """
    name = space.experiment.tune.second_seed
    if name is None:
        return None
    own, other = runs[0], read_run(space, name)
    if (own.folds_hash, own.folds) != (other.folds_hash, other.folds):
        raise ValueError(
            f"tune.second_seed: {name!r} was trained on folds {other.folds} of {other.folds_hash}, this experiment on "
            f"{own.folds} of {own.folds_hash}; give it the same with 02_make_folds.py --folds"
        )
    for fold in own.folds:
        here, there = (trained_settings(run, fold) for run in (own, other))
        differ = sorted(key for key in set(here) | set(there) if here.get(key) != there.get(key))
        if differ != ["seed"]:
            raise ValueError(
                f"tune.second_seed: {name!r} differs in {differ or 'nothing'}, expected the seed and nothing else"
            )
    singles = run_items(space, own)
    means = mixed_items({own.name: singles, name: run_items(space, other)})
    return ensemble_shift(space.competition, metric, singles, means, space.experiment.tune, found.channels, **options)


def trained_settings(run: Run, fold: int) -> dict[str, Any]:
    """The settings that a fold of a run was trained with."""
    document = read_stage(run.folder / f"fold_{fold}", f"04_train.py {run.name}")
    settings: dict[str, Any] = document["identity"]["settings"]
    return settings


def measured_reasons(extras: Extras) -> list[str]:
    """Sentences about what was measured, for the terminal."""
    said = []
    if extras.weights is not None:
        shares = ", ".join(f"{name} {weight:.3f}" for name, weight in extras.weights.weights.items())
        said.append(f"weights: {shares} ({extras.weights.reason})")
    if extras.views is not None:
        dropped = [str(row["view"]) for row in extras.views.table.to_dict("records") if row["verdict"] != "kept"]
        said += [
            f"views {', '.join(dropped)} do harm and are not used on the test images; the scores here are those of all "
            f"views: for those of {', '.join(extras.views.kept)} alone set predict.views and run stage 05 again"
        ] * bool(dropped)
    if extras.shifts is not None:
        said.append(f"shift test: {extras.shifts.sentence}")
    if extras.ensemble is not None:
        shift = extras.ensemble
        said.append(f"a mean of two models: score {shift.gain.estimate:+.4f}, best threshold moved by {shift.moved}")
    return said
