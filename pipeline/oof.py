"""The out-of-fold predictions of an experiment, one item an image, as stage 06 and the reports read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.listed import prediction_path
from inference.store import open_prediction
from inference.submission import decision_group
from pipeline.inventory import read_inventory
from pipeline.oof_sample import finished_parts
from pipeline.runs import Run, read_run
from pipeline.stage import Stage
from pipeline.workspace import Workspace
from submissions.masks import MaskReader, Truth


@dataclass(frozen=True)
class StoredItem:
    """An image whose prediction lies on disk; nothing is read before it is asked for.

    view: the test-time view that is read, of a file that holds views apart; '' of any other file.
    """

    image_id: str
    fold: int
    group: str
    stratum: str
    stack: str
    z: int
    fields: Mapping[str, Any]
    path: Path
    masks: MaskReader
    view: str = ""

    def probs(self) -> np.ndarray:
        """uint8 (channels, H, W), or (channels, Z, H, W) of a volume."""
        with open_prediction(self.path) as prediction:
            if not self.view:
                return prediction.read()
            names = [name for name in prediction.channels if name.startswith(f"{self.view}/")]
            return np.stack([prediction.read(name) for name in names])

    def truth(self) -> Truth:
        """What the host says is there."""
        depth, height, width = (int(self.fields[name]) for name in ("depth", "height", "width"))
        return self.masks.read(self.fields, (depth, height, width))


def run_items(
    space: Workspace, run: Run, folder: Path | None = None, *, only: Collection[str] | None = None, view: str = ""
) -> list[StoredItem]:
    """Every image of a run (or `only` these) with its prediction in `folder`, by default the run's oof/."""
    table, _ = read_inventory(space.inventory)
    rows = {str(row["image_id"]): row for row in table[table["split"] == "train"].to_dict("records")}
    masks = MaskReader(space.competition, space.data)
    used = run.table(space)
    items = []
    for image_id, fold, group in zip(used["image_id"].astype(str), used["fold"], used["group"], strict=True):
        if only is not None and image_id not in only:
            continue
        row = {str(name): value for name, value in rows[image_id].items()}
        items.append(
            StoredItem(
                image_id, int(fold), str(group), decision_group(space.competition, row) or "", str(row["stack"]),
                int(row["z"]), row, prediction_path(folder or run.folder / "oof", image_id), masks, view,
            )
        )  # fmt: skip
    return items


def oof_channels(items: Sequence[StoredItem]) -> list[str]:
    """Names of the channels that the predictions have."""
    with open_prediction(items[0].path) as prediction:
        return prediction.channels


def tune_stage(space: Workspace, runs: Sequence[Run]) -> Stage:
    """Stage 06 of the experiment, on the predictions of these runs."""
    settings = {
        "tune": space.experiment.tune.model_dump(mode="json"),
        "metric": space.competition.metric.model_dump(mode="json"),
    }
    alone = len(runs) == 1 and not space.experiment.members
    inputs = {"oof" if alone else f"oof of {run.name}": run.oof for run in runs}
    inputs |= {f"sample {part.title}": fingerprint for part, fingerprint in finished_parts(space)}
    second = space.experiment.tune.second_seed
    if second is not None:
        inputs[f"oof of {second}"] = read_run(space, second).oof
    return Stage("06_tune", space.own / "tuning", settings, inputs)


def test_groups(space: Workspace) -> int | None:
    """Groups behind the leaderboard: of the test images where they have the contract's group, else the images."""
    table, _ = read_inventory(space.inventory)
    test = table[table["split"] == "test"]
    group = space.experiment.folds.group or space.competition.group
    if group in test and bool(test[group].notna().all()):
        return int(test[group].nunique()) or None
    return len(test) or None
