"""A run knows where it came from: the experiment and the contract as used lie in its folder, with a hint at the data.

`runs/<competition>/<experiment>/experiment.yaml` and `competition.yaml` run as they are; `origin.json` says where the
host's files were. So a run's folder is enough for whatever reads it, and can be given in place of an experiment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.experiment import Experiment
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.listing import LAYER_SEPARATOR
from submissions.host.settings import read_yaml

EXPERIMENT, CONTRACT, ORIGIN = "experiment.yaml", "competition.yaml", "origin.json"
# The sections that a stage has verified when it ends: it made them, or found them made alike.
VERIFIED: dict[str, tuple[str, ...]] = {
    "01": (),
    "02": ("folds", "seed", "limit"),
    "03": ("prepare", "input"),
    "04": ("model", "loss", "augment", "external", "train", "input", "task", "seed"),
    "05": ("predict",),
    "06": ("tune", "members"),
    "07": (),
}


def remember(folder: Path, number: str, *, experiment: Experiment, competition: Competition, data: Path) -> None:
    """Note in a run's folder what stage `number`, which ended well, used; sections of other stages stay as they used
    them."""
    now = experiment.model_dump(mode="json")
    if experiment.folds.repeats > 1:
        now["members"] = []  # they follow from the repeats
    before = read_yaml(folder / EXPERIMENT) if (folder / EXPERIMENT).is_file() else {}
    kept = {key: value for key, value in before.items() if key in now and key not in VERIFIED[number]}
    document = {**now, **kept, "name": experiment.name, "competition": CONTRACT}
    _write(folder / EXPERIMENT, f"# As used by {experiment.name}; can be run as it is.", document)
    contract = competition.model_dump(mode="json", exclude_unset=True)
    if competition.metric.file is not None:
        contract["metric"]["file"] = _copied(Path(competition.metric.file), folder).name
    _write(folder / CONTRACT, f"# The contract as used by {experiment.name}.", contract)
    place = {"data": str(data.resolve()), "beside": os.path.relpath(data.resolve(), folder.resolve())}
    write_atomic(folder / ORIGIN, json.dumps(place, indent=1) + "\n")


def _copied(file: Path, folder: Path) -> Path:
    """The host's metric in the run's folder, so that the run is enough."""
    target = folder / file.name
    if not (target.is_file() and target.samefile(file)):
        write_atomic(target, file.read_text(encoding="utf-8"))
    return target


def _write(path: Path, head: str, document: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=110)
    write_atomic(path, f"{head}\n{text}")


def is_run(folder: Path) -> bool:
    """Whether a folder is a run that remembers its experiment."""
    return (folder / EXPERIMENT).is_file() and (folder / CONTRACT).is_file()


def data_of(folder: Path, name: str) -> Path:
    """The host's files of a run: where they were, by path or as seen from the run; else data/<name>, where the user
    stands or beside the folder of all runs.

    A place counts where it holds the first file of the inventory: a folder may stand where the files no longer are.
    Where none does, the first folder that exists, else the first place, for messages.
    """
    places = [Path("data") / name, folder.resolve().parents[2] / "data" / name]
    if (folder / ORIGIN).is_file():
        place = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        places = [Path(place["data"]), folder / place["beside"], *places]
    known = _first_file(folder.parent / "inventory" / "inventory.csv")
    holding = [path for path in places if (path / known).exists()] if known else []
    return next(iter([*holding, *(path for path in places if path.is_dir()), *places]))


def _first_file(inventory: Path) -> str | None:
    """The path of the first image, below the host's files, or None of a run without an inventory."""
    if not inventory.is_file():
        return None
    rows = pd.read_csv(inventory, nrows=1, dtype=str, keep_default_na=False)
    return str(rows["path"].iloc[0]).split(LAYER_SEPARATOR)[0] if len(rows) else None
