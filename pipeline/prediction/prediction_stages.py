"""Stages 05 and 07 as stages: where they lie and what their fingerprints are made of. Nothing is predicted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from folds.blocks import has_blocks
from inference.colours import FILE as COLOURS
from inference.colours import load_colours
from inference.config import PredictConfig
from inference.decide.decision import Decision
from pipeline.data.fold_tables import open_folds
from pipeline.prediction.image_gate import asked_classifier
from pipeline.runs import JOINED, Run, split_apart, trained_inputs
from pipeline.stage import Stage, digest, read_stage
from pipeline.workspace import Workspace
from submissions.answers import answer_path
from submissions.host.sample import submission_format


def pick_devices(space: Workspace) -> str:
    """The device, or several with commas between them; raises ValueError where they differ in precision."""
    from inference.predict.devices import pick_device, split_devices
    from inference.predict.precision import resolve_precision

    if space.device is None or "," not in space.device:
        return str(pick_device(space.device))
    names = split_devices(space.device)
    found = {name: resolve_precision(space.experiment.predict.precision, name) for name in names}
    if len(set(found.values())) > 1:
        raise ValueError(
            f"--device: the devices would use different precisions ({found}); set predict.precision to one of them"
        )
    return ",".join(names)


def predict_settings(space: Workspace) -> dict[str, Any]:
    """Prediction settings as they enter a fingerprint: no memory cap, the precision as resolved."""
    from inference.predict.devices import split_devices
    from inference.predict.precision import resolve_precision

    config = space.experiment.predict
    settings = _dumped(config)
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


def decision_path(space: Workspace) -> Path:
    """Where stage 06 leaves the decision."""
    return space.own / "tuning" / "decision.json"


def run_settings(space: Workspace, runs: Sequence[Run]) -> dict[str, Any]:
    """Prediction settings of the runs as they enter a fingerprint; of an ensemble each member's."""
    own = predict_settings(space)
    if not space.experiment.members:
        return own
    machine = {key: own[key] for key in ("batch_size", "precision")}
    return {run.name: _dumped(run.predict) | machine for run in runs}


def _dumped(config: PredictConfig) -> dict[str, Any]:
    """Settings that a prediction depends on."""
    return config.model_dump(mode="json", exclude={"memory_cap_gb"})


def _test_inputs(space: Workspace, runs: Sequence[Run]) -> dict[str, str]:
    """What the test images' predictions depend on beside settings: weights, images, and colours they are shown in."""
    checked = read_stage(space.inventory, f"01_check_data.py {space.experiment.name}")
    colours = load_colours(decision_path(space).with_name(COLOURS))
    known = {} if colours is None else {"colours": digest(colours.model_dump(mode="json"))}
    return trained_inputs(runs) | {"inventory": str(checked["output"])} | known


def test_stage(space: Workspace, runs: Sequence[Run], decision: Decision) -> Stage:
    """Stage 07 of the experiment. Thresholds do not enter: predicted once, the test images are decided many times."""
    settings = {"predict": run_settings(space, runs), "views": decision.views, "weights": decision.weights}
    inputs = _test_inputs(space, runs)
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
    if not stage.done() or not answer_path(space.competition, space.own).exists():
        return False
    made = read_stage(stage.folder, stage.name)
    return written_by(space).items() <= made.items() and (budget or not made["given_up"])


def fold_stages(space: Workspace, runs: Sequence[Run], decision: Decision) -> dict[int, Stage]:
    """Stage 07 for each fold alone, which pseudo-labels read: the test images by that fold's models.

    Raises ValueError where the runs were split by different fold files, whose folds have nothing in common.
    """
    if split_apart(runs):
        raise ValueError(
            f"{space.experiment.name}: {', '.join(run.name for run in runs)} were split by different fold "
            "files, so their folds cannot be predicted one by one; leave out --keep-folds"
        )
    stages = {}
    for fold in sorted({fold for run in runs for fold in run.folds}):
        chosen = [replace(run, trained={fold: run.trained[fold]}) for run in runs if fold in run.folds]
        settings = {"fold": fold, "predict": run_settings(space, chosen)}
        settings |= {"views": decision.views, "weights": decision.weights}
        inputs = _test_inputs(space, chosen)
        stages[fold] = Stage("07_predict_test", space.own / "test_folds" / f"fold_{fold}", settings, inputs)
    return stages
