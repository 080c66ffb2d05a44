"""Training samples of classifiers: whole images at one size, and which classes they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from inference.predict.inputs import normalise
from inference.predict.resample import resize_image
from pipeline.data.patch_index import grid_index
from pipeline.seeds import generator_of, seed_of
from pipeline.training.dataset import TrainingSet
from pipeline.training.loader import Sample
from pipeline.training.loss_terms import Mode
from pipeline.training.losses import classes_present


class ImageSet(TrainingSet):
    """Samples of `TrainingSet`, whose arguments it takes: each a whole image brought to the patch's size, whatever
    its proportions.

    Targets say which classes the image shows before augmentation: float32 (K,) of 1 and 0, 255 where all of it is
    void; with `exclusive` the index of its one class, uint8 ().
    """

    def __init__(self, *where: Any, exclusive: bool, **options: Any) -> None:
        self.exclusive = exclusive
        super().__init__(*where, **options)

    def windows(self, *, tissue: bool) -> pd.DataFrame:
        """Patch index with one window per image: all of it."""
        stored = [self.store.image(name) for name in self.image_ids]
        return pd.concat(
            [grid_index(image, (image.shape[1], image.shape[2]), self.classes, tissue=tissue) for image in stored],
            ignore_index=True,
        )

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of epoch `epoch`."""
        window = self.draw(generator_of(self.seed, epoch, index))
        stored = self.store.image(window.image_id)
        image, target = self.read(window)
        shown = resize_image(image, self.patch)
        augment = self.augmentation(stored.shape[3])
        shown, _ = augment(shown, np.zeros(self.patch, np.uint8), seed_of(self.seed, epoch, index, "augment"))
        said = image_target(target, len(self.classes), exclusive=self.exclusive)
        return Sample(normalise(shown, self.measured(stored), self.config), said, self.weight, window.image_id)


def image_target(target: np.ndarray, n_classes: int, *, exclusive: bool) -> np.ndarray:
    """What an image shows, from its uint8 target, label (H, W) or planes (K, H, W), 255 = void; see `ImageSet`."""
    mode: Mode = "sigmoid" if target.ndim == 3 else "softmax"
    shown = classes_present(torch.from_numpy(target[None]), mode, n_classes)[0].numpy()
    return np.asarray(np.argmax(shown == 1), np.uint8) if exclusive else shown
