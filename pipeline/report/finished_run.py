"""A finished run read back from its folder: what the page and the notebooks are made of. Nothing is computed anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import Decision, load_decision
from pipeline.experiment import Experiment
from pipeline.inventory_table import read_inventory
from pipeline.origin import CONTRACT, data_of, is_run
from pipeline.prediction.oof import StoredItem, run_items
from pipeline.runs import Run, read_run
from pipeline.settings.tuning import TuneSettings
from pipeline.stage import DONE, read_stage
from pipeline.training.training_log import LOG, read_log
from pipeline.tuning.comparisons.paired import Mixed, mixed_items
from pipeline.tuning.comparisons.two_runs import member_names, metric_of, read_scores
from pipeline.tuning.measurements import shared_images, trained_settings
from pipeline.tuning.scores.units import Unit, make_units
from pipeline.workspace import Workspace
from submissions.host.competition import load_competition
from submissions.host.settings import validate
from submissions.kaggle.ledger import read_ledger
from submissions.metrics import Metric

TEXT = {"image_a": str, "image_b": str}


@dataclass(frozen=True)
class FinishedRun:
    """An experiment that stage 06 decided.

    runs: those whose out-of-fold predictions it decides, its own or its members'. tuned: the document of stage 06.
    scores: one row per scored unit (image_id, fold, group, stratum, the metric's columns, score).
    """

    space: Workspace
    runs: list[Run]
    tuned: dict[str, Any]
    decision: Decision
    metric: Metric
    scores: pd.DataFrame

    @property
    def folder(self) -> Path:
        """runs/<competition>/<experiment>."""
        return self.space.own

    @property
    def name(self) -> str:
        """The experiment's."""
        return self.space.experiment.name

    @property
    def settings(self) -> TuneSettings:
        """How it was tuned."""
        return self.space.experiment.tune

    @property
    def foreground(self) -> list[int]:
        """Indices of the classes that are scored and drawn: all but a background."""
        classes = self.space.competition.classes
        return [index for index in self.space.competition.scored_classes if classes[index] != "background"]

    @property
    def classifies(self) -> bool:
        """Whether it predicts the classes of whole images and draws no mask."""
        return self.space.experiment.task == "classify"

    @property
    def unpictured(self) -> str:
        """Why no picture can be drawn, as a part of a sentence; '' where they can."""
        if not self.space.data.is_dir():
            return f"the host's files are not in {self.space.data}; name them with --data"
        return f"{self.name} predicts whole images and has no masks" if self.classifies else ""

    @cached_property
    def units(self) -> list[Unit]:
        """The scored units, each with its images and their stored predictions, in the order of their names.

        Raises FileNotFoundError where the host's files are not where `space.data` says.
        """
        if not self.space.data.is_dir():
            raise FileNotFoundError(f"{self.space.data}: no such folder; name the host's files with --data")
        members: dict[str, list[StoredItem]] = {run.name: run_items(self.space, run) for run in self.runs}
        items: Sequence[StoredItem] | Sequence[Mixed] = members[self.runs[0].name]
        if len(members) > 1:
            items = mixed_items(shared_images(self.runs, members)[0], self.decision.weights)
        return make_units(items, self.space.competition.metric.unit)[0]

    @cached_property
    def training(self) -> pd.DataFrame:
        """Rows of the inventory's training images."""
        table, _ = read_inventory(self.space.inventory)
        return table[table["split"] == "train"].reset_index(drop=True)

    def thumbnails(self, image_ids: Sequence[str]) -> np.ndarray:
        """uint8 (N, 64, 64): the inventory's thumbnails of these training images."""
        table, thumbnails = read_inventory(self.space.inventory)
        train = table["split"] == "train"
        place = dict(zip(table.loc[train, "image_id"].astype(str), np.flatnonzero(train), strict=True))
        return np.asarray(thumbnails[[place[image_id] for image_id in image_ids]])

    def table(self, name: str) -> pd.DataFrame | None:
        """A table that stage 06 may have left (curves.csv, views.csv, shifts.csv); None where it did not."""
        path = self.folder / "tuning" / name
        return pd.read_csv(path) if path.is_file() else None

    def beside_folds(self, name: str) -> Path:
        """A file of stage 02 beside the fold file, whether it is there or not."""
        return self.space.shared / "folds" / self.runs[0].folds_hash / name

    def of_folds(self, name: str) -> pd.DataFrame | None:
        """balance.csv or leaks.csv of the fold file; None where stage 02 left none."""
        path = self.beside_folds(name)
        return pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values=[""]) if path.is_file() else None


def open_finished(folder: Path, *, data: Path | None = None, competition: str | Path | None = None) -> FinishedRun:
    """The run in runs/<competition>/<experiment>.

    data: the host's files, by default where they were when the run was made; competition: the contract, by default the
    one that lies in the run. Raises FileNotFoundError where stage 05 or 06 is not finished or no contract is there,
    ValueError where the folder was made from another contract.
    """
    tuned = read_stage(folder / "tuning", f"06_tune.py {folder.name}")
    remembered = folder / CONTRACT if is_run(folder) else folder.parent.name
    contract = load_competition(competition or remembered)
    if contract.name != folder.parent.name:
        raise ValueError(
            f"{folder} is a run of {folder.parent.name!r}, but the contract is {contract.name!r}; give the right one"
        )
    tune = validate(TuneSettings, tuned["identity"]["settings"]["tune"], str(folder / "tuning"))
    answering = [str(key).removeprefix("answers of ") for key in tuned["identity"]["inputs"] if "answers of " in key]
    tune = tune.model_copy(update={"gate": answering[0]}) if answering else tune
    experiment = Experiment(name=folder.name, competition=contract.name, tune=tune)
    space = Workspace(experiment, contract, data or data_of(folder, contract.name), folder.parent.parent)
    runs = [read_run(space, name) for name in member_names(tuned, folder.name)]
    task = trained_settings(runs[0], runs[0].folds[0]).get("task", "segment")
    space = replace(space, experiment=experiment.model_copy(update={"task": task}))
    decision = load_decision(folder / "tuning" / "decision.json")
    return FinishedRun(space, runs, tuned, decision, metric_of(tuned["identity"]["settings"]), read_scores(folder))


def finished_runs(runs: Path | str, competition: str | None = None) -> list[FinishedRun]:
    """Every experiment of a competition that stage 06 decided, by name; the notebooks begin with it.

    competition: by default the first of which something is finished. Contracts lie in the runs, and so does a hint at
    the host's files; else these are taken from data/<competition> beside the folder `runs`. Raises FileNotFoundError
    where nothing is finished.
    """
    runs = Path(runs)
    found = sorted(path.parents[1] for path in runs.glob(f"{competition or '*'}/*/tuning/{DONE}"))
    if not found:
        raise FileNotFoundError(f"{runs.resolve()}: no experiment is finished; run `make demo`, or name another folder")
    return [open_finished(path) for path in found if path.parent == found[0].parent]


def learning_curves(run: FinishedRun) -> pd.DataFrame:
    """One row per epoch and fold: experiment, fold, epoch, loss, learning_rate, score (NaN where not validated; of a
    classifier the accuracy)."""
    rows = []
    for each in run.runs:
        for fold in each.folds:
            for row in read_log(each.folder / f"fold_{fold}" / LOG):
                validated = row.get("validation") or {}
                score = validated.get("score", validated.get("accuracy"))
                known = {name: row.get(name) for name in ("epoch", "loss", "learning_rate")}
                rows.append({"experiment": each.name, "fold": fold, **known, "score": score})
    columns = ["experiment", "fold", "epoch", "loss", "learning_rate", "score"]
    return pd.DataFrame(rows, columns=columns).astype({"loss": float, "learning_rate": float, "score": float})


def stage_documents(run: FinishedRun) -> dict[str, dict[str, Any]]:
    """Every finished stage behind the run by a title, in order: what it was made from, and by which command."""
    shared = run.space.shared
    places = [shared / "inventory", shared / "folds" / run.runs[0].folds_hash]
    for each in run.runs:
        folds = [each.folder / f"fold_{fold}" for fold in each.folds]
        stores = {json.loads((path / DONE).read_text(encoding="utf-8"))["identity"]["inputs"].get("store")
                  for path in folds if (path / DONE).is_file()}  # fmt: skip
        places += [shared / "store" / str(name) for name in sorted(stores - {None})]
        places += [*folds, each.folder / "oof"]
    places += [run.folder / "oof_views", *sorted((run.folder / "oof_shifts").glob("*"))]
    places += [run.folder / "tuning", run.folder / "test"]
    found = {}
    for path in dict.fromkeys(places):
        if (path / DONE).is_file():
            found[path.relative_to(shared).as_posix()] = read_stage(path, "")
    return found


def fold_scores(run: FinishedRun) -> pd.DataFrame:
    """One row per fold: fold (int), score under the decision."""
    return pd.DataFrame(sorted((int(k), v) for k, v in run.tuned["folds"].items()), columns=["fold", "score"])


def ledger_rows(run: FinishedRun, ledger: Path) -> pd.DataFrame:
    """Rows of the ledger about this competition, as text; empty where there is none. Raises as `read_ledger` does."""
    table = read_ledger(ledger)
    return table[table["competition"] == run.space.competition.name].reset_index(drop=True)
