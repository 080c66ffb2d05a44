"""Stacking and normalising: every rule against numbers written out by hand or a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from inference.config import InputConfig
from inference.predict.inputs import (
    Statistics,
    normalise,
    read_input,
    reflect_indices,
    stack_indices,
    statistics,
    value_maximum,
)
from submissions.images.opening import ArrayReader


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [("clamp", [0, 0, 1, 2, 3]), ("reflect", [1, 0, 1, 2, 3]), ("zero", [None, 0, 1, 2, 3])],
)
def test_stack_indices_at_the_first_slices(boundary: str, expected: list[int | None]) -> None:
    assert stack_indices(1, 5, [-2, -1, 0, 1, 2], boundary) == expected


def test_stack_indices_of_a_single_slice() -> None:
    assert stack_indices(0, 1, [-3, 0, 3], "reflect") == [0, 0, 0]
    assert stack_indices(0, 1, [-3, 0, 3], "zero") == [None, 0, None]


def test_stack_indices_refuses_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="slice 5 is outside the stack: expected 0 to 4"):
        stack_indices(5, 5, [0], "clamp")
    with pytest.raises(ValueError, match="boundary is 'wrap'"):
        stack_indices(0, 5, [-1], "wrap")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_reflect_indices_equal_numpy_pad(size: int) -> None:
    before, after = 2 * size + 1, 3 * size
    expected = np.pad(np.arange(size), (before, after), mode="reflect") if size > 1 else np.zeros(6, int)
    assert reflect_indices(-before, size + after, size).tolist()[: len(expected)] == expected.tolist()


def test_read_input_is_slice_major() -> None:
    volume = np.arange(4 * 5 * 6 * 2, dtype=np.uint16).reshape(4, 5, 6, 2)
    config = InputConfig(channels=2, offsets=[-1, 0, 2], boundary="zero", mean=[0.0], std=[1.0])
    read = read_input(ArrayReader(volume), 3, slice(1, 4), slice(2, 6), config)
    assert read.dtype == np.uint16
    assert read.shape == (3, 4, 6)
    np.testing.assert_array_equal(read[..., :2], volume[2, 1:4, 2:6])
    np.testing.assert_array_equal(read[..., 2:4], volume[3, 1:4, 2:6])
    assert not read[..., 4:].any()


def test_read_input_with_no_slice_at_all_is_blank() -> None:
    config = InputConfig(channels=1, offsets=[7], boundary="zero", mean=[0.0], std=[1.0])
    reader = ArrayReader(np.ones((2, 5, 6, 1), dtype=np.uint8))
    assert read_input(reader, 0, slice(1, 4), None, config).tolist() == np.zeros((3, 6, 1)).tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
def test_fixed_normalisation_by_hand(dtype: type) -> None:
    rng = np.random.default_rng(0)
    image = (rng.random((7, 5, 6)) * value_maximum(np.dtype(dtype))).astype(dtype)
    config = InputConfig(offsets=[-1, 0])
    got = normalise(image, statistics(ArrayReader(image[None, :, :, :3]), config), config)
    assert (got.dtype, got.shape) == (np.float32, (6, 7, 5))
    for channel in range(6):
        value = image[..., channel].astype(np.float64) / value_maximum(np.dtype(dtype))
        expected = (value - config.mean[channel % 3]) / config.std[channel % 3]
        np.testing.assert_allclose(got[channel], expected, atol=1e-5)


def test_image_normalisation_gives_mean_0_and_deviation_1_a_channel() -> None:
    rng = np.random.default_rng(1)
    volume = rng.normal([5, 5000, -3], [1, 900, 0.01], (4, 20, 30, 3)).astype(np.float32)
    config = InputConfig(normalisation="image")
    measured = statistics(ArrayReader(volume), config)
    stacked = np.concatenate([normalise(plane, measured, config) for plane in volume], axis=1)
    np.testing.assert_allclose(stacked.mean(axis=(1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(stacked.std(axis=(1, 2)), 1, atol=1e-3)


def test_percentile_normalisation_clips_the_ends() -> None:
    image = np.linspace(0, 1.7e6, 10_000, dtype=np.float32).reshape(1, 100, 100, 1)
    config = InputConfig(channels=1, normalisation="percentile", mean=[0.5], std=[0.25])
    measured = statistics(ArrayReader(image), config)
    assert measured.low[0] == pytest.approx(1.7e4, rel=1e-3)
    assert measured.high[0] == pytest.approx(1.7e6 * 0.99, rel=1e-3)
    got = normalise(image[0], measured, config)
    assert (got.min(), got.max()) == (pytest.approx(-2), pytest.approx(2))
    assert got[0, 50, 0] == pytest.approx(0, abs=0.05)


def test_statistics_of_chosen_slices_and_of_a_flat_image() -> None:
    volume = np.zeros((3, 8, 9, 1), dtype=np.float32)
    volume[1] = 7
    config = InputConfig(channels=1, normalisation="image", mean=[0.0], std=[1.0])
    assert statistics(ArrayReader(volume), config, [1]) == Statistics((7.0,), (8.0,))
    assert not normalise(volume[1], Statistics((7.0,), (8.0,)), config).any()


def test_statistics_of_a_large_image_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.predict.inputs.SAMPLES", 5000)
    monkeypatch.setattr("inference.predict.inputs.READ_ROWS", 7)
    rows = np.broadcast_to(np.linspace(0, 1, 500, dtype=np.float32)[None, :, None, None], (1, 500, 400, 1))
    config = InputConfig(channels=1, normalisation="image", mean=[0.0], std=[1.0])
    measured = statistics(ArrayReader(rows), config)
    assert measured.low[0] == pytest.approx(0.5, abs=0.02)
    assert measured.high[0] - measured.low[0] == pytest.approx(12**-0.5, abs=0.02)


def test_grey_is_repeated_and_colour_reduced() -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    config = InputConfig(offsets=[0, 1], mean=[0.0], std=[1.0])
    got = normalise(grey, Statistics((0.0,), (255.0,)), config)
    np.testing.assert_allclose(got, np.repeat(grey, 3, axis=2).transpose(2, 0, 1) / np.float32(255), atol=1e-6)
    colour = np.zeros((2, 3, 3), dtype=np.uint8)
    colour[..., 1] = 255
    one = InputConfig(channels=1, mean=[0.0], std=[1.0])
    np.testing.assert_allclose(normalise(colour, Statistics((0.0,), (255.0,)), one), 0.587, atol=1e-6)


def test_channels_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"4 channels for 1 slice\(s\), but input\.channels is 3"):
        normalise(np.zeros((2, 2, 4), np.uint8), Statistics((0.0,), (255.0,)), InputConfig())
    five = InputConfig(channels=5, mean=[0.0], std=[1.0])
    with pytest.raises(
        ValueError, match=r"the image has 3 channels for 1 slice.*set input\.channels to what the host gives"
    ):
        normalise(np.zeros((2, 2, 3), np.uint8), Statistics((0.0,), (255.0,)), five)
