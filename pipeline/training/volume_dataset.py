"""Training samples of volumes: which box of which volume, how augmented - everything from (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from inference.predict.inputs import reflect_indices
from inference.predict.volume_pass import normalise_volume
from pipeline.augmentation.volumes import VolumeAugmentation
from pipeline.data.store import Store, StoredImage
from pipeline.data.volume_index import Box, BoxSampler, Size3, read_box_index
from pipeline.experiment import Experiment
from pipeline.seeds import generator_of, seed_of
from pipeline.training.dataset import as_shares, check_targets, measured_of, sample_odds, training_ids
from pipeline.training.loader import Sample


class VolumeSet:
    """Boxes of the volumes one fold trains on, at the working grid. Plain data and files opened late.

    A volume that is smaller than the patch is mirrored at its faces, voxels and target alike, at a place drawn anew
    each time. `inventory` has the columns that the sampling settings name.
    """

    def __init__(
        self,
        store: Store,
        folds: pd.DataFrame,
        fold: int,
        *,
        experiment: Experiment,
        inventory: pd.DataFrame,
        seed: int,
    ) -> None:
        self.store, self.config, self.seed, self.patch = store, experiment.input, seed, experiment.train.box
        self.image_ids = training_ids(folds, fold)
        classes = experiment.model.classes
        check_targets(store, self.image_ids, len(classes))
        index = read_box_index(store, self.image_ids, self.patch, classes)
        self.sampler = BoxSampler(index, sample_odds(index, inventory, experiment.train.sampling))
        self.augment = VolumeAugmentation(experiment.augment.recipe)

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of epoch `epoch`: image float32 (C, D, H, W), target uint8 (D, H, W) or (K, D, H, W)."""
        generator = generator_of(self.seed, epoch, index)
        box = self.sampler.draw(generator)
        stored = self.store.image(box.image_id)
        image, target = read_box(stored, box)
        pixels = normalise_volume(image, measured_of(stored, self.config), self.config)
        pixels, target = fit_box(pixels, target, self.patch, generator)
        spacing = stored.attrs.get("spacing") or (1.0, 1.0, 1.0)
        pixels, target = self.augment(pixels, target, seed_of(self.seed, epoch, index, "augment"), spacing=spacing)
        if stored.attrs.get("soft"):
            target = as_shares(target)
        name = f"{box.image_id} z={box.z} y={box.y} x={box.x}"
        return Sample(pixels, target, 1.0, name)


def read_box(stored: StoredImage, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (d, h, w, C) in the stored dtype, and the target (d, h, w) or (K, d, h, w)."""
    rows, cols = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    places = range(box.z, box.z + box.depth)
    image = np.stack([stored.read(z, rows, cols) for z in places])
    target = np.stack([stored.read_target(z, rows, cols) for z in places], axis=-3)
    return image, target


def fit_box(
    image: np.ndarray, target: np.ndarray, patch: Size3, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both at the size of the patch: where a side is too short it is mirrored, as often as it takes."""
    for axis, (side, wanted) in enumerate(zip(image.shape[-3:], patch, strict=True)):
        if side < wanted:
            before = int(generator.integers(0, wanted - side + 1))
            places = reflect_indices(-before, wanted - before, side)
            image, target = image.take(places, axis - 3), target.take(places, axis - 3)
    return image, target
