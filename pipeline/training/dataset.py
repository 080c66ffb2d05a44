"""Training samples: which window of which image, how augmented - everything from (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from folds.blocks import has_blocks, training_windows_allowed
from folds.buffers import trained_rows
from inference.config import InputConfig
from inference.predict.inputs import Statistics, normalise, read_input, statistics
from pipeline.augmentation.augment import Augmentation, build_augmentation
from pipeline.augmentation.stains import ColourStatistics
from pipeline.data.patch_index import PatchGrid, Window, WindowSampler, keep_tissue, read_index, window_odds
from pipeline.data.store import Store, StoredImage
from pipeline.data.volume_axes import along
from pipeline.experiment import Experiment
from pipeline.seeds import generator_of, seed_of
from pipeline.settings.training import SamplingSettings
from pipeline.training.loader import Sample
from submissions.host.truth import SOFT_TOP, VOID
from submissions.images.opening import ImageReader, StackReader

TRIES = 1000


class TrainingSet:
    """Samples of the images one fold trains on. Plain data and files opened late, fit for loader processes.

    `folds` and `fold` say which images, and inside images cut into blocks which windows; `inventory` has the
    columns stack and z (and empty, and the one that `sampling.balance` names) of every stored image. Targets of a
    stored image whose attribute `soft` is set are planes of 0 to SOFT_TOP; its samples have float32 planes in [0, 1],
    255 = ignore. `references`: colours that the recipe transfers to the samples.
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
        references: Sequence[ColourStatistics] = (),
        weight: float = 1.0,
    ) -> None:
        settings, sampling = experiment.train, experiment.train.sampling
        self.store, self.config, self.seed, self.weight = store, experiment.input, seed, weight
        self.patch, self.classes, self.axes = settings.plane, experiment.model.classes, settings.axes
        self.fold, self.blocks = fold, folds if has_blocks(folds) else None
        if self.blocks is not None and self.axes != ["z"]:
            raise ValueError(
                f"train.axes is {self.axes}, but folds.method blocks cuts slices along z only; leave train.axes out"
            )
        self.image_ids = training_ids(folds, fold)
        check_targets(store, self.image_ids, len(self.classes))
        filtered = sampling.background < 1
        index = self._allowed(self.windows(tissue=filtered))
        if filtered:
            index = keep_tissue(index, sampling.background, generator_of(seed, "background"))
        self.sampler = WindowSampler(index, sample_odds(index, inventory, sampling))
        self.stacks = stack_members(inventory, set(store.ids()))
        recipe = experiment.augment.recipe
        self._augmentations = {
            count: build_augmentation(recipe, self.patch, channels=count, references=references) for count in (1, 3)
        }
        self._measured: dict[str, Statistics] = {}

    def windows(self, *, tissue: bool) -> pd.DataFrame:
        """The patch index of the images; with `tissue` whether a window shows any."""
        return read_index(self.store, self.image_ids, PatchGrid(self.patch, self.classes, tissue, self.axes))

    def augmentation(self, channels: int) -> Augmentation:
        """What changes samples of so many channels a slice."""
        return self._augmentations[3 if channels == 3 else 1]

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of epoch `epoch`.

        A window that is smaller than the patch, because its image is, is mirrored at its edges, pixels and
        target alike, at a place drawn anew each time.
        """
        window = self.draw(generator_of(self.seed, epoch, index))
        stored = self.store.image(window.image_id)
        image, target = self.read(window)
        augment = self.augmentation(stored.shape[3])
        image, target = augment(image, target, seed_of(self.seed, epoch, index, "augment"))
        pixels = normalise(image, self.measured(stored), self.config)
        if stored.attrs.get("soft"):
            target = as_shares(target)
        where = (window.z, window.y, window.x)
        across = window.axis if window.axis == "z" else f"across {window.axis}"
        name = f"{window.image_id} {across}={where[0]} y={where[1]} x={where[2]}"
        return Sample(pixels, target, self.weight, name)

    def draw(self, generator: np.random.Generator) -> Window:
        """A window by its odds, drawn again until it keeps away from the fold's validation blocks."""
        for _ in range(TRIES):
            window = self.sampler.draw(generator)
            if self.blocks is None or self._far(window.image_id, _box(window))[0]:
                return window
        raise ValueError(
            f"fold {self.fold}: no window far enough from its held-out blocks was found in {TRIES} draws; use a "
            "smaller train.patch, larger blocks or a smaller folds.buffer"
        )

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (h, w, C * slices) in the stored dtype, and the target of the window's own slice."""
        stored = self.store.image(window.image_id)
        rows, cols = slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)
        seen = along(stored, window.axis)
        reader, z = self.reader_of(stored, window.z) if window.axis == "z" else (seen, window.z)
        return read_input(reader, z, rows, cols, self.config), seen.read_target(window.z, rows, cols)

    def reader_of(self, stored: StoredImage, z: int) -> tuple[ImageReader, int]:
        """The image with what lies above and below it, and the slice's place there; a volume has its own."""
        members = self.stacks.get(stored.image_id, [])
        if len(members) < 2 or self.config.offsets == [0]:
            return stored, z
        return StackReader([self.store.image(name) for name in members]), members.index(stored.image_id)

    def measured(self, stored: StoredImage) -> Statistics:
        """What `measured_of` says, asked for once an image."""
        if stored.image_id not in self._measured:
            self._measured[stored.image_id] = measured_of(stored, self.config)
        return self._measured[stored.image_id]

    def _allowed(self, index: pd.DataFrame) -> pd.DataFrame:
        """Rows of the patch index that may be trained on, renumbered."""
        if self.blocks is not None:
            parts = [part[self._far(str(name), _boxes(part))] for name, part in index.groupby("image_id", sort=False)]
            index = pd.concat(parts)
            if not len(index):
                raise ValueError(
                    f"fold {self.fold}: every window touches a held-out block or its buffer; use a smaller "
                    "train.patch, larger blocks or a smaller folds.buffer"
                )
        return index.reset_index(drop=True)

    def _far(self, image_id: str, boxes: np.ndarray) -> np.ndarray:
        """Which boxes (N, 4) at the working size keep away from validation blocks: bool (N,)."""
        assert self.blocks is not None
        stored = self.store.image(image_id)
        host = stored.attrs.get("host", stored.shape[:3])
        ratio = np.array([host[1] / stored.shape[1], host[2] / stored.shape[2]] * 2)
        scaled = boxes * ratio
        whole = np.concatenate([np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])], axis=1).astype(np.int64)
        return training_windows_allowed(self.blocks, self.fold, image_id, whole)


def measured_of(stored: StoredImage, config: InputConfig) -> Statistics:
    """Statistics of the whole image or volume: those that stage 03 took of the host's pixels, else the stored ones'."""
    kept = stored.attrs.get("statistics")
    return statistics(stored, config) if kept is None else Statistics(tuple(kept["low"]), tuple(kept["high"]))


def as_shares(target: np.ndarray) -> np.ndarray:
    """Stored soft planes as float32 in [0, 1], 255 = ignore."""
    return np.where(target == VOID, np.float32(VOID), target / np.float32(SOFT_TOP))


def _boxes(index: pd.DataFrame) -> np.ndarray:
    """(y0, x0, y1, x1) of rows of the patch index."""
    tops, lefts = index["y"].to_numpy(), index["x"].to_numpy()
    return np.stack([tops, lefts, tops + index["height"], lefts + index["width"]], axis=1)


def _box(window: Window) -> np.ndarray:
    return np.array([[window.y, window.x, window.y + window.height, window.x + window.width]])


def sample_odds(index: pd.DataFrame, inventory: pd.DataFrame, sampling: SamplingSettings) -> np.ndarray:
    """Odds of each window of the patch index, as the sampling settings and the inventory's columns say.

    Raises ValueError for an unknown column or class, and where nothing can be drawn.
    """
    rows = inventory[inventory["image_id"].isin(set(index["image_id"]))].set_index("image_id")
    images: dict[str, float] | None = None
    if sampling.empty != 1.0:
        images = {str(name): sampling.empty if flag else 1.0 for name, flag in rows["empty"].items()}
    groups: dict[str, str] | None = None
    if sampling.balance is not None:
        if sampling.balance not in rows:
            known = ", ".join(map(str, rows.columns))
            raise ValueError(f"train.sampling.balance: no column {sampling.balance!r}; the inventory has {known}")
        groups = {str(name): str(value) for name, value in rows[sampling.balance].items()}
    classes = sampling.classes or None
    return window_odds(index, foreground=sampling.foreground, classes=classes, images=images, groups=groups)


def stack_members(inventory: pd.DataFrame, stored: set[str]) -> dict[str, list[str]]:
    """For every stored image the ids of its stack in the order of z, itself included."""
    known = inventory[inventory["image_id"].isin(stored)]
    members: dict[str, list[str]] = {}
    for _, part in known.sort_values(["stack", "z", "image_id"], kind="stable").groupby("stack", sort=False):
        names = [str(name) for name in part["image_id"]]
        members.update(dict.fromkeys(names, names))
    return members


def training_ids(folds: pd.DataFrame, fold: int) -> list[str]:
    """Ids that fold `fold` may train on: of other folds, and not kept apart from it by a buffer.

    Fold -1 holds images that are never validated. Raises ValueError where none is left.
    """
    names = folds.loc[trained_rows(folds, fold), "image_id"].astype(str)
    if names.empty:
        raise ValueError(f"fold {fold} has no image to train on; check the fold file and folds.buffer")
    return list(dict.fromkeys(names))


def check_targets(store: Store, image_ids: Sequence[str], n_classes: int) -> None:
    """Raise ValueError where a stored target is neither a label nor one plane per class."""
    shapes = {name: store.image(name).target_shape for name in image_ids}
    wrong = {
        name: shape for name, shape in shapes.items() if shape is None or (len(shape) == 4 and shape[1] != n_classes)
    }
    if wrong:
        first, shape = next(iter(wrong.items()))
        raise ValueError(
            f"{len(wrong)} stored targets do not fit the model's {n_classes} classes, first {first!r}: "
            f"found {shape}, expected a label (Z, H, W) or planes (Z, {n_classes}, H, W); "
            "run stage 03 again with the contract's classes"
        )
    if len({len(shape) for shape in shapes.values() if shape is not None}) > 1:
        raise ValueError("some stored targets are labels and some planes; run stage 03 again")
