"""The out-of-fold predictions of an experiment, one item an image, as stage 06 and the reports read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.listed import prediction_path
from inference.store import open_prediction
from inference.submission import decision_group
from pipeline.folding import open_folds
from pipeline.inventory import read_inventory
from pipeline.stage import Stage, read_stage
from pipeline.workspace import Workspace
from submissions.masks import MaskReader, Truth


@dataclass(frozen=True)
class StoredItem:
    """An image whose prediction lies on disk; nothing is read before it is asked for."""

    image_id: str
    fold: int
    group: str
    stratum: str
    stack: str
    z: int
    fields: Mapping[str, Any]
    path: Path
    masks: MaskReader

    def probs(self) -> np.ndarray:
        """uint8 (channels, H, W), or (channels, Z, H, W) of a volume."""
        with open_prediction(self.path) as prediction:
            return prediction.read()

    def truth(self) -> Truth:
        """What the host says is there."""
        depth, height, width = (int(self.fields[name]) for name in ("depth", "height", "width"))
        return self.masks.read(self.fields, (depth, height, width))


def oof_items(space: Workspace, folder: Path | None = None) -> list[StoredItem]:
    """Every image of the used folds with its prediction in `folder` (default: the experiment's oof)."""
    folder = folder or space.own / "oof"
    read_stage(folder, f"05_predict_oof.py {space.experiment.name}")
    listing, _ = space.training_images()
    folds, _ = open_folds(space)
    masks = MaskReader(space.competition, space.data)
    rows = {str(row["image_id"]): row for row in listing.to_dict("records")}
    used = folds[folds["fold"].isin(space.experiment.used_folds)].drop_duplicates("image_id")
    items = []
    for image_id, fold, group in zip(used["image_id"].astype(str), used["fold"], used["group"], strict=True):
        row = {str(name): value for name, value in rows[image_id].items()}
        items.append(
            StoredItem(
                image_id, int(fold), str(group), decision_group(space.competition, row) or "",
                str(row["stack"]), int(row["z"]), row, prediction_path(folder, image_id), masks,
            )
        )  # fmt: skip
    return items


def oof_channels(items: Sequence[StoredItem]) -> list[str]:
    """Names of the channels that the predictions have."""
    with open_prediction(items[0].path) as prediction:
        return prediction.channels


def tune_stage(space: Workspace) -> Stage:
    """Stage 06 of the experiment."""
    predicted = read_stage(space.own / "oof", f"05_predict_oof.py {space.experiment.name}")
    settings = {
        "tune": space.experiment.tune.model_dump(mode="json"),
        "metric": space.competition.metric.model_dump(mode="json"),
    }
    return Stage("06_tune", space.own / "tuning", settings, {"oof": str(predicted["fingerprint"])})


def test_groups(space: Workspace) -> int | None:
    """Groups behind the leaderboard: of the test images where they have the contract's group, else the images."""
    table, _ = read_inventory(space.inventory)
    test = table[table["split"] == "test"]
    group = space.experiment.folds.group or space.competition.group
    if group in test and bool(test[group].notna().all()):
        return int(test[group].nunique()) or None
    return len(test) or None
