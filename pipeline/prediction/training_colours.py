"""What values the training images have, as stage 01 measured them, for `predict.normalise`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from folds.buffers import trained_rows
from folds.foldfile import read_folds
from inference.colours import FILE, Colours, in_training_colours, learn_colours, load_colours, save_colours
from inference.predict.shifts import ShiftedReader
from pipeline.data.fold_tables import open_folds
from pipeline.prediction.prediction_stages import decision_path
from pipeline.runs import Run
from pipeline.shift.colours import quantiles_of
from pipeline.workspace import Workspace
from submissions.images.opening import ImageReader

if TYPE_CHECKING:
    from inference.predict.image_list import Shown


def colours_of_training(space: Workspace, folds: pd.DataFrame, how: str) -> Colours | None:
    """Of the training images in a fold table; None where they are too few. how: `predict.normalise`."""
    listing, _ = space.training_images()
    groups = dict(zip(folds["image_id"].astype(str), folds["group"].astype(str), strict=True))
    chosen = listing[listing["image_id"].astype(str).isin(set(groups))]
    if how == "none" or chosen.empty:
        return None
    names = [groups[str(name)] for name in chosen["image_id"]]
    return learn_colours(quantiles_of(chosen), names, everything=how == "range")


def fold_colours(space: Workspace, fold: int) -> Colours | None:
    """Of the images that the model of a fold has seen; None where `predict.normalise` is 'none', or of too few."""
    how = space.experiment.predict.normalise
    if how == "none":
        return None
    folds, _ = open_folds(space)
    return colours_of_training(space, folds[trained_rows(folds, fold)], how)


def shown_as(shift: str | None, colours: Colours | None) -> Shown | None:
    """What a model is shown of an image: it under a shift, then in the training images' colours; None: as it is."""
    if shift is None and colours is None:
        return None
    return partial(_shown, shift=shift, colours=colours)


def _shown(reader: ImageReader, shift: str | None, colours: Colours | None) -> ImageReader:
    seen = reader if shift is None else ShiftedReader(reader, shift)
    return seen if colours is None else in_training_colours(seen, colours)


def keep_colours(space: Workspace, runs: Sequence[Run]) -> None:
    """Keep beside the decision what stage 07 and the bundle compare test images with, where the runs ask for it.

    Raises ValueError where the runs differ in what they ask for.
    """
    path, hows = decision_path(space).with_name(FILE), {run.name: run.predict.normalise for run in runs}
    if len(set(hows.values())) > 1:
        raise ValueError(f"predict.normalise is {hows}; test images are shown to all members alike: set one in all")
    how = runs[0].predict.normalise
    folds = read_folds(space.shared / "folds" / runs[0].folds_hash / "folds.csv")
    colours = colours_of_training(space, folds, how)
    if colours is None:
        path.unlink(missing_ok=True)
    else:
        save_colours(path, colours)
    if how != "none" and colours is None:
        print("predict.normalise: too few training images, or groups of them, to say what is unlike them; not used")


def kept_colours(space: Workspace) -> Colours | None:
    """What stage 06 kept; None where the runs do not ask for it."""
    return load_colours(decision_path(space).with_name(FILE))
