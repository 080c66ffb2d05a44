"""Checks of the settings against what stage 01 saw of the images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.experiment import Experiment
from pipeline.inventory_table import read_inventory
from pipeline.stage import DONE
from pipeline.workspace import Workspace


def image_problems(space: Workspace) -> list[str]:
    """A sentence for each setting of the input that makes no sense for these images; none before stage 01 is done.

    An ensemble sees no image: its members do.
    """
    of_members = space.experiment.members and not space.experiment.repeated
    if of_members or not (space.inventory / DONE).is_file():
        return []
    table, _ = read_inventory(space.inventory)
    return [*_unseen_neighbours(space.experiment, table[table["split"] == "train"]), *_values(space.experiment, table)]


def _unseen_neighbours(experiment: Experiment, train: pd.DataFrame) -> list[str]:
    """Settings that ask for neighbouring slices, or other planes of a volume, where images have none."""
    flat = train["depth"] == 1
    found = []
    if experiment.input.offsets != [0] and flat.all() and not train["stack"].duplicated().any():
        found.append(
            f"input.offsets is {experiment.input.offsets}, but no training image has neighbouring slices; leave it "
            "out, or say in images.stack and images.z of the contract which images are slices of one stack"
        )
    for key, axes in (("train.axes", experiment.train.axes), ("predict.axes", experiment.predict.axes)):
        if axes != ["z"] and flat.any():
            found.append(
                f"{key} is {axes}, but image {train['image_id'][flat].iloc[0]!r} has one slice, and only volumes have "
                "planes along y and x; leave it out"
            )
    return found


def _values(experiment: Experiment, table: pd.DataFrame) -> list[str]:
    """Settings of values and channels that do not fit what images, training and test, hold."""
    config, found = experiment.input, []
    reduced = (table["channels"] == 3) & (config.channels == 1)
    wrong = table[~(table["channels"].isin([1, config.channels]) | reduced) & table["channels"].notna()]
    if len(wrong):
        first = wrong.iloc[0]
        found.append(
            f"input.channels is {config.channels}, but {len(wrong)} image(s), first {first['image_id']!r}, have "
            f"{int(first['channels'])} channels; expected as many, 1 (repeated), or 3 with input.channels 1"
        )
    whole = [name for name in sorted(set(table["dtype"])) if np.dtype(name).kind in "ui"]
    shared = config.normalisation == "percentile" or (config.normalisation == "fixed" and whole)
    if shared and max(config.mean) > 1:
        found.append(
            f"input.mean is {config.mean}, but values of pixels are brought to 0 to 1 first, whatever their type; "
            "divide mean and std by what stands for white, such as 255"
        )
    return found
