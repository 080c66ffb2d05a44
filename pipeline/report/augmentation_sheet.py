"""A sheet of training samples: what the network is shown, before and after augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.pictures import new_figure, overlay, save_figure
from pipeline.runs import trained_spaces
from pipeline.seeds import generator_of, seed_of
from pipeline.training.dataset import TrainingSet
from pipeline.training.fold_training import training_set
from pipeline.workspace import Workspace

DRAWN = 4


def write_augmentation_sheet(space: Workspace, *, samples: int = 6) -> Path:
    """Windows as they are drawn for training, each with DRAWN augmented versions; foreground in green.

    Returns the picture in the experiment's folder (of repeated splits: by the first). Needs stages 01 to 03. Raises
    ValueError for an ensemble of other experiments, which trains nothing.
    """
    folder, split = space.own, trained_spaces(space, "show-augmentations")
    if not split:
        raise ValueError(f"{space.experiment.name} is an ensemble; show the augmentations of one of its members")
    space = split[0]
    experiment = space.experiment
    if experiment.input.dims == 3:
        raise ValueError(f"{experiment.name} trains on boxes of volumes, and the sheet shows images; there is none")
    store, _ = open_prepared(space)
    inventory, _ = space.training_images()
    fold = experiment.used_folds[0]
    source = training_set(experiment, fold, store=store, folds=open_folds(space)[0], inventory=inventory)
    assert isinstance(source, TrainingSet)
    figure, axes = new_figure(samples, 1 + DRAWN, 2.2 * (1 + DRAWN), 2.2 * samples)
    for number, line in enumerate(axes):
        image, target = source.read(source.draw(generator_of(experiment.seed, 0, number)))
        middle = experiment.input.offsets.index(0) if 0 in experiment.input.offsets else 0
        channels = image.shape[2] // len(experiment.input.offsets)
        augment = source.augmentation(channels)
        shown = [(image, target)]
        shown += [augment(image, target, seed_of(experiment.seed, 0, number, turn)) for turn in range(DRAWN)]
        for axis, (pixels, truth) in zip(line, shown, strict=True):
            slice_pixels = pixels[..., middle * channels : (middle + 1) * channels]
            axis.imshow(overlay(slice_pixels, _foreground(truth, experiment.model.classes), alpha=0.35))
            axis.axis("off")
        line[0].set_title("as drawn", fontsize=8)
        line[1].set_title(f"recipe {experiment.augment.recipe}", fontsize=8)
    path = folder / "augmentations.png"
    save_figure(figure, path)
    return path


def _foreground(target: np.ndarray, classes: list[str]) -> np.ndarray:
    """bool (h, w): any class but the background, void left out."""
    if target.ndim == 3:
        return np.asarray((target == 1).any(axis=0))
    background = classes.index("background") if "background" in classes else 255
    return np.asarray((target != background) & (target != 255))
