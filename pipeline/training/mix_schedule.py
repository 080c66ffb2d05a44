"""Batches mixed now and then, by the settings of augmentation: which, and how, follows from (seed, epoch,
index).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.augmentation.batch_mixing import copy_paste, cutmix
from pipeline.experiment import Experiment
from pipeline.seeds import generator_of
from pipeline.settings.training import AugmentSettings
from pipeline.training.loader import Batch


def never_pasted(experiment: Experiment) -> int | None:
    """The class of a label that copy-paste leaves out, None for planes; ValueError where labels have no such class."""
    if experiment.model.activation != "softmax":
        return None
    if "background" in experiment.model.classes:
        return experiment.model.classes.index("background")
    if experiment.augment.copy_paste:
        raise ValueError("augment.copy_paste needs a class named 'background', which is never pasted; leave it out")
    return None


@dataclass(frozen=True)
class BatchMixer:
    """Called on every batch; `background` is the class of a label that is never pasted (None for planes)."""

    settings: AugmentSettings
    seed: int
    background: int | None

    def __call__(self, batch: Batch, epoch: int, index: int) -> Batch:
        """The batch, or one in which CutMix or copy-paste has put parts of samples into others."""
        generator = generator_of(self.seed, "mix", epoch, index)
        images, target = batch.images.numpy(), batch.target.numpy()
        pastes, cuts = generator.random(2) < (self.settings.copy_paste, self.settings.cutmix)
        if pastes:
            images, target = copy_paste(images, target, generator, background=self.background)
        if cuts:
            images, target = cutmix(images, target, generator)
        if not (pastes or cuts):
            return batch
        memory = torch.channels_last
        mixed = torch.from_numpy(images).contiguous(memory_format=memory)
        return Batch(mixed, torch.from_numpy(np.ascontiguousarray(target)), batch.weights, batch.names)
