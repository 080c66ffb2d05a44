"""What stage 06 measures beside the rule: weights of members, worth of views, shifts, the mean of two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from inference.predict.store import open_prediction
from pipeline.prediction.oof import StoredItem, oof_channels, run_items, ungrouped
from pipeline.prediction.oof_sample import finished_parts, sample_ids
from pipeline.runs import Run, split_apart
from pipeline.stage import read_stage
from pipeline.tuning.comparisons.ensemble import (
    EnsembleShift,
    ViewWorth,
    Weights,
    ensemble_shift,
    fit_weights,
    view_worth,
)
from pipeline.tuning.comparisons.extras import Extras
from pipeline.tuning.comparisons.paired import Mixed, mixed_items
from pipeline.tuning.comparisons.shift_table import ShiftTable, shift_table
from pipeline.tuning.scores.criteria import Criteria, tuning_metric
from pipeline.tuning.scores.workers import Progress, quiet
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class OutOfFold:
    """What a decision is learned from: items, the criteria with their channels, weights where they are a mean.

    notes: sentences on how the members' splits went together.
    """

    items: Sequence[StoredItem] | Sequence[Mixed]
    criteria: Criteria
    weights: Weights | None = None
    notes: list[str] = field(default_factory=list)


def out_of_fold(space: Workspace, runs: Sequence[Run], *, workers: int = 1, progress: Progress = quiet) -> OutOfFold:
    """The run's own predictions, or the weighted mean of the members', with weights fitted on them.

    Members split by different fold files have their own folds; the mean goes by those of the first, and holds the
    images that all of them predicted. Raises ValueError where there is none, and for members of other channels.
    """
    members = {run.name: run_items(space, run) for run in runs}
    channels = {name: oof_channels(items) for name, items in members.items()}
    first = channels[runs[0].name]
    for name, found in channels.items():
        if found != first:
            raise ValueError(
                f"{name!r} predicts the channels {found}, {runs[0].name!r} {first}; members need the same channels"
            )
    settings = space.experiment.tune
    metric = tuning_metric(space.competition, settings)
    criteria = Criteria(space.competition, metric, settings, first, workers, progress, ungrouped(space))
    if not space.experiment.members:
        return OutOfFold(members[runs[0].name], criteria)
    members, notes = shared_images(runs, members)
    weights = fit_weights(criteria, members)
    return OutOfFold(mixed_items(members, weights.weights), criteria, weights, notes)


def shared_images(
    runs: Sequence[Run], members: Mapping[str, Sequence[StoredItem]]
) -> tuple[dict[str, list[StoredItem]], list[str]]:
    """The items of the images that all runs predicted, and what has to be said about it.

    Raises ValueError where the runs have no image in common.
    """
    ids = {name: {item.image_id for item in items} for name, items in members.items()}
    common = set.intersection(*ids.values())
    if not common:
        sizes = ", ".join(f"{name} {len(found)}" for name, found in ids.items())
        raise ValueError(
            f"the members have no out-of-fold image in common ({sizes}); give them the same folds.use and blocks"
        )
    notes, total = [], len(set.union(*ids.values()))
    if split_apart(runs):
        files = ", ".join(f"{run.name} {run.folds_hash}" for run in runs)
        notes.append(
            f"the members were split by different fold files ({files}); folds and nested scores are those of "
            f"{runs[0].name}"
        )
    if len(common) < total:
        notes.append(f"{total - len(common)} of {total} images are left out, because not every member predicted them")
    return {name: [item for item in items if item.image_id in common] for name, items in members.items()}, notes


def measure(space: Workspace, runs: Sequence[Run], found: OutOfFold) -> Extras:
    """Everything that the experiment asks for beside the rule."""
    parts = [(part.shift, part.stage.folder) for part, _ in finished_parts(space)]
    chosen = set(sample_ids(space)) if parts else set()
    views: ViewWorth | None = None
    shifts: ShiftTable | None = None
    for shift, folder in parts:
        if shift is None:
            apart = {view: run_items(space, runs[0], folder, only=chosen, view=view) for view in stored_views(folder)}
            views = view_worth(found.criteria, apart)
    shifted = {shift: folder for shift, folder in parts if shift is not None}
    if shifted:
        variants = {"none": run_items(space, runs[0], only=chosen)}
        variants |= {shift: run_items(space, runs[0], folder, only=chosen) for shift, folder in shifted.items()}
        shifts = shift_table(found.criteria, variants)
    return Extras(found.weights, views, shifts, repeated_shift(space, runs, found.criteria), found.notes)


def stored_views(folder: Path) -> list[str]:
    """Names of the views that the predictions of a folder hold apart, in their order."""
    with open_prediction(min(folder.glob("*.h5"))) as prediction:
        return list(dict.fromkeys(name.partition("/")[0] for name in prediction.channels))


def repeated_shift(space: Workspace, runs: Sequence[Run], criteria: Criteria) -> EnsembleShift | None:
    """The mean of two members that differ by seed or split alone, against the first of them alone.

    None where no two members are alike, and where the rule has no threshold that could move.
    """
    pair = next((pair for pair in combinations(runs, 2) if is_repeated(*pair)), None)
    if pair is None or space.competition.exclusive:
        return None
    members, _ = shared_images(pair, {run.name: run_items(space, run) for run in pair})
    return ensemble_shift(criteria, members[pair[0].name], mixed_items(members))


def is_repeated(one: Run, other: Run) -> bool:
    """Whether two runs were trained alike but for the seed or the split."""
    settings = [trained_settings(run, run.folds[0]) for run in (one, other)]
    plain = [{key: value for key, value in each.items() if key not in ("seed", "fold")} for each in settings]
    moved = one.folds_hash != other.folds_hash or settings[0].get("seed") != settings[1].get("seed")
    return moved and plain[0] == plain[1] and one.predict == other.predict


def trained_settings(run: Run, fold: int) -> dict[str, Any]:
    """The settings that a fold of a run was trained with."""
    document = read_stage(run.folder / f"fold_{fold}", f"04_train.py {run.name}")
    settings: dict[str, Any] = document["identity"]["settings"]
    return settings


def measured_reasons(extras: Extras) -> list[str]:
    """Sentences about what was measured, for the terminal."""
    said = list(extras.notes)
    if extras.weights is not None:
        shares = ", ".join(f"{name} {weight:.3f}" for name, weight in extras.weights.weights.items())
        said.append(f"weights: {shares} ({extras.weights.reason})")
    if extras.views is not None:
        dropped = [str(row["view"]) for row in extras.views.table.to_dict("records") if row["verdict"] != "kept"]
        said += [
            f"TTA views {', '.join(dropped)} lower the score and are not used on the test images; the scores here "
            f"include them: for those of {', '.join(extras.views.kept)} alone set predict.views and run stage 05 again"
        ] * bool(dropped)
    if extras.shifts is not None:
        said.append(f"shift test: {extras.shifts.sentence}")
    if extras.ensemble is not None:
        shift = extras.ensemble
        said.append(f"mean of two models: score {shift.gain.estimate:+.4f}, best threshold moved by {shift.moved}")
    return said
