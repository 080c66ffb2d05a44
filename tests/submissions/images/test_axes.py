"""Axes of bare arrays: declared, guessed from sizes, from the mask's shape; (64, 64, 8) is no stack of 64."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from submissions.images.axes import axes_of_mask, axes_of_pair, check_axes, check_letters, guess_axes
from submissions.images.opening import Reading, open_image, open_mask

SIZES = {"T": 2, "Z": 3, "H": 5, "W": 7, "C": 4}


@pytest.mark.parametrize(
    "axes", ["".join(one) for n in (2, 3, 4, 5) for one in itertools.permutations("HWCZT", n)][::7]
)
def test_declared_axes_are_read_as_declared(tmp_path: Path, axes: str) -> None:
    if not {"H", "W"} <= set(axes):
        with pytest.raises(ValueError, match="expected H and W"):
            check_letters(axes)
        return
    array = np.random.default_rng(0).integers(0, 255, [SIZES[axis] for axis in axes], dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    reader = open_image(tmp_path / "a.npy", reading=Reading(axes=axes))
    missing = tuple(axis for axis in "TZC" if axis not in axes)
    letters = axes + "".join(missing)
    expected = array.reshape(*array.shape, *[1] * len(missing)).transpose([letters.index(axis) for axis in "TZHWC"])
    expected = expected.reshape(-1, *expected.shape[2:])
    assert reader.shape == expected.shape
    for z in range(len(expected)):
        np.testing.assert_array_equal(reader.read(z), expected[z])
        np.testing.assert_array_equal(reader.read(z, slice(1, 4), slice(2, 6)), expected[z, 1:4, 2:6])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((40, 60), "HW"), ((64, 64, 8), "HWC"), ((256, 256, 16), "HWC"), ((40, 60, 3), "HWC"), ((8, 64, 64), "ZHW"),
        ((64, 64, 64), "ZHW"), ((5, 40, 60, 3), "ZHWC"),
    ],
)  # fmt: skip
def test_guesses_from_sizes(shape: tuple[int, ...], axes: str) -> None:
    assert guess_axes(shape, Path("a.npy")) == axes


@pytest.mark.parametrize("shape", [(8, 64, 8), (2, 2, 5, 40, 60)])
def test_two_readings_that_fit_equally_are_asked_for(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"say it in images\.axes"):
        guess_axes(shape, Path("a.npy"))


@pytest.mark.parametrize(
    ("image", "mask", "axes"),
    [
        ((64, 64, 8), (64, 64), "HWC"), ((8, 64, 64), (64, 64), "CHW"), ((8, 64, 64), (8, 64, 64), "ZHW"),
        ((64, 60, 8), (8, 64, 60), "HWZ"), ((3, 20, 40, 50), (20, 40, 50), "CZHW"), ((40, 60), (40, 60), "HW"),
        ((40, 50, 3, 20), (40, 50, 20), "HWCZ"),
        ((20, 40, 50, 3), (20, 40, 50), "ZHWC"), ((20, 2, 40, 50), (20, 40, 50), "ZCHW"), ((9, 8, 7), (5, 5), None),
        ((6, 6, 6), (6, 6), None),
    ],
)  # fmt: skip
def test_the_masks_shape_tells(image: tuple[int, ...], mask: tuple[int, ...], axes: str | None) -> None:
    assert axes_of_pair(image, mask) == axes


def test_masks_beside_images_of_declared_axes(tmp_path: Path) -> None:
    assert axes_of_mask("HWC", 2) == "HW" and axes_of_mask("CHW", 2) == "HW" and axes_of_mask("HWT", 3) == "HWT"
    assert axes_of_mask("CWH", 2) == "WH" and axes_of_mask("HWTC", 2) == "HW" and axes_of_mask("HW", 4) is None
    label = np.random.default_rng(1).integers(0, 3, (5, 7, 4), dtype=np.uint8)
    np.save(tmp_path / "m.npy", label)
    frames = open_mask(tmp_path / "m.npy", reading=Reading(axes="HWTC"))
    assert frames.shape == (4, 5, 7, 1)
    np.testing.assert_array_equal(frames.read(3)[..., 0], label[..., 3])
    one = open_mask(tmp_path / "m.npy", reading=Reading(axes="HWT", frame=2))
    np.testing.assert_array_equal(one.read(0)[..., 0], label[..., 2])


def test_axes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names 3 axes"):
        check_axes("HWC", (4, 5), tmp_path)
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6)))
    with pytest.raises(ValueError, match="frames 0 to 5"):
        open_image(tmp_path / "a.npy", reading=Reading(axes="HWT", frame=6))
    np.save(tmp_path / "e.npy", np.zeros((0, 5)))
    with pytest.raises(ValueError, match="0 x 5"):
        open_image(tmp_path / "e.npy")
    np.save(tmp_path / "z.npy", np.zeros((0, 5, 30)))
    with pytest.raises(ValueError, match="holds nothing"):
        open_image(tmp_path / "z.npy", reading=Reading(axes="ZHW"))
