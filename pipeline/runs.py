"""Finished runs whose weights and out-of-fold predictions are read: an experiment's own, or those of its members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from folds.blocks import has_blocks
from folds.foldfile import read_folds
from inference.config import PredictConfig
from pipeline.data.fold_tables import open_folds
from pipeline.stage import digest, read_stage
from pipeline.workspace import Workspace
from submissions.host.settings import validate

if TYPE_CHECKING:
    from inference.weights import LoadedModel

AS_PROBS = "out-of-fold predictions of members are averaged as probabilities, to which thresholds are fitted"
JOINED = 2  # format of out-of-fold predictions whose files are joined of blocks, each by the fold that held it out


@dataclass(frozen=True)
class Run:
    """An experiment that stage 05 finished, as it lies under runs/<competition>/.

    folds: those that were trained; folds_hash: of the fold file; predict: how its images were predicted; trained:
    fingerprints by fold; oof: fingerprint of its out-of-fold predictions; inventory: hash of the images predicted,
    None of a run that does not say; format: of its out-of-fold predictions.
    """

    name: str
    folder: Path
    folds: list[int]
    folds_hash: str
    predict: PredictConfig
    trained: dict[int, str]
    oof: str
    inventory: str | None = None
    format: int = 1

    def table(self, space: Workspace) -> pd.DataFrame:
        """Its fold table: the rows of the folds that were trained, one per image or a block of an image.

        Raises ValueError where images cut into blocks were predicted whole by one fold.
        """
        table = read_folds(space.shared / "folds" / self.folds_hash / "folds.csv")
        if has_blocks(table) and self.format < JOINED:
            raise ValueError(
                f"{self.folder}: its images were predicted whole by one fold each, though several folds hold out "
                f"blocks of them; run 05_predict_oof.py {self.name} --overwrite"
            )
        return table[table["fold"].isin(self.folds)]

    def model(self, fold: int) -> LoadedModel:
        """The model of a fold, with the prediction settings of the run."""
        from inference.weights import load_model

        return replace(load_model(self.folder / f"fold_{fold}"), predict_config=self.predict)


def read_run(space: Workspace, name: str) -> Run:
    """The run of an experiment of this competition; what only concerns the machine is taken from this experiment.

    Raises FileNotFoundError that names stage 05 where it is not finished.
    """
    folder = space.shared / name
    document = read_stage(folder / "oof", f"05_predict_oof.py {name}")
    inputs: dict[str, Any] = document["identity"]["inputs"]
    machine = space.experiment.predict.model_dump(include={"memory_cap_gb", "batch_size", "precision"})
    settings = validate(PredictConfig, {**document["identity"]["settings"], **machine}, str(folder / "oof"))
    trained = {int(key.removeprefix("fold_")): str(value) for key, value in inputs.items() if key.startswith("fold_")}
    fingerprint, inventory = str(document["fingerprint"]), document.get("inventory")
    folds, made = str(inputs["folds"]), int(document["identity"]["format"])
    return Run(name, folder, sorted(trained), folds, settings, trained, fingerprint, inventory, made)


def open_runs(space: Workspace) -> list[Run]:
    """The members of an ensemble in their order, or the experiment's own run alone.

    Members may be split by different fold files: each has its out-of-fold predictions by models that, by its own
    file, never trained on the image. Raises ValueError for a member named twice, for one whose images are not those
    that lie in the inventory now, or whose logits were averaged, and where the experiment's prediction settings are no
    longer those of its own run.
    """
    members, name = space.experiment.members, space.experiment.name
    if not members:
        own = read_run(space, name)
        _check_predicted_alike(own, space.experiment.predict)
        open_folds(space)  # refuses a split that changed since
        return [own]
    if len(set(members)) < len(members) or name in members:
        raise ValueError(f"{name}: members are {members}, expected other experiments, each once")
    check_ensemble(space)
    runs = [read_run(space, member) for member in members]
    _, inventory = space.training_images()
    for run in runs:
        if run.inventory not in (None, inventory):
            raise ValueError(
                f"{name}: {run.name!r} predicted the images of inventory {run.inventory}, that of now is {inventory}: "
                "other files, or other pixels; make that member again from stage 03 on, or leave it out"
            )
        if run.predict.merge != "probs":
            raise ValueError(
                f"{name}: {run.name!r} was predicted with predict.merge=logits, but {AS_PROBS}; run "
                f"05_predict_oof.py {run.name} --set predict.merge=probs --overwrite, or leave it out"
            )
    return runs


def _check_predicted_alike(run: Run, config: PredictConfig) -> None:
    there, now = run.predict.model_dump(mode="json"), config.model_dump(mode="json")
    other = [f"predict.{key} there {there[key]!r}, now {now[key]!r}" for key in now if there[key] != now[key]]
    if other:
        raise ValueError(
            f"{run.folder / 'oof'}: predicted otherwise: {'; '.join(other)}. A decision fits images predicted as those "
            "that it was learned from; leave the settings as they were, or run "
            f"05_predict_oof.py {run.name} --overwrite, then 06 and 07"
        )


def check_weights(runs: Sequence[Run]) -> None:
    """Raises ValueError where weights are no longer those that predicted out of fold, which the decision is for.

    Raises FileNotFoundError where a fold is not trained to its end.
    """
    for run in runs:
        for fold, predicted_by in run.trained.items():
            folder = run.folder / f"fold_{fold}"
            if read_stage(folder, f"04_train.py {run.name}")["fingerprint"] != predicted_by:
                raise ValueError(
                    f"{folder}: trained again since its out-of-fold images were predicted; the decision belongs to "
                    f"other weights: run 05_predict_oof.py {run.name} --overwrite, then 06 and 07"
                )


def check_ensemble(space: Workspace) -> None:
    """Raises ValueError where an ensemble asks for what only a trained experiment has."""
    if space.experiment.tune.sample:
        raise ValueError(f"{space.experiment.name}: an ensemble predicts no image of its own; leave out tune.sample")
    if space.experiment.repeated and space.experiment.predict.merge != "probs":
        raise ValueError(
            f"{space.experiment.name}: folds.repeats makes an ensemble, but {AS_PROBS}; set predict.merge=probs"
        )


def runs_fingerprint(runs: Sequence[Run]) -> str:
    """Fingerprint of the out-of-fold predictions of one run, or of several together."""
    return runs[0].oof if len(runs) == 1 else digest([[run.name, run.oof] for run in runs])


def split_apart(runs: Sequence[Run]) -> bool:
    """Whether the runs were split by different fold files."""
    return len({run.folds_hash for run in runs}) > 1


def trained_inputs(runs: Sequence[Run]) -> dict[str, str]:
    """Fingerprints of all trained folds, and the hash of the fold file, or of each run's, as a stage's inputs."""
    alone = len(runs) == 1
    found = {
        f"fold_{fold}" if alone else f"{run.name} fold_{fold}": value
        for run in runs
        for fold, value in run.trained.items()
    }
    if split_apart(runs):
        return found | {f"{run.name} folds": run.folds_hash for run in runs}
    return found | {"folds": runs[0].folds_hash}


def trained_spaces(space: Workspace, stage: str) -> list[Workspace]:
    """What a stage of training works on: the experiment, a member a split where they are repeated, else nothing.

    Says so where the experiment is an ensemble of others, which the stage has nothing to do for. Raises ValueError as
    `check_ensemble`, before anything is trained.
    """
    experiment = space.experiment
    if not experiment.members:
        return [space]
    check_ensemble(space)
    if not experiment.repeated:
        print(f"{stage}: {experiment.name} is an ensemble of {', '.join(experiment.members)}; nothing to do")
    return [replace(space, experiment=split) for split in experiment.repeated]
