"""Stages 05 and 07 around the room `inference`: which models predict which images into which folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from folds.blocks import has_blocks
from inference.decide.decision import Decision, Mask, load_decision
from inference.decision_members import Origin, interleaved_origins, split_classifiers, weighted_members
from inference.forecast.forecast import image_sums
from inference.predict.image_list import OnError, Outcome, predict_listed
from inference.predict.shifts import shifted_input
from inference.predict.store import failure_path, prediction_path
from inference.progress import show
from inference.submission import ANSWERS, SubmissionSummary, make_submission, open_test_images
from inference.weights import LoadedModel, load_model
from pipeline.distributed.shards import share
from pipeline.prediction.block_oof import fold_folder, join_blocks, unjoined
from pipeline.prediction.drift import Drift, drift, image_features
from pipeline.prediction.image_gate import asked_classifier
from pipeline.prediction.oof_steps import held_out_rows, oof_steps
from pipeline.prediction.prediction_stages import decision_path, fold_stages, pick_devices
from pipeline.prediction.training_colours import fold_colours, kept_colours, shown_as
from pipeline.runs import Run, runs_fingerprint
from pipeline.stage import Stage, read_stage
from pipeline.workspace import Workspace, already, finish, finishing
from submissions.answers import answer_path
from submissions.host.listed_images import ListedImages


def fold_model(space: Workspace, fold: int) -> LoadedModel:
    """The trained model of a fold; FileNotFoundError where it is not trained to its end."""
    read_stage(space.fold(fold), f"04_train.py {space.experiment.name}")
    return load_model(space.fold(fold))


def fold_models(space: Workspace) -> dict[int, LoadedModel]:
    """The trained model of every used fold, as `fold_model`."""
    return {fold: fold_model(space, fold) for fold in space.experiment.used_folds}


def predict_oof(
    space: Workspace,
    folder: Path,
    *,
    only: Collection[str] | None = None,
    separate: bool = False,
    shift: str | None = None,
    models: Mapping[int, LoadedModel] | None = None,
    report: Callable[[str], None] = print,
) -> Iterator[tuple[int, int]]:
    """Predict each training image (or `only` these, or those of the shard) by the fold that held it out; yields (done,
    of how many).

    `separate` keeps the views apart, `shift` is what the images are seen under, `models` those of the folds where they
    are loaded already. Where folds hold out blocks of images,
    every fold that holds out a block of an image predicts it, and its file is joined of these blocks.
    """
    listing, _ = space.training_images()
    used = held_out_rows(space, only)
    joined = has_blocks(used)
    steps = oof_steps(used, space.shard)
    left = unjoined(steps, folder) if joined else steps
    total, done = len(steps), len(steps) - len(left)
    for fold in sorted(set(left["fold"])):
        model = fold_model(space, fold) if models is None else models[fold]
        if shift is not None:
            model = replace(model, input_config=shifted_input(model.input_config, shift))
        images = ListedImages(space.competition, space.data, listing)
        order = images.in_reading_order(left.loc[left["fold"] == fold, "image_id"].astype(str))
        where = fold_folder(folder, fold) if joined else folder
        for _ in predict_listed(
            [model], images, order, where, device=pick_devices(space), config=space.experiment.predict,
            separate=separate, shown=shown_as(shift, fold_colours(space, fold)), report=report,
        ):  # fmt: skip
            done += 1
            yield done, total
    if joined and space.shard is None:
        join_blocks(used, folder)


def load_members(runs: Sequence[Run], only: int | None = None) -> tuple[list[LoadedModel], list[Origin]]:
    """Models of all runs (of one fold, where given) with their origins."""
    folds = {run.name: [fold for fold in run.folds if only in (None, fold)] for run in runs}
    origins, named = interleaved_origins(folds), {run.name: run for run in runs}
    return [named[origin.experiment].model(origin.fold) for origin in origins], origins


def predict_fold(
    space: Workspace,
    runs: Sequence[Run],
    decision: Decision,
    *,
    fold: int,
    folder: Path,
    on_error: OnError,
    report: Callable[[str], None],
) -> Iterator[tuple[int, int]]:
    """The test images, or those of the shard, by the models of one fold; yields (done, of how many)."""
    models, origins = load_members(runs, fold)
    used, weights = weighted_members(models, origins, decision)
    images = open_test_images(space.competition, space.data)
    ids = share(images.ids, space.shard)
    outcomes = predict_listed(
        used, images, ids, folder, device=pick_devices(space), weights=weights, on_error=on_error, report=report,
        shown=shown_as(None, kept_colours(space)),
    )  # fmt: skip
    for done, _ in enumerate(outcomes, start=1):
        yield done, len(ids)


def predict_folds(space: Workspace, runs: Sequence[Run], decision: Decision, *, on_error: OnError) -> None:
    """Predict the test images by each fold alone, each a stage of its own."""
    for fold, stage in fold_stages(space, runs, decision).items():
        if not stage.begin(overwrite=space.overwrite, shared=space.shard is not None):
            already(stage)
            continue
        steps = predict_fold(
            space, runs, decision, fold=fold, folder=stage.folder, on_error=on_error, report=tqdm.write
        )
        show(steps, f"fold {fold}")
        ids = open_test_images(space.competition, space.data).ids
        left = 0 if space.shard is None else len(untested(ids, stage.folder))
        with finishing(stage, space.shard, left) as mine:
            if mine:
                finish(stage, f"{len(ids)} images predicted by fold {fold} alone")


def untested(image_ids: Sequence[str], folder: Path) -> list[str]:
    """The ids that have no prediction in `folder` and no note of a failure either."""
    return [
        name
        for name in image_ids
        if not prediction_path(folder, name).is_file() and not failure_path(folder, name).is_file()
    ]


def predict_test_shard(
    space: Workspace,
    runs: Sequence[Run],
    decision: Decision,
    *,
    folder: Path,
    on_error: OnError,
) -> Iterator[tuple[int, int]]:
    """The test images of the shard into the files that `predict_test` reads; yields (done, of how many)."""
    loaded, origins = load_members([*runs, *asked_classifier(space, decision)])
    images = open_test_images(space.competition, space.data)
    ids = share(images.ids, space.shard)
    members, kept, classifiers = split_classifiers(loaded, origins, decision)
    options: dict[str, Any] = {"device": pick_devices(space), "on_error": on_error, "report": tqdm.write}
    outcomes: list[Iterator[Outcome]] = []
    if classifiers:
        outcomes.append(predict_listed(classifiers, images, ids, folder / ANSWERS, **options))
    used, weights = weighted_members(members, kept, decision)
    options["shown"] = shown_as(None, kept_colours(space))
    outcomes.append(predict_listed(used, images, ids, folder, weights=weights, **options))
    for done, _ in enumerate(chain.from_iterable(outcomes), start=1):
        yield done, len(ids) * len(outcomes)


def left_of_test(space: Workspace, decision: Decision, folder: Path, folds: Mapping[int, Stage]) -> int:
    """Number of test images that no shard has predicted yet, by all that the decision asks and by each of `folds`."""
    ids = open_test_images(space.competition, space.data).ids
    asked = [folder / ANSWERS] if decision.classifier is not None else []
    asked += [folder, *(stage.folder for stage in folds.values())]
    return max(len(untested(ids, one)) for one in asked)


def predict_test(
    space: Workspace,
    runs: Sequence[Run],
    folder: Path,
    *,
    on_error: OnError,
    seconds: float | None,
    report: Callable[[str], None],
    progress: Any,
) -> tuple[SubmissionSummary, Drift | None, pd.DataFrame]:
    """The test images through the mean of all members and the decision of stage 06, into the answer.

    Also how far the test images are from those that the decision learned on, None where there is none; and what each
    prediction says about itself, one row per image with the columns of `image_sums`.
    """
    decision = load_decision(decision_path(space), fingerprint=runs_fingerprint(runs))
    features: list[dict[str, Any]] = []
    sums: list[dict[str, Any]] = []

    def keep(image_id: str, probs: np.ndarray, mask: Mask) -> None:
        features.append({"image_id": image_id, **image_features(probs, mask, decision)})
        sums.append({"image_id": image_id, **image_sums(probs, mask, decision)})

    models, origins = load_members([*runs, *asked_classifier(space, decision)])
    summary = make_submission(
        space.competition, space.data, models, decision, folder=folder, out=answer_path(space.competition, space.own),
        origins=origins, device=pick_devices(space), on_error=on_error, seconds=seconds,
        colours=kept_colours(space), report=report, progress=progress, decided=keep,
    )  # fmt: skip
    learned = pd.read_csv(space.own / "tuning" / "features.csv", dtype={"image_id": str})
    averaged = (len(runs), sum(len(run.folds) for run in runs))
    found = drift(learned, pd.DataFrame(features), models=averaged) if features else None
    return summary, found, pd.DataFrame(sums)
