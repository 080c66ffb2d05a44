"""Augmentation of one sample: recipes by name, any number of channels, the same result from the same seed.

    augment = build_augmentation("light", (256, 256))
    image, target = augment(image, target, seed)      # (h, w, C), uint8 (h, w) label or (K, h, w) planes

Shape transforms move image and target together, the target by nearest neighbour, so that no value appears
in it that was not there. Colour transforms see slices one above the other as one grey or RGB picture: all
slices of a 2.5D sample get the same colours, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from pipeline.augmentation.albumentations_offline import A
from pipeline.augmentation.recipes import RECIPES, Recipe
from pipeline.augmentation.stains import ColourStatistics

Seed = int | Sequence[int]


class Augmentation:
    """A recipe made ready for one patch size: `augment(image, target, seed)`; see `build_augmentation`."""

    def __init__(self, recipe: Recipe, size: tuple[int, int], channels: int | None) -> None:
        self.size, self.channels = size, channels
        self.shape = A.Compose([*recipe.shape(size), *_fit(size)])
        self.colour = A.Compose(recipe.colour())
        self.holes = A.Compose(recipe.holes())

    def __call__(self, image: np.ndarray, target: np.ndarray, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
        """Augment (h, w, C) uint8, uint16, float32 or bool and its uint8 target, label (h, w) or planes (K, h, w).

        seed: whole number or several (seed, epoch, index); nothing else decides the result. Windows larger
        than the patch are cut at random, smaller ones mirrored. uint16 and float32 are changed relative to
        the range of values in the window; bool comes back as float32 between 0 and 1. Raises ValueError where sizes
        or types do not fit.
        """
        _check(image, target)
        image = image.astype(np.float32) if image.dtype == np.bool_ else image
        state = np.random.SeedSequence(seed)
        low, high = _value_range(image)
        pixels = image if image.dtype == np.uint8 else ((image - low) / (high - low)).astype(np.float32)
        mask = np.ascontiguousarray(np.moveaxis(target, 0, -1)) if target.ndim == 3 else target
        for step, compose in enumerate((self.shape, self.colour, self.holes)):
            if not compose.transforms:
                continue
            _set_seeds(compose, np.random.default_rng([*state.generate_state(2), step]))
            if compose is self.colour:
                pixels = self._recolour(pixels)
            else:
                done = compose(image=pixels, mask=mask)
                pixels, mask = done["image"], done["mask"]
        moved = np.moveaxis(mask, -1, 0) if target.ndim == 3 else mask
        _assert_no_new_values(target, moved)
        if image.dtype != np.uint8:
            pixels = pixels * (high - low) + low
            pixels = np.rint(pixels) if image.dtype.kind == "u" else pixels
        return np.ascontiguousarray(pixels, dtype=image.dtype), np.ascontiguousarray(moved)

    def _recolour(self, pixels: np.ndarray) -> np.ndarray:
        """Colour transforms on (h, w, S * C), shown as (S * h, w, C) with C 1 or 3."""
        height, width, total = pixels.shape
        single = self.channels or (3 if total == 3 else 1)
        if total % single or single not in (1, 3):
            raise ValueError(f"{total} channels are not slices of {single}: channels is 1 or 3 and divides them")
        slices = total // single
        tall = pixels.reshape(height, width, slices, single).transpose(2, 0, 1, 3).reshape(-1, width, single)
        done = self.colour(image=np.ascontiguousarray(tall))["image"]
        back = done.reshape(slices, height, width, single).transpose(1, 2, 0, 3)
        return np.ascontiguousarray(back.reshape(height, width, total))


def build_augmentation(
    recipe: str | Sequence[Any],
    size: tuple[int, int],
    *,
    channels: int | None = None,
    references: Sequence[ColourStatistics] = (),
) -> Augmentation:
    """Make a recipe ready: a name in `RECIPES`, or a list of albumentations transforms.

    size: (height, width) of the patches that come out. channels: channels of one slice, 1 or 3; by default
    3 for images of three channels, else every channel counts as a grey slice. references: colour statistics
    of pictures from the host's other domain (`pipeline.augmentation.stains.colour_statistics`), for recipes that
    transfer stains. Raises ValueError for an unknown name and for references that the recipe has no use
    for.
    """
    if not isinstance(recipe, str):
        transforms = list(recipe)
        return Augmentation(Recipe("a list", lambda size: transforms), size, channels)
    if recipe not in RECIPES:
        raise ValueError(f"augment.recipe {recipe!r} is unknown, expected one of {', '.join(RECIPES)}")
    chosen = RECIPES[recipe]
    if references:
        if not chosen.transfers:
            names = ", ".join(name for name, other in RECIPES.items() if other.transfers)
            raise ValueError(f"recipe {recipe!r} transfers no stains and takes no references; {names} does")
        chosen = Recipe(chosen.why, chosen.shape, partial(chosen.colour, references=references), chosen.holes, True)
    return Augmentation(chosen, size, channels)


def _fit(size: tuple[int, int]) -> list[Any]:
    """What brings any window to the size of a patch."""
    height, width = size
    mirror = {"border_mode": 4, "position": "random"}  # 4: BORDER_REFLECT_101
    return [A.PadIfNeeded(height, width, **mirror), A.RandomCrop(height, width)]


def _check(image: np.ndarray, target: np.ndarray) -> None:
    if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16, np.float32, np.bool_):
        raise ValueError(f"image {image.dtype} {image.shape}, expected (h, w, C) of uint8, uint16, float32 or bool")
    if target.dtype != np.uint8 or target.ndim not in (2, 3) or target.shape[-2:] != image.shape[:2]:
        raise ValueError(
            f"target {target.dtype} {target.shape}, expected uint8 (h, w) or (K, h, w) as image {image.shape}"
        )


def _value_range(image: np.ndarray) -> tuple[float, float]:
    """Range of values that maps to 0..1, (0, 1) for uint8 images, which are not mapped."""
    if image.dtype == np.uint8:
        return 0.0, 1.0
    low, high = float(image.min()), float(image.max())
    return low, high if high > low else low + 1.0


def _set_seeds(compose: Any, generator: np.random.Generator) -> None:
    """Seed a composition and everything in it, each from its own number.

    The library hands one seed down to all transforms, which then draw the same first number: those of equal
    probability would always fire together.
    """
    compose.set_random_seed(int(generator.integers(2**31)))
    for transform in compose.transforms:
        if isinstance(transform, A.BaseCompose):
            _set_seeds(transform, generator)
        else:
            transform.set_random_seed(int(generator.integers(2**31)))


def _assert_no_new_values(before: np.ndarray, after: np.ndarray) -> None:
    shown, found = (
        cv2.calcHist([np.ascontiguousarray(part).reshape(-1, 1)], [0], None, [256], [0, 256]) > 0
        for part in (before, after)
    )
    assert not (found & ~shown).any(), "a mask was interpolated into a value that it did not have"
