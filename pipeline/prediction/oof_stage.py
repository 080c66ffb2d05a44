"""Stage 05 of one split: its images, the sample's views and shifts, the forecast's copies, alone or in shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from inference.progress import show
from pipeline.prediction.classification_results import write_classification
from pipeline.prediction.copies import copies_folder, copies_stage, copy_plan, predict_copies
from pipeline.prediction.oof_sample import Part, sample_ids, sample_parts, unfit_shifts
from pipeline.prediction.oof_steps import join_shards, unpredicted
from pipeline.prediction.prediction import predict_oof
from pipeline.prediction.prediction_stages import oof_stage
from pipeline.stage import Stage
from pipeline.workspace import Workspace, already, finish, finishing


def predict_split(space: Workspace) -> None:
    """Predict the images of one split; an interrupted run goes on after the last finished image."""
    stage, parts = oof_stage(space), sample_parts(space)
    again = [
        one.folder.relative_to(space.own) for one in (stage, *(part.stage for part in parts)) if one.folder.exists()
    ]
    if space.overwrite and again:
        print(f"{stage.name}: --overwrite deletes and predicts again {', '.join(map(str, again))}")
    if stage.begin(overwrite=space.overwrite, shared=space.shard is not None):
        show(predict_oof(space, stage.folder, report=tqdm.write), "images")
        with finishing(stage, space.shard, left_to_others(space, stage.folder)) as mine:
            if mine:
                finish_split(space, stage)
    else:
        already(stage)
    if parts:
        for shift, reason in unfit_shifts(space).items():
            print(f"{stage.name}: shift {shift} is left out: {reason}")
        chosen = sample_ids(space)
        for part in parts:
            predict_part(space, part, chosen)
    predict_shifted_copies(space)


def predict_shifted_copies(space: Workspace) -> None:
    """Predict the copies that the forecast learns from, where there are any."""
    if not copy_plan(space):
        return
    stage = copies_stage(space)
    if not stage.begin(overwrite=space.overwrite, shared=space.shard is not None):
        return already(stage)
    show(predict_copies(space), "shifted copies")
    plan = {copies_folder(space.own, shift): names for shift, names in copy_plan(space).items()}
    left = sum(left_to_others(space, folder, names) for folder, names in plan.items())
    with finishing(stage, space.shard, left) as mine:
        if mine:
            for folder, names in plan.items():
                join_shards(space, folder, names)
            finish(stage, f"{sum(map(len, plan.values()))} shifted copies predicted")


def left_to_others(space: Workspace, folder: Path, only: Sequence[str] | None = None) -> int:
    """Number of images that other shards have not predicted yet; 0 without shards."""
    return 0 if space.shard is None else len(unpredicted(replace(space, shard=None), folder, only))


def finish_split(space: Workspace, stage: Stage) -> None:
    """Close the stage of a split whose images are all predicted."""
    join_shards(space, stage.folder)
    number = len(list(stage.folder.glob("*.h5")))
    _, inventory = space.training_images()
    scores = write_classification(space, stage.folder) if space.experiment.task == "classify" else {}
    said = "".join(f", {name} {value:.4f}" for name, value in scores.items())
    finish(stage, f"{number} images predicted, each by the fold that held it out{said}", inventory=inventory, **scores)


def predict_part(space: Workspace, part: Part, chosen: Sequence[str]) -> None:
    """Predict the sample once more, view by view or under a shift."""
    if not part.stage.begin(overwrite=space.overwrite, shared=space.shard is not None):
        return already(part.stage)
    steps = predict_oof(
        space, part.stage.folder, only=chosen, separate=part.shift is None, shift=part.shift, report=tqdm.write
    )
    show(steps, part.title)
    with finishing(part.stage, space.shard, left_to_others(space, part.stage.folder, chosen)) as mine:
        if mine:
            join_shards(space, part.stage.folder, chosen)
            finish(part.stage, f"{len(chosen)} images predicted {part.title}")
