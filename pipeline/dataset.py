"""Training samples: which image, which slice, which window, which augmentation - all from (seed, epoch,
index).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from inference.config import InputConfig
from inference.inputs import Statistics, normalise, read_input, reflect_indices, statistics
from pipeline.batches import Sample
from pipeline.experiment import SamplingSettings
from pipeline.seeds import draw, generator_of, seed_of
from pipeline.store import Store, StoredImage
from submissions.images import ImageSource, StackSource

IGNORE = 255
CELL = 64  # pixels: side of the cells in which foreground is looked up

Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Window:
    """Where a patch lies in its image; it may reach beyond the image's edges."""

    z: int
    y: int
    x: int


class TrainingSet:
    """Samples of some stored images. Plain data and lazily opened files, fit for loader processes."""

    def __init__(
        self,
        store: Store,
        image_ids: Sequence[str],
        *,
        inventory: pd.DataFrame,
        input_config: InputConfig,
        patch: tuple[int, int],
        sampling: SamplingSettings,
        seed: int,
        classes: Sequence[str],
        augment: Augment | None = None,
        weight: float = 1.0,
    ) -> None:
        self.store, self.image_ids = store, list(image_ids)
        self.config, self.patch, self.sampling, self.seed = input_config, patch, sampling, seed
        self.foreground = [index for index, name in enumerate(classes) if name != "background"]
        self.augment, self.weight = augment, weight
        rows = inventory.set_index("image_id", drop=False)
        self.odds = image_odds(rows.loc[self.image_ids], sampling)
        self.stacks = stack_members(inventory, set(store.ids()))
        self._cells: dict[str, list[np.ndarray]] = {}
        self._measured: dict[str, Statistics] = {}

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of epoch `epoch`."""
        generator = generator_of(self.seed, epoch, index)
        image_id = self.image_ids[draw(self.odds, generator)]
        stored = self.store.image(image_id)
        window = self.choose_window(stored, generator)
        image, target = self.read(stored, window)
        if self.augment is not None:
            image, target = self.augment(image, target, seed_of(self.seed, epoch, index, "augment") % 2**31)
        pixels = normalise(image, self.measured(stored), self.config)
        name = f"{image_id} z={window.z} y={window.y} x={window.x}"
        return Sample(pixels, target, self.weight, name)

    def choose_window(self, stored: StoredImage, generator: np.random.Generator) -> Window:
        """A window anywhere, or, for the share `sampling.foreground`, round a pixel of a class drawn
        evenly among those the image shows. An axis shorter than the patch is placed anywhere within it.
        """
        depth, *size, _ = stored.shape
        z = int(generator.integers(depth))
        starts = [
            int(generator.integers(min(0, length - side), max(0, length - side) + 1))
            for length, side in zip(size, self.patch, strict=True)
        ]
        if generator.random() < self.sampling.foreground:
            pixel = self.foreground_pixel(stored, generator)
            if pixel is not None:
                z = pixel[0]
                for axis, (length, side) in enumerate(zip(size, self.patch, strict=True)):
                    if length > side:
                        moved = pixel[1 + axis] - side // 2
                        starts[axis] = min(max(moved, 0), length - side)
        return Window(z, *starts)

    def foreground_pixel(
        self, stored: StoredImage, generator: np.random.Generator
    ) -> tuple[int, int, int] | None:
        """A pixel (z, y, x) of a class drawn evenly among those shown; None where the image shows none."""
        cells = self._cells.get(stored.image_id)
        if cells is None:
            cells = self._cells[stored.image_id] = foreground_cells(stored, self.foreground)
        shown = [position for position, places in enumerate(cells) if len(places)]
        if not shown:
            return None
        position = shown[int(generator.integers(len(shown)))]
        z, y, x = (int(part) for part in cells[position][generator.integers(len(cells[position]))])
        rows, cols = slice(y, min(y + CELL, stored.shape[1])), slice(x, min(x + CELL, stored.shape[2]))
        plane = class_mask(stored.read_target(z, rows, cols), self.foreground[position])
        inside = np.flatnonzero(plane)
        dy, dx = divmod(int(inside[generator.integers(len(inside))]), plane.shape[1])
        return z, y + dy, x + dx

    def read(self, stored: StoredImage, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (h, w, C * slices) in the stored dtype and target; h, w are the patch's.

        Beyond the image's edges the pixels are mirrored, as prediction mirrors them, and the target is
        ignored.
        """
        source, z = self.source(stored, window.z)
        size, patch = stored.shape[1:3], self.patch
        inside = [
            slice(max(0, start), min(length, start + side))
            for start, length, side in zip((window.y, window.x), size, patch, strict=True)
        ]
        image = read_input(source, z, inside[0], inside[1], self.config)
        target = stored.read_target(window.z, inside[0], inside[1])
        if image.shape[:2] == tuple(patch):
            return image, target
        starts = [start - part.start for start, part in zip((window.y, window.x), inside, strict=True)]
        rows, cols = (
            reflect_indices(start, start + side, length)
            for start, side, length in zip(starts, patch, image.shape[:2], strict=True)
        )
        padded = np.full((*target.shape[:-2], *patch), IGNORE, target.dtype)
        top, left = -starts[0], -starts[1]
        padded[..., top : top + target.shape[-2], left : left + target.shape[-1]] = target
        return image[rows[:, None], cols], padded

    def source(self, stored: StoredImage, z: int) -> tuple[ImageSource, int]:
        """The image with what lies above and below it, and the slice's place in that: a volume is its own
        stack.
        """
        members = self.stacks.get(stored.image_id)
        if members is None or len(members) == 1 or self.config.offsets == [0]:
            return stored, z
        return StackSource([self.store.image(name) for name in members]), members.index(stored.image_id)

    def measured(self, stored: StoredImage) -> Statistics:
        """Statistics of the whole image: those that stage 03 took of the host's pixels, else of the stored
        ones.
        """
        if stored.image_id not in self._measured:
            kept = stored.attrs.get("statistics")
            self._measured[stored.image_id] = (
                Statistics(tuple(kept["low"]), tuple(kept["high"]))
                if kept
                else statistics(stored, self.config)
            )
        return self._measured[stored.image_id]


def image_odds(rows: pd.DataFrame, sampling: SamplingSettings) -> np.ndarray:
    """Odds of each image (inventory rows), float64, not normalised.

    Images without foreground (column `empty`) have `sampling.empty`; then the values of the column
    `sampling.balance` share the odds evenly. Raises ValueError for an unknown column, and where nothing is
    left.
    """
    odds = np.ones(len(rows))
    if sampling.empty != 1.0:
        odds[rows["empty"].to_numpy() == 1] = sampling.empty
    if sampling.balance is not None:
        if sampling.balance not in rows:
            known = ", ".join(map(str, rows.columns))
            raise ValueError(
                f"train.sampling.balance: no column {sampling.balance!r}; the inventory has {known}"
            )
        values = rows[sampling.balance].astype(str).to_numpy()
        for value in np.unique(values):
            total = odds[values == value].sum()
            if total > 0:
                odds[values == value] /= total
    if not odds.sum() > 0:
        raise ValueError(f"no image can be drawn: all {len(rows)} are empty and train.sampling.empty is 0")
    return odds


def stack_members(inventory: pd.DataFrame, stored: set[str]) -> dict[str, list[str]]:
    """For every stored image the ids of its stack in the order of z, itself included."""
    known = inventory[inventory["image_id"].isin(stored)].sort_values(
        ["stack", "z", "image_id"], kind="stable"
    )
    members: dict[str, list[str]] = {}
    for _, part in known.groupby("stack", sort=False):
        names = [str(name) for name in part["image_id"]]
        members.update(dict.fromkeys(names, names))
    return members


def class_mask(target: np.ndarray, index: int) -> np.ndarray:
    """bool (h, w) where a target, label (h, w) or planes (K, h, w), shows class `index`."""
    mask: np.ndarray = target == index if target.ndim == 2 else target[index] == 1
    return mask


def foreground_cells(stored: StoredImage, classes: Sequence[int]) -> list[np.ndarray]:
    """For each class the corners (z, y, x) of the CELL x CELL cells that show it: int64 (n, 3)."""
    found: list[list[tuple[int, int, int]]] = [[] for _ in classes]
    depth, height, width, _ = stored.shape
    for z in range(depth):
        for top in range(0, height, CELL):
            target = stored.read_target(z, slice(top, min(top + CELL, height)), slice(0, width))
            for places, index in zip(found, classes, strict=True):
                columns = np.flatnonzero(class_mask(target, index).any(axis=0))
                places += [(z, top, int(cell) * CELL) for cell in np.unique(columns // CELL)]
    return [np.array(places, np.int64).reshape(-1, 3) for places in found]


def training_ids(folds: pd.DataFrame, fold: int) -> list[str]:
    """Ids that fold `fold` may train on: of other folds, and not kept apart from it by a buffer.

    Fold -1 holds images that are in no validation. Raises ValueError where none is left.
    """
    excluded = folds["excluded_from"].fillna("").astype(str)
    apart = excluded.map(lambda text: str(fold) in text.split(";"))
    ids = [str(name) for name in folds.loc[(folds["fold"] != fold) & ~apart, "image_id"]]
    if not ids:
        raise ValueError(f"fold {fold} has no image to train on; look at the fold file and the buffer")
    return ids


def check_targets(store: Store, image_ids: Sequence[str], n_classes: int, kind: str) -> None:
    """Raise ValueError where a stored target is not what the network learns: planes for sigmoid, label for
    softmax.
    """
    wrong: Mapping[str, str] = {}
    for image_id in image_ids:
        shape = store.image(image_id).target_shape
        fits = shape is not None and (
            len(shape) == 3 if kind == "softmax" else len(shape) == 4 and shape[1] == n_classes
        )
        if not fits:
            wrong = {**wrong, image_id: str(shape)}
    if wrong:
        first = next(iter(wrong))
        wanted = "a label (Z, H, W)" if kind == "softmax" else f"planes (Z, {n_classes}, H, W)"
        raise ValueError(
            f"{len(wrong)} stored targets do not fit model.activation {kind!r} with {n_classes} classes; "
            f"{first}: found {wrong[first]}, expected {wanted}"
        )
