"""Shifted copies of out-of-fold images, each predicted by the model that did not see it: what low scores look like.

Where every out-of-fold score is high, nothing in them says how a prediction looks that is bad. A few images, each
seen under a few of COPIES, show it to the forecast (`pipeline.tuning.forecast`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.data.fold_tables import open_folds
from pipeline.prediction.oof_sample import spread_units, why_unfit
from pipeline.prediction.prediction_stages import held_out_inputs, oof_format, predict_settings
from pipeline.settings.tuning import COPIES
from pipeline.stage import Stage, read_stage
from pipeline.workspace import Workspace

FOLDER = "oof_copies"
EACH = 5  # shifts that an image is seen under
MOST_PIXELS = 2**28  # of all copies together: larger images are copied less often


def quiet(text: str) -> None:
    """What was said of the images as they are is not said again of every shift."""


def copy_plan(space: Workspace) -> dict[str, list[str]]:
    """Shift -> ids of the images that are seen under it; every shift about equally often, empty where there are none.

    At most `tune.copies` images in all, none where the task is to classify, spread over folds and groups; stacks stay
    whole where the contract scores stacks.
    """
    listing, _ = space.training_images()
    shifts = [text for text in COPIES if why_unfit(text, listing) is None]
    if not space.experiment.tune.copies or space.experiment.task == "classify" or not shifts:
        return {}
    folds, _ = open_folds(space)
    used = set(folds.loc[folds["fold"].isin(space.experiment.used_folds), "image_id"].astype(str))
    pixels = listing[["depth", "height", "width"]].astype(float).prod(axis=1)
    sizes = dict(zip(listing["image_id"].astype(str), pixels, strict=True))
    mean = sum(sizes[name] for name in used) / max(len(used), 1)
    most = min(space.experiment.tune.copies, int(MOST_PIXELS / max(mean, 1.0)))
    units = spread_units(space, most // EACH)
    plan: dict[str, list[str]] = {}
    for index, unit in enumerate(units):
        for turn in range(min(EACH, len(shifts))):
            plan.setdefault(shifts[(index * EACH + turn) % len(shifts)], []).extend(unit)
    return plan


def copies_stage(space: Workspace) -> Stage:
    """The part of stage 05 that predicts the copies."""
    settings = {**predict_settings(space), "copies": copy_plan(space)}
    return Stage("05_predict_oof", space.own / FOLDER, settings, held_out_inputs(space), oof_format(space))


def copies_folder(space_own: Path, shift: str) -> Path:
    """Where the predictions under a shift lie, below the folder of an experiment."""
    return space_own / FOLDER / shift.replace(":", "_")


def predict_copies(space: Workspace) -> Iterator[tuple[int, int]]:
    """Predict every copy that is not there yet; yields (done, of how many)."""
    from pipeline.prediction.prediction import fold_models, predict_oof

    plan = copy_plan(space)
    total, before = sum(map(len, plan.values())), 0
    models = fold_models(space)
    for shift, names in plan.items():
        folder = copies_folder(space.own, shift)
        for done, _ in predict_oof(space, folder, only=names, shift=shift, models=models, report=quiet):
            yield before + done, total
        before += len(names)


def finished_copies(folder: Path) -> tuple[dict[str, list[str]], str]:
    """Shift -> ids of the copies that stage 05 predicted below an experiment's folder, and their fingerprint.

    Nothing, and '', where it predicted none.
    """
    try:
        document = read_stage(folder / FOLDER, "05_predict_oof.py")
    except FileNotFoundError:
        return {}, ""
    plan: dict[str, list[str]] = document["identity"]["settings"]["copies"]
    return plan, str(document["fingerprint"])
