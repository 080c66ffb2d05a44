"""Whether the largest images can be predicted within `predict.memory_cap_gb`, asked before a network is trained."""

from __future__ import annotations

from contextlib import closing

import pandas as pd
import torch
from torch import nn

from inference.predict.members import ReadyMember
from inference.predict.predictor import plan_image
from pipeline.inventory_table import read_inventory
from pipeline.prediction.oof_steps import held_out_rows
from pipeline.workspace import Workspace
from submissions.host.listed_images import ListedImages, pixel_size


def memory_problems(space: Workspace) -> list[str]:
    """A sentence for the largest image held out, as stage 05 predicts it with its views apart, and for the largest test
    image, where the buffers that they need are larger than the cap.

    None before stage 02 is done, for classifiers, and for ensembles, whose members were asked.
    """
    experiment = space.experiment
    if experiment.task == "classify" or (experiment.members and not experiment.repeated):
        return []
    try:
        held_out = set(held_out_rows(space)["image_id"].astype(str))
    except (FileNotFoundError, ValueError):
        return []  # the stage itself says which has to be run first
    table, _ = read_inventory(space.inventory)
    used = (table["split"] == "test") | table["image_id"].astype(str).isin(held_out)
    used &= table[["depth", "height", "width"]].notna().all(axis=1)
    found = [
        _refused(space, rows, separate=split == "train") for split, rows in table[used].groupby("split", sort=False)
    ]
    return [sentence for sentence in found if sentence]


def _refused(space: Workspace, rows: pd.DataFrame, *, separate: bool) -> str:
    """What `predict_image` would raise of the largest of these images; '' where it fits, or cannot be opened."""
    experiment = space.experiment
    voxels = (rows["depth"] * rows["height"] * rows["width"]).to_numpy()
    largest = str(rows["image_id"].iloc[int(voxels.argmax())])
    images = ListedImages(space.competition, space.data, rows)
    try:
        reader, slices = images.open(largest)
    except (ValueError, OSError):
        return ""  # damaged test images are the affair of stage 07
    any_network = ReadyMember(
        nn.Identity(), experiment.model, experiment.input, experiment.predict, torch.device("cpu"), "fp32"
    )
    with closing(reader):
        try:
            size = pixel_size(space.competition, images.row(largest), reader)
            plan_image([any_network], reader, slices, pixel_size_um=size, separate=separate)
        except ValueError as error:
            return f"image {largest!r} cannot be predicted: {error}"
    return ""
