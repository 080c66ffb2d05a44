"""Every recipe: same seed, same result; masks without new values; any channels and types; batches mixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.augmentation.albumentations_offline import A
from pipeline.augmentation.augment import Augmentation, build_augmentation
from pipeline.augmentation.batch_mixing import copy_paste, cutmix
from pipeline.augmentation.recipes import RECIPES
from pipeline.augmentation.stains import (
    SECOND_STAINS,
    ColourStatistics,
    colour_statistics,
    estimate_stains,
    exchange_stain,
    match_colours,
    stain_matrix,
    vary_stains,
)

RNG = np.random.default_rng(0)
SIZE = (64, 96)


def sample(channels: int = 3, dtype: str = "uint8", size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Discs on a smooth ground, and their label."""
    rows, cols = np.mgrid[: size[0], : size[1]]
    label = np.zeros(size, np.uint8)
    image = (rows[..., None] + cols[..., None] * np.linspace(0.5, 1.5, channels)).astype(np.float32)
    for value, (y, x) in enumerate([(20, 30), (45, 60), (10, 80)], start=1):
        disc = (rows - y) ** 2 + (cols - x) ** 2 < 90
        label[disc] = value if value < 3 else 255
        image[disc] += 60
    image = image / image.max() * {"uint8": 255, "uint16": 4000, "float32": 1.7e6}[dtype]
    return image.astype(dtype), label


def planes_of(label: np.ndarray) -> np.ndarray:
    return np.stack([np.where(label == 255, 255, label == value) for value in (1, 2)]).astype(np.uint8)


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 5, 9])
def test_recipes(recipe: str, dtype: str, channels: int) -> None:
    augment = build_augmentation(recipe, SIZE)
    image, label = sample(channels, dtype)
    before = image.copy(), label.copy()
    different = 0
    for seed in range(4):
        found, target = augment(image, label, seed)
        assert found.shape == image.shape and found.dtype == image.dtype and found.flags.c_contiguous
        assert target.shape == label.shape and target.dtype == np.uint8
        assert set(np.unique(target)) <= set(np.unique(label))
        again, same = augment(image, label, seed)
        np.testing.assert_array_equal(found, again)
        np.testing.assert_array_equal(target, same)
        planes, parts = augment(image, planes_of(label), seed)
        np.testing.assert_array_equal(planes, found)
        assert (parts != planes_of(target)).mean() < 0.005  # OpenCV rounds positions by channel count
        assert set(np.unique(parts)) <= {0, 1, 255}
        different += bool((found != image).any())
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])
    assert different >= 2 or recipe == "none"
    assert RECIPES[recipe].why.endswith(".")


def test_none_changes_nothing() -> None:
    image, label = sample()
    found, target = build_augmentation("none", SIZE)(image, label, 3)
    np.testing.assert_array_equal(found, image)
    np.testing.assert_array_equal(target, label)


def test_pictures_of_one_bit_become_shares_of_white() -> None:
    image, label = sample()
    white = image > 100
    np.testing.assert_array_equal(build_augmentation("none", SIZE)(white, label, 3)[0], white.astype(np.float32))
    found, _ = build_augmentation("light", SIZE)(white, label, 3)
    assert found.dtype == np.float32 and 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize("recipe", ["flips", "light", "heavy"])
def test_mask_and_image_move_together(recipe: str) -> None:
    """The image is its own mask: after any shape transform the two agree but at the edges."""
    shape_only = [*RECIPES[recipe].shape((64, 64))]
    augment = build_augmentation(shape_only, (64, 64))
    _, label = sample(size=(64, 64))
    truth = (label == 2).astype(np.uint8)
    for seed in range(20):
        found, target = augment((truth * 255)[..., None], truth, seed)
        assert ((found[..., 0] > 127) != target).mean() < 0.02


def test_flips_are_the_symmetries() -> None:
    image, label = sample(size=(64, 64))
    augment = build_augmentation("flips", (64, 64))
    turned = [np.rot90(part, k) for part in (label, label.T) for k in range(4)]
    found = [augment(image, label, seed)[1] for seed in range(60)]
    hits = [[bool((target == option).all()) for option in turned] for target in found]
    assert all(any(row) for row in hits) and np.any(hits, axis=0).all()


def test_transforms_do_not_fire_together() -> None:
    """One seed for all transforms would give each the same first number: flips always both or neither."""
    augment = build_augmentation([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], (8, 12))
    image = np.arange(96, dtype=np.uint8).reshape(8, 12, 1)
    kinds = {augment(image, image[..., 0], seed)[0][0, 0, 0] for seed in range(40)}
    assert kinds == {0, 11, 84, 95}


def test_a_seed_may_have_parts() -> None:
    image, label = sample()
    augment = build_augmentation("heavy", SIZE)
    first = augment(image, label, (1, 2, 3))[0]
    np.testing.assert_array_equal(first, augment(image, label, (1, 2, 3))[0])
    assert (first != augment(image, label, (1, 3, 2))[0]).any()
    other = build_augmentation("heavy", SIZE)
    np.random.seed(5)  # noqa: NPY002 - the global state must not matter
    np.testing.assert_array_equal(first, other(image, label, (1, 2, 3))[0])


def test_windows_of_another_size_are_fitted() -> None:
    augment = build_augmentation("light", (40, 56))
    for size in ((64, 96), (30, 50), (40, 90)):
        image, label = sample(size=size)
        found, target = augment(image, label, 0)
        assert found.shape == (40, 56, 3) and target.shape == (40, 56)


def test_slices_get_the_same_colours() -> None:
    """A 2.5D sample of three equal RGB slices stays equal; so does one of grey slices."""
    image, label = sample()
    augment = build_augmentation("heavy", SIZE, channels=3)
    grey = build_augmentation("road", SIZE)
    moved = 0
    for seed in range(6):
        found = augment(np.dstack([image] * 3), label, seed)[0].reshape(*SIZE, 3, 3)
        hardly = np.abs(found[:, :, 0].astype(int) - found[:, :, 2]).mean()
        assert hardly < 12  # noise and the rim of a blur differ, colours do not
        layers = grey(np.dstack([image[..., :1]] * 5), label, seed)[0]
        assert np.abs(layers[..., 0].astype(int) - layers[..., 4]).mean() < 12
        moved += bool((found[:, :, 0] != image).any())
    assert moved >= 5


def test_what_does_not_fit() -> None:
    image, label = sample()
    augment = build_augmentation("light", SIZE)
    for bad in (image[..., 0], image.astype(np.float64)):
        with pytest.raises(ValueError, match="image"):
            augment(bad, label, 0)
    for bad in (label[:-1], label.astype(np.int32), label[None, None]):
        with pytest.raises(ValueError, match="target"):
            augment(image, bad, 0)
    with pytest.raises(ValueError, match="unknown, expected one of none, flips"):
        build_augmentation("strong", SIZE)
    with pytest.raises(ValueError, match="no stains"):
        build_augmentation("light", SIZE, references=[colour_statistics(image)])
    with pytest.raises(ValueError, match="slices of 3"):
        build_augmentation("light", SIZE, channels=3)(image[..., :2], label, 0)


def test_new_values_in_a_mask_are_noticed() -> None:
    blend = A.Affine(rotate=(20, 20), mask_interpolation=1, p=1.0)
    image, label = sample()
    with pytest.raises(AssertionError, match="interpolated"):
        build_augmentation([blend], SIZE)(image, label, 0)


def test_every_required_transform_is_in_a_recipe() -> None:
    names: set[str] = set()

    def walk(transforms: list) -> None:
        for transform in transforms:
            names.add(type(transform).__name__)
            walk(list(getattr(transform, "transforms", [])))

    for recipe in RECIPES.values():
        walk([*recipe.shape((64, 64)), *recipe.colour(), *recipe.holes()])
    assert {"ColorJitter", "Perspective", "ElasticTransform", "GridDistortion", "CoarseDropout"} <= names
    assert {"HEDJitter", "StainTransfer", "ImageCompression", "SquareSymmetry"} <= names


# Stains


def stained(second: str, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    """A picture of two stains in random amounts."""
    amounts = RNG.gamma(1.0, 0.4, (*size, 2))
    return np.clip(256 * np.exp(-amounts @ stain_matrix(second)) - 1, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("second", list(SECOND_STAINS))
def test_stains_are_estimated_and_exchanged(second: str) -> None:
    image = stained(second)
    own = estimate_stains(image)
    assert own is not None and ((own * stain_matrix(second)).sum(axis=1) > 0.98).all()
    for target in SECOND_STAINS:
        found = exchange_stain(image, target)
        shown = estimate_stains(found)
        assert shown is not None and ((shown * stain_matrix(target)).sum(axis=1) > 0.97).all()
        assert found.dtype == np.uint8
        assert np.abs(exchange_stain(found, second).astype(int) - image).mean() < 12
        as_float = exchange_stain(image.astype(np.float32) / 255, target)
        assert as_float.dtype == np.float32 and np.abs(as_float * 255 - found).mean() < 3
    with pytest.raises(ValueError, match="stain 'gold'"):
        exchange_stain(image, "gold")


def test_blank_and_single_stains_stay() -> None:
    white = np.full((40, 50, 3), 250, np.uint8)
    assert estimate_stains(white) is None and exchange_stain(white, "dab") is white
    amounts = RNG.gamma(2.0, 0.4, (40, 50, 1))
    single = np.clip(256 * np.exp(-amounts * stain_matrix("dab")[:1]) - 1, 0, 255).round().astype(np.uint8)
    assert exchange_stain(single, "dab") is single


def test_stain_amounts_vary() -> None:
    image = stained("eosin")
    np.testing.assert_allclose(vary_stains(image, np.ones(3), np.zeros(3)).astype(int), image, atol=1)
    darker = vary_stains(image, np.full(3, 1.5), np.zeros(3))
    assert darker.mean() < image.mean() - 5
    assert vary_stains(image, np.ones(3), np.full(3, 0.2)).mean() < image.mean() - 5
    white = np.full((4, 5, 3), 255, np.uint8)
    np.testing.assert_array_equal(vary_stains(white, np.full(3, 1.5), np.zeros(3)), white)


def test_colours_are_matched_to_a_reference() -> None:
    image, reference = stained("eosin"), stained("dab")
    wanted = colour_statistics(reference)
    found = colour_statistics(match_colours(image, wanted))
    np.testing.assert_allclose(found.mean, wanted.mean, atol=6)
    np.testing.assert_allclose(match_colours(image, wanted, 0.0).astype(int), image, atol=2)
    flat = match_colours(np.full((8, 9, 3), 200, np.uint8), wanted)
    assert np.ptp(flat) <= 255 and flat.dtype == np.uint8
    augment = build_augmentation("histology", (40, 50), references=[wanted, ColourStatistics((90, 0, 0), (1, 1, 1))])
    assert isinstance(augment, Augmentation)
    results = [augment(image, image[..., 0], seed)[0] for seed in range(8)]
    assert len({result.tobytes() for result in results}) == 8


# Batches


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000), st.booleans())
def test_cutmix(count: int, seed: int, planes: bool) -> None:
    """Image and target of a pixel come from one sample: here both hold the sample's number."""
    numbers = np.arange(count, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 3, 20, 31)).astype(np.float32)
    shape = (count, 2, 20, 31) if planes else (count, 20, 31)
    targets = np.broadcast_to(numbers.reshape(-1, *[1] * (len(shape) - 1)), shape)
    mixed, labels = cutmix(images, targets, np.random.default_rng(seed))
    assert mixed.shape == images.shape and labels.dtype == np.uint8
    np.testing.assert_array_equal(mixed[:, 0], labels[:, 0] if planes else labels)
    for number in range(count):
        assert len(np.unique(mixed[number])) <= 2
    again = cutmix(images, targets, np.random.default_rng(seed))
    np.testing.assert_array_equal(mixed, again[0])


@pytest.mark.parametrize("planes", [False, True])
def test_copy_paste(planes: bool) -> None:
    labels = np.zeros((2, 30, 41), np.uint8)
    labels[0, 2:6, 3:9] = 1
    labels[0, 20:25, 30:36] = 1
    labels[1, 10:15, 10:20] = 2
    labels[1, 0:3, 30:41] = 255
    images = np.stack([np.full((1, 30, 41), 10.0), np.full((1, 30, 41), 20.0)])
    images[labels[:, None] == 1], images[labels[:, None] == 2] = 11.0, 22.0
    targets = np.stack([planes_of(label) for label in labels]) if planes else labels
    background = None if planes else 0
    counts = set()
    for seed in range(6):
        mixed, found = copy_paste(images, targets, np.random.default_rng(seed), background=background)
        shown = [found[0, 1] == 1, found[1, 0] == 1] if planes else [found[0] == 2, found[1] == 1]
        assert shown[0].sum() == 50 and (mixed[0, 0][shown[0]] == 22).all()
        counts.add(int(shown[1].sum()))
        assert (mixed[1, 0][shown[1]] == 11).all() and ((mixed[1] == 11).sum() == shown[1].sum())
    assert counts == {24, 30}
    assert (images != 11.5).all() and set(np.unique(targets)) <= {0, 1, 2, 255}


def test_batches_have_to_fit() -> None:
    images, targets = np.zeros((2, 3, 8, 9)), np.zeros((2, 8, 9), np.uint8)
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected"):
        cutmix(images[0], targets, generator)
    with pytest.raises(ValueError, match="differ"):
        cutmix(images, targets[:1], generator)
    with pytest.raises(ValueError, match="background"):
        copy_paste(images, targets, generator)
    alone, label = copy_paste(images[:1], targets[:1], generator, background=0)
    np.testing.assert_array_equal(alone, images[:1])
    np.testing.assert_array_equal(label, targets[:1])
