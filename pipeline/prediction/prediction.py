"""Stages 05 and 07 around the room `inference`: which models predict which images into which folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from folds.blocks import has_blocks
from inference.decide.decision import Decision, Mask, load_decision
from inference.forecast.forecast import image_sums
from inference.predict.devices import pick_device, split_devices
from inference.predict.image_list import OnError, Outcome, failure_path, predict_listed, prediction_path
from inference.predict.precision import resolve_precision
from inference.predict.shifts import ShiftedSource, shifted_input
from inference.progress import show
from inference.submission import (
    ANSWERS,
    Origin,
    SubmissionSummary,
    apart,
    in_turn,
    make_submission,
    member_shares,
    open_test_images,
    used_members,
    weighed,
)
from inference.weights import LoadedModel, load_model
from pipeline.data.fold_tables import open_folds
from pipeline.distributed.shards import share
from pipeline.prediction.block_oof import fold_folder, join_blocks, unjoined
from pipeline.prediction.drift import Drift, drift, image_features
from pipeline.prediction.image_gate import asked_classifier
from pipeline.prediction.oof_steps import held_out_rows, oof_steps
from pipeline.runs import JOINED, Run, open_runs, runs_fingerprint, split_apart, trained_inputs
from pipeline.stage import Stage, digest, read_stage
from pipeline.workspace import Workspace, already, finish, finishing, git_state
from submissions.host.listing import ListedImages
from submissions.host.sample import submission_format
from submissions.table.lint import lint_submission


def fold_model(space: Workspace, fold: int) -> LoadedModel:
    """The trained model of a fold; FileNotFoundError where it is not trained to its end."""
    read_stage(space.fold(fold), f"04_train.py {space.experiment.name}")
    return load_model(space.fold(fold))


def fold_models(space: Workspace) -> dict[int, LoadedModel]:
    """The trained model of every used fold, as `fold_model`."""
    return {fold: fold_model(space, fold) for fold in space.experiment.used_folds}


def pick_devices(space: Workspace) -> str:
    """The device, or several with commas between them; raises ValueError where they differ in precision."""
    if space.device is None or "," not in space.device:
        return str(pick_device(space.device))
    names = split_devices(space.device)
    found = {name: resolve_precision(space.experiment.predict.precision, name) for name in names}
    if len(set(found.values())) > 1:
        raise ValueError(f"--device: precision would be {found}; set predict.precision so that it is one")
    return ",".join(names)


def predict_settings(space: Workspace) -> dict[str, Any]:
    """Prediction settings as they enter a fingerprint: no memory cap, the precision as resolved."""
    config = space.experiment.predict
    settings = config.model_dump(mode="json", exclude={"memory_cap_gb"})
    settings["precision"] = resolve_precision(config.precision, split_devices(pick_devices(space))[0])
    return settings


def held_out_inputs(space: Workspace) -> dict[str, str]:
    """Fingerprints of the experiment's own trained folds and of its fold file."""
    script = f"04_train.py {space.experiment.name}"
    inputs = {f"fold_{k}": str(read_stage(space.fold(k), script)["fingerprint"]) for k in space.experiment.used_folds}
    return inputs | {"folds": open_folds(space)[1]}


def oof_stage(space: Workspace) -> Stage:
    """Stage 05 of the experiment."""
    return Stage(
        "05_predict_oof", space.own / "oof", predict_settings(space), held_out_inputs(space), oof_format(space)
    )


def oof_format(space: Workspace) -> int:
    """The format of the out-of-fold predictions: another where folds hold out blocks of images."""
    return JOINED if has_blocks(open_folds(space)[0]) else 1


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
            separate=separate, shown=None if shift is None else partial(ShiftedSource, text=shift), report=report,
        ):  # fmt: skip
            done += 1
            yield done, total
    if joined and space.shard is None:
        join_blocks(used, folder)


def decision_path(space: Workspace) -> Path:
    """Where stage 06 leaves the decision."""
    return space.own / "tuning" / "decision.json"


def load_members(runs: Sequence[Run], only: int | None = None) -> tuple[list[LoadedModel], list[Origin]]:
    """Models of all runs (of one fold, where given) with their origins."""
    folds = {run.name: [fold for fold in run.folds if only in (None, fold)] for run in runs}
    origins, named = in_turn(folds), {run.name: run for run in runs}
    return [named[origin.experiment].model(origin.fold) for origin in origins], origins


def run_settings(space: Workspace, runs: Sequence[Run]) -> dict[str, Any]:
    """Prediction settings of the runs as they enter a fingerprint; of an ensemble each member's."""
    own = predict_settings(space)
    if not space.experiment.members:
        return own
    machine = {key: own[key] for key in ("batch_size", "precision", "runtime")}
    return {run.name: run.predict.model_dump(mode="json", exclude={"memory_cap_gb"}) | machine for run in runs}


def test_stage(space: Workspace, runs: Sequence[Run], decision: Decision) -> Stage:
    """Stage 07 of the experiment. Thresholds do not enter: predicted once, the test images are decided many times."""
    checked = read_stage(space.inventory, f"01_check_data.py {space.experiment.name}")
    settings = {"predict": run_settings(space, runs), "views": decision.views, "weights": decision.weights}
    inputs = trained_inputs(runs) | {"inventory": str(checked["output"])}
    inputs |= {f"answers of {run.name}": run.oof for run in asked_classifier(space, decision)}
    return Stage("07_predict_test", space.own / "test", settings, inputs)


def written_by(space: Workspace) -> dict[str, str]:
    """What a submission is written by from predictions: fingerprint of the decision, digest of the contract's form."""
    tuned = read_stage(space.own / "tuning", f"06_tune.py {space.experiment.name}")
    form = submission_format(space.competition).model_dump(mode="json")
    dialect = space.competition.dialect.model_dump(mode="json")
    return {"tuning": str(tuned["fingerprint"]), "form": digest([form, dialect])}


def is_decided(space: Workspace, stage: Stage, *, budget: bool) -> bool:
    """Whether the submission was written, from these predictions, by the decision and in the form of now.

    What a time budget gave up then is only good enough where there is a `budget` now.
    """
    if not stage.done() or not (space.own / "submission.csv").is_file():
        return False
    made = read_stage(stage.folder, stage.name)
    return written_by(space).items() <= made.items() and (budget or not made["given_up"])


def fold_stages(space: Workspace, runs: Sequence[Run], decision: Decision) -> dict[int, Stage]:
    """Stage 07 for each fold alone, which votes and pseudo-labels read: the test images by that fold's models.

    Raises ValueError where the runs were split by different fold files, whose folds have nothing in common.
    """
    if split_apart(runs):
        raise ValueError(
            f"{space.experiment.name}: {', '.join(run.name for run in runs)} were split by different fold files, so "
            "there is no fold to predict alone; leave out tune.vote and --keep-folds"
        )
    checked = read_stage(space.inventory, f"01_check_data.py {space.experiment.name}")
    stages = {}
    for fold in sorted({fold for run in runs for fold in run.folds}):
        chosen = [replace(run, trained={fold: run.trained[fold]}) for run in runs if fold in run.folds]
        settings = {"fold": fold, "predict": run_settings(space, chosen)}
        settings |= {"views": decision.views, "weights": decision.weights}
        inputs = trained_inputs(chosen) | {"inventory": str(checked["output"])}
        stages[fold] = Stage("07_predict_test", space.own / "test_folds" / f"fold_{fold}", settings, inputs)
    return stages


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
    images = open_test_images(space.competition, space.data)
    ids = share(images.ids, space.shard)
    outcomes = predict_listed(
        used_members(models, decision), images, ids, folder, device=pick_devices(space),
        weights=member_shares(decision, origins, len(models)), on_error=on_error, report=report,
    )  # fmt: skip
    for done, _ in enumerate(outcomes, start=1):
        yield done, len(ids)


def predict_folds(space: Workspace, runs: Sequence[Run], decision: Decision, *, on_error: OnError) -> dict[int, Path]:
    """Predict the test images by each fold alone, each a stage of its own; fold -> folder."""
    stages = fold_stages(space, runs, decision)
    for fold, stage in stages.items():
        if not stage.begin(overwrite=space.overwrite):
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
    return {fold: stage.folder for fold, stage in stages.items()}


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
    report: Callable[[str], None] = tqdm.write,
) -> Iterator[tuple[int, int]]:
    """The test images of the shard into the files that `predict_test` reads; yields (done, of how many).

    Where folds vote, these are made by `predict_folds`, but for those of the decision's classifier.
    """
    loaded, origins = load_members([*runs, *asked_classifier(space, decision)])
    images = open_test_images(space.competition, space.data)
    ids = share(images.ids, space.shard)
    members, kept, classifiers = apart(loaded, origins, decision)
    options: dict[str, Any] = {"device": pick_devices(space), "on_error": on_error, "report": report}
    outcomes: list[Iterator[Outcome]] = []
    if classifiers:
        outcomes.append(predict_listed(classifiers, images, ids, folder / ANSWERS, **options))
    if not decision.vote:
        used, weights = weighed(used_members(members, decision), member_shares(decision, kept, len(members)))
        outcomes.append(predict_listed(used, images, ids, folder, weights=weights, **options))
    for done, _ in enumerate(chain.from_iterable(outcomes), start=1):
        yield done, len(ids) * len(outcomes)


def left_of_test(space: Workspace, decision: Decision, folder: Path, folds: Mapping[int, Stage]) -> int:
    """Number of test images that no shard has predicted yet, by all that the decision asks and by each of `folds`."""
    ids = open_test_images(space.competition, space.data).ids
    asked = [folder / ANSWERS] if decision.classifier is not None else []
    asked += [] if decision.vote else [folder]
    asked += [stage.folder for stage in folds.values()]
    return max((len(untested(ids, one)) for one in asked), default=0)


def predict_test(
    space: Workspace,
    runs: Sequence[Run],
    folder: Path,
    *,
    fold_folders: Mapping[int, Path],
    on_error: OnError,
    seconds: float | None,
    report: Callable[[str], None],
    progress: Any,
) -> tuple[SubmissionSummary, Drift | None, pd.DataFrame]:
    """The test images through the mean of all members and the decision of stage 06, into submission.csv.

    Also how far the test images are from those that the decision learned on, None where there is none; and what each
    prediction says about itself, a row an image with the columns of `image_sums`.
    """
    decision = load_decision(decision_path(space), fingerprint=runs_fingerprint(runs))
    features: list[dict[str, Any]] = []
    sums: list[dict[str, Any]] = []

    def keep(image_id: str, probs: np.ndarray, mask: Mask) -> None:
        features.append({"image_id": image_id, **image_features(probs, mask, decision)})
        sums.append({"image_id": image_id, **image_sums(probs, mask, decision)})

    models, origins = load_members([*runs, *asked_classifier(space, decision)])
    summary = make_submission(
        space.competition, space.data, models, decision, folder=folder, out=space.own / "submission.csv",
        origins=origins, fold_folders=fold_folders, device=pick_devices(space), on_error=on_error, seconds=seconds,
        report=report, progress=progress, decided=keep,
    )  # fmt: skip
    learned = pd.read_csv(space.own / "tuning" / "features.csv", dtype={"image_id": str})
    averaged = (len(runs), sum(len(run.folds) for run in runs))
    found = drift(learned, pd.DataFrame(features), models=averaged) if features else None
    return summary, found, pd.DataFrame(sums)


def lint_own(space: Workspace, path: Path) -> list[str]:
    """Warnings about the submission; ValueError with all errors where there are any."""
    training, _ = space.training_images()
    findings = lint_submission(path, space.competition, space.data, training=training)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise ValueError("\n".join([f"{path}: the linter refuses it:", *(f"  {error}" for error in errors)]))
    return [str(finding) for finding in findings]


def lint_written(space: Workspace, path: Path) -> list[str]:
    """As `lint_own`, of a submission just written: with errors it does not keep its name, which stage 09 takes."""
    refused = path.with_name("submission.refused.csv")
    try:
        warnings = lint_own(space, path)
    except ValueError as error:
        path.replace(refused)
        raise ValueError(f"{error}\n  it is kept as {refused}") from error
    refused.unlink(missing_ok=True)
    return warnings


def bundle_facts(space: Workspace) -> dict[str, Any]:
    """What a bundle's manifest says of where it comes from: cross-validation, fingerprints, the code's state."""
    tuned = read_stage(space.own / "tuning", f"06_tune.py {space.experiment.name}")
    cv = {name: tuned[name] for name in ("metric", "score", "interval", "nested", "prediction")}
    return {"cv": cv, "inputs": trained_inputs(open_runs(space)), "git": git_state(Path(__file__).parent)}
