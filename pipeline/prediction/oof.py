"""The out-of-fold (OOF) predictions of an experiment, one item per image or block, as stage 06 and the reports read
them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from folds.blocks import Block, blocks_of, extent
from inference.config import level_channels
from inference.decide.decision import decision_column, decision_group
from inference.predict.store import open_prediction, prediction_path, with_gate
from pipeline.inventory_table import read_inventory
from pipeline.prediction.copies import finished_copies
from pipeline.prediction.image_gate import gate_folder, gate_path, gate_run
from pipeline.prediction.oof_sample import finished_parts
from pipeline.runs import Run
from pipeline.stage import Stage
from pipeline.workspace import Workspace
from submissions.host.answer_size import probs_at_answer, truth_at_answer
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader, Truth, classes_shown, shared_reader
from submissions.host.patterns import FIELD

TUNE_FORMAT = 3  # 3: the forecast weighs images as they are twice as much as their copies


@dataclass(frozen=True)
class OofItem(ABC):
    """One image, or a block of one, with its prediction by the model that did not see it, and its truth, both read
    when asked for.

    group: images that belong together (patient), drawn whole by the bootstrap. stratum: what thresholds by group are
    for (organ). stack, z: where the contract scores stacks. fields: what the submission's templates name. block: the
    part of the image that this is, None of a whole one; `image_id` names the part, `fields` speak of all of it. To be
    worked on by several processes, an item must be picklable (paths, not open files).
    """

    image_id: str
    fold: int
    group: str
    stratum: str
    stack: str
    z: int
    fields: Mapping[str, Any]
    block: Block | None = field(default=None, kw_only=True)

    @abstractmethod
    def probs(self) -> np.ndarray:
        """uint8 (channels, H, W), or (channels, Z, H, W) of a volume."""

    @abstractmethod
    def truth(self) -> Truth:
        """What the host says is there."""


@dataclass(frozen=True)
class StoredItem(OofItem):
    """An item whose prediction lies on disk.

    view: the test-time view that is read, of a file that holds views apart; '' of any other file. gate_file: the
    prediction of the classifier that gates this image, whose channels come last. whole: the prediction is a
    classifier's own.
    """

    path: Path
    masks: MaskReader
    view: str = ""
    gate_file: Path | None = None
    whole: bool = False

    @property
    def channels(self) -> list[str]:
        """Names of the channels of `probs`."""
        with open_prediction(self.path) as prediction:
            names = prediction.channels
        if self.gate_file is None:
            return names
        with open_prediction(self.gate_file) as said:
            return [*names, *level_channels("classifier", said.channels)]

    def probs(self) -> np.ndarray:
        """uint8 (channels, H, W) at the size that the host wants, or (channels, Z, H, W) of a volume."""
        rows, cols = extent(self.block)
        with open_prediction(self.path) as prediction:
            if not self.view:
                probs = prediction.read(rows=rows, cols=cols)
            else:
                names = [name for name in prediction.channels if name.startswith(f"{self.view}/")]
                probs = np.stack([prediction.read(name, rows=rows, cols=cols) for name in names])
        probs = probs if self.gate_file is None else with_gate(probs, self.gate_file)
        return probs_at_answer(self.masks.competition, probs)

    def truth(self) -> Truth:
        """What the host says is there; where `whole`, which classes the image shows, as one pixel."""
        depth, height, width = (int(self.fields[name]) for name in ("depth", "height", "width"))
        truth = self.masks.read(self.fields, (depth, height, width))
        truth = truth if self.block is None else truth.window(*extent(self.block))
        if self.whole:
            return Truth(classes_shown(truth)[:, None, None, None])
        return truth_at_answer(self.masks.competition, truth)


def run_items(
    space: Workspace, run: Run, folder: Path | None = None, *, only: Collection[str] | None = None, view: str = ""
) -> list[StoredItem]:
    """Every image of a run (or `only` these) with its prediction in `folder`, by default the run's oof/.

    Where folds hold out blocks of images, every block of a trained fold, in its image's group. Raises as `Run.table`.
    """
    table, _ = read_inventory(space.inventory)
    wanted = (table["split"] == "train") & (True if only is None else table["image_id"].astype(str).isin(set(only)))
    rows = {str(row["image_id"]): row for row in table[wanted].to_dict("records")}
    masks = shared_reader(space.competition, space.data)
    used, gates = run.table(space), gate_folder(space, run)
    whole = space.experiment.task == "classify"
    items = []
    places = zip(used["image_id"].astype(str), used["fold"], used["group"], blocks_of(used), strict=True)
    for image_id, fold, group, block in places:
        if only is not None and image_id not in only:
            continue
        row = {str(name): value for name, value in rows[image_id].items()}
        items.append(
            StoredItem(
                image_id if block is None else block.named(image_id), int(fold),
                str(group) if block is None else image_group(space, row), decision_group(space.competition, row) or "",
                str(row["stack"]), int(row["z"]), row, prediction_path(folder or run.folder / "oof", image_id), masks,
                view, gate_path(gates, image_id), whole, block=block,
            )
        )  # fmt: skip
    return items


def image_group(space: Workspace, row: Mapping[str, Any]) -> str:
    """The group of a training image by its row of the inventory: the contract's, or the image itself without one."""
    group = space.group_column
    said = None if group is None else row.get(group)
    return str(row["image_id"] if said is None or pd.isna(said) or said == "" else said)


def oof_channels(items: Sequence[StoredItem]) -> list[str]:
    """Names of the channels that the predictions have."""
    return items[0].channels


def tune_stage(space: Workspace, runs: Sequence[Run]) -> Stage:
    """Stage 06 of the experiment, on the predictions of these runs."""
    settings: dict[str, Any] = {
        "tune": space.experiment.tune.model_dump(mode="json", exclude={"gate"}),
        "metric": space.competition.metric.identity(),
    }
    form = space.competition.submission
    settings |= {"size": list(form.size)} if form is not None and form.size is not None else {}
    alone = len(runs) == 1 and not space.experiment.members
    inputs = {"oof" if alone else f"oof of {run.name}": run.oof for run in runs}
    inputs |= {f"sample {part.title}": fingerprint for part, fingerprint in finished_parts(space)}
    gate = gate_run(space)
    if gate is not None:
        inputs[f"answers of {gate.name}"] = gate.oof
    copies = finished_copies(runs[0].folder)[1]
    inputs |= {"copies": copies} if copies else {}
    return Stage("06_tune", space.own / "tuning", settings, inputs, TUNE_FORMAT)


def test_groups(space: Workspace) -> int | None:
    """Groups behind the leaderboard: of the test images where they have the contract's group, else the images."""
    table, _ = read_inventory(space.inventory)
    test = table[table["split"] == "test"]
    group = space.group_column
    if group in test and bool((test[group] != "").all()):
        return int(test[group].nunique()) or None
    return len(test) or None


def ungrouped(space: Workspace) -> str:
    """Why thresholds by group cannot decide the test images as stage 07 lists them; '' where nothing is against it."""
    competition = space.competition
    column = decision_column(competition, read_inventory(space.inventory)[0])
    if column is None or competition.images.test is None:
        return ""
    listing, _ = list_images(competition, space.data, "test")
    if not len(listing):
        known = column in FIELD.findall(competition.images.test)
        return "" if known else f"no test image is at hand that has the column {column!r}"
    said = listing[column] if decision_column(competition, listing) == column else pd.Series("", listing.index)
    lacking = int((said == "").sum())
    return f"{lacking} of {len(listing)} test images have no value in the column {column!r}" if lacking else ""
