"""Augmentation of volumes: drawn by the seed alone, masks and images moved alike, nothing invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.augmentation import volumes
from pipeline.augmentation.volumes import VOLUME_RECIPES, VolumeAugmentation, VolumeRecipe, in_plane_only

SIZE = (12, 20, 18)


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 (2, 12, 20, 18), and a label of 0, 1, 3 and 255 whose pattern the first channel shows."""
    label = np.zeros(SIZE, np.uint8)
    label[3:9, 5:14, 4:12] = 1
    label[5:7, 8:10, 6:9] = 3
    label[0, 0] = 255
    noise = np.random.default_rng(seed).normal(size=(1, *SIZE))
    return np.concatenate([(label == 1)[None], noise]).astype(np.float32), label


def of(**settings: object) -> VolumeAugmentation:
    augment = VolumeAugmentation("none")
    augment.recipe = replace(VolumeRecipe("a test"), **settings)  # type: ignore[arg-type]
    return augment


@pytest.mark.parametrize("name", list(VOLUME_RECIPES))
def test_recipes_keep_sizes_types_and_values_and_repeat_themselves(name: str) -> None:
    image, label = drawn()
    augment = VolumeAugmentation(name)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    for seed in range(12):
        pixels, moved = augment(image, label, seed, spacing=(2, 1, 1))
        assert pixels.shape == image.shape and pixels.dtype == np.float32 and np.isfinite(pixels).all()
        assert moved.shape == label.shape and moved.dtype == np.uint8
        assert set(np.unique(moved)) <= {0, 1, 3, 255}
        again = augment(image, label, seed, spacing=(2, 1, 1))
        assert np.array_equal(pixels, again[0]) and np.array_equal(moved, again[1])
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(drawn()[0], image) and np.array_equal(drawn()[1], label)


def test_planes_are_moved_like_labels() -> None:
    image, label = drawn()
    augment = of(mirror=True, spatial=1.0, rotate=30, zoom=(0.8, 1.2))
    for seed in range(5):
        planes = np.stack([label == 1, label == 3]).astype(np.uint8)
        moved, turned = augment(image, planes, seed)[1], augment(image, label, seed)[1]
        assert np.array_equal(moved[0] == 1, turned == 1) and np.array_equal(moved[1] == 1, turned == 3)


def test_images_and_masks_move_alike() -> None:
    image, label = drawn()
    for augment in (of(spatial=1.0, rotate=20, zoom=(0.9, 1.1)), of(warp=1.0, elastic=2), of(mirror=True)):
        for seed in range(4):
            pixels, moved = augment(image, label, seed)
            assert ((pixels[0] > 0.5) == (moved == 1)).mean() > 0.97


def test_a_quarter_turn_in_millimetres_is_a_quarter_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((1, 8, 16, 16), np.float32)
    image[0, 2:6, 2:10, 6:10] = 1  # 4 slices of 2 mm, 8 rows, 4 columns of 1 mm
    monkeypatch.setattr(volumes, "_between", lambda low, high, generator: high)
    turned = of(spatial=1.0, rotate=90)
    turned.recipe = replace(turned.recipe, zoom=(1.0, 1.0))
    monkeypatch.setattr(volumes, "_matrix", only_axis(0))
    flat, _ = turned(image, image[0].astype(np.uint8), 0)
    np.testing.assert_allclose(flat[0], np.rot90(image[0], -1, (1, 2)), atol=1e-4)
    monkeypatch.setattr(volumes, "_matrix", only_axis(2))
    deep, _ = turned(image, image[0].astype(np.uint8), 0, spacing=(2.0, 1.0, 1.0))
    # 8 mm of slices become 8 rows, 8 mm of rows 4 slices: the block keeps its millimetres
    assert abs(float(deep.sum()) - float(image.sum())) < 0.05 * float(image.sum())


MATRIX = volumes._matrix


def only_axis(axis: int):
    """A draw that turns about one axis by the largest angle."""

    def made(recipe: VolumeRecipe, size, spacing, generator):
        angles = iter([recipe.rotate if a == axis else 0.0 for a in range(3)] + [1.0])
        original = volumes._between
        volumes._between = lambda low, high, generator: next(angles)  # type: ignore[assignment]
        try:
            return MATRIX(recipe, size, spacing, generator)
        finally:
            volumes._between = original

    return made


def test_thin_patches_are_turned_in_their_planes() -> None:
    assert in_plane_only((4, 16, 16)) and not in_plane_only((8, 16, 16))
    image = np.zeros((1, 4, 16, 16), np.float32)
    image[0, 1] = 1
    moved, _ = of(spatial=1.0, rotate=45, warp=1.0, elastic=3)(image, image[0].astype(np.uint8), 1)
    np.testing.assert_allclose(moved, image, atol=1e-5)


def test_gamma_keeps_mean_and_deviation() -> None:
    image, label = drawn()
    bent, _ = of(gamma=1.0)(image, label, 3)
    assert bent.mean() == pytest.approx(image.mean(), abs=1e-4) and bent.std() == pytest.approx(image.std(), rel=1e-4)
    assert not np.allclose(bent, image)


def test_a_lower_resolution_moves_nothing() -> None:
    ramp = torch.arange(40.0).expand(1, 40, 40, 40).contiguous()
    moved = [float((volumes._coarsen(ramp, zoom) - ramp)[..., 8:-8].mean()) for zoom in np.linspace(0.5, 1, 11)]
    assert abs(np.mean(moved)) < 0.1  # half a voxel where the nearest one to the left is taken


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="'histology' is for images; volumes have none, flips"):
        VolumeAugmentation("histology")
