"""The declared sample of training images that stage 05 also predicts view by view and under declared shifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from inference.predict.shifts import unfit
from inference.predict.tta_names import expand_views
from pipeline.data.fold_tables import open_folds
from pipeline.prediction.prediction_stages import held_out_inputs, oof_format, predict_settings
from pipeline.stage import Stage, read_stage
from pipeline.workspace import Workspace
from submissions.host.listing import spread

VIEWS, SHIFTS = "oof_views", "oof_shifts"


@dataclass(frozen=True)
class Part:
    """One more prediction of the sample: every view apart, or all of them under a shift."""

    shift: str | None
    stage: Stage

    @property
    def title(self) -> str:
        """What is predicted."""
        return "view by view" if self.shift is None else f"under {self.shift}"


def sample_ids(space: Workspace) -> list[str]:
    """Ids of the sample, spread evenly over folds and groups; whole stacks where the contract scores stacks."""
    return [name for unit in spread_units(space, space.experiment.tune.sample) for name in unit]


def spread_units(space: Workspace, most: int) -> list[list[str]]:
    """Ids of at most so many images (but one unit), unit by unit, spread evenly over folds and groups."""
    listing, _ = space.training_images()
    folds, _ = open_folds(space)
    used = folds[folds["fold"].isin(space.experiment.used_folds)].drop_duplicates("image_id")
    table = used.merge(listing[["image_id", "stack"]], on="image_id", how="left")
    whole = space.competition.metric.unit == "stack"
    table["unit"] = table["stack" if whole else "image_id"].astype(str)
    table = table.sort_values(["fold", "group", "unit", "image_id"], kind="stable")
    sizes = table.groupby("unit", sort=False).size()
    number = min(len(sizes), max(1, round(most / sizes.mean())))
    while number > 1 and sizes.iloc[spread(range(len(sizes)), number)].sum() > most:
        number -= 1
    chosen = set(sizes.index[spread(range(len(sizes)), number)])
    of_units = table[table["unit"].isin(chosen)].groupby("unit", sort=False)["image_id"]
    return [[str(name) for name in names] for _, names in of_units]


def sample_parts(space: Workspace) -> list[Part]:
    """What is predicted of the sample; nothing where `tune.sample` is 0."""
    tune, predict = space.experiment.tune, space.experiment.predict
    if tune.sample == 0:
        return []
    settings = {**predict_settings(space), "sample": tune.sample, "unit": space.competition.metric.unit}
    inputs, made = held_out_inputs(space), oof_format(space)
    parts = []
    if len(expand_views(predict.views)) > 1:
        parts.append(Part(None, Stage("05_predict_oof", space.own / VIEWS, {**settings, "apart": True}, inputs, made)))
    left_out = unfit_shifts(space)
    for shift in tune.shifts:
        if shift not in left_out:
            folder = space.own / SHIFTS / shift.replace(":", "_")
            parts.append(Part(shift, Stage("05_predict_oof", folder, {**settings, "shift": shift}, inputs, made)))
    return parts


def unfit_shifts(space: Workspace) -> dict[str, str]:
    """Shifts that say nothing about some of the training images, and why."""
    listing, _ = space.training_images()
    reasons = {shift: why_unfit(shift, listing) for shift in space.experiment.tune.shifts}
    return {shift: reason for shift, reason in reasons.items() if reason is not None}


def why_unfit(shift: str, listing: pd.DataFrame) -> str | None:
    """Why a shift says nothing about some image of a listing; None where it suits all."""
    kinds = listing[["channels", "dtype"]].drop_duplicates().itertuples(index=False)
    reasons = (unfit(shift, int(channels), str(dtype)) for channels, dtype in kinds)
    return next((reason for reason in reasons if reason is not None), None)


def finished_parts(space: Workspace) -> Iterator[tuple[Part, str]]:
    """The parts with their fingerprints, for stage 06.

    Raises FileNotFoundError where stage 05 has not made one, ValueError where it made one of another sample.
    """
    script = f"05_predict_oof.py {space.experiment.name}"
    for part in sample_parts(space):
        document = read_stage(part.stage.folder, script)
        sample = document["identity"]["settings"]["sample"]
        if sample != space.experiment.tune.sample:
            raise ValueError(
                f"{part.stage.folder}: made of a sample of {sample} images, but tune.sample is "
                f"{space.experiment.tune.sample}; delete that folder and run {script} again"
            )
        yield part, str(document["fingerprint"])
