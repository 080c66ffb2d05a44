"""The image-level gate: the classifier experiment that `tune.gate` names, and its image-level probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from inference.config import SETTINGS_FILE, ModelConfig
from inference.decide.decision import Decision
from inference.models.table import is_classifier
from inference.predict.store import prediction_path
from pipeline.data.fold_tables import open_folds
from pipeline.runs import Run, read_run
from pipeline.workspace import Workspace


def gate_run(space: Workspace) -> Run | None:
    """The classifier's finished run, None where the experiment names none.

    Raises FileNotFoundError that names stage 05 where it is not finished, ValueError where it is no classifier.
    """
    name = space.experiment.tune.gate
    if name is None:
        return None
    run = read_run(space, name)
    settings = json.loads((run.folder / f"fold_{run.folds[0]}" / SETTINGS_FILE).read_text(encoding="utf-8"))
    architecture = settings["model"]["architecture"]
    if not is_classifier(ModelConfig(architecture=architecture)):
        raise ValueError(
            f"tune.gate: {name!r} is a {architecture}, which predicts pixels; name an experiment with task: classify"
        )
    return run


def asked_classifier(space: Workspace, decision: Decision) -> list[Run]:
    """The run of the classifier whose image-level probabilities a decision uses; none where it uses none."""
    return [] if decision.classifier is None else [read_run(space, decision.classifier)]


def gate_folder(space: Workspace, run: Run) -> Path | None:
    """Folder of the classifier's out-of-fold image-level probabilities for the images of a run; None without a
    classifier.

    Raises ValueError where the two were split by different fold files, or the classifier lacks folds: it would then
    have been trained on images that it predicts.
    """
    gate = gate_run(space)
    if gate is None:
        return None
    _check_folds(gate, run.name, run.folds, run.folds_hash)
    return gate.folder / "oof"


def check_gate(space: Workspace) -> None:
    """Raises ValueError as `gate_folder` would, before the experiment is trained, as far as its folds are made."""
    gate = gate_run(space)
    try:
        own = open_folds(space)[1]
    except (FileNotFoundError, ValueError):
        return  # stage 02 is still to come, or to be made again
    if gate is not None:
        _check_folds(gate, space.experiment.name, space.experiment.used_folds, own)


def _check_folds(gate: Run, name: str, folds: Sequence[int], folds_hash: str) -> None:
    if gate.folds_hash != folds_hash or not set(folds) <= set(gate.folds):
        raise ValueError(
            f"tune.gate: {gate.name!r} has the folds {gate.folds} of the fold file {gate.folds_hash}, but "
            f"{name!r} has {list(folds)} of {folds_hash}: its predictions would not be out of fold; train "
            "it again with 02_make_folds.py --folds and the other's folds.csv"
        )


def gate_path(folder: Path | None, image_id: str) -> Path | None:
    """The classifier's prediction of an image."""
    return None if folder is None else prediction_path(folder, image_id)


def only_a_gate(space: Workspace, stage: str) -> bool:
    """Whether the experiment classifies images of a contract that wants masks; says what it is good for."""
    if not space.only_a_gate:
        return False
    name = space.experiment.name
    print(
        f"{stage}: {name} predicts whole images, so there is nothing to do here. Another experiment can use "
        f"it as its gate: tune.gate={name}"
    )
    return True
