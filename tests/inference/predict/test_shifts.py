"""Declared shifts: windows are those of the shifted whole, and each shift does what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from inference.config import InputConfig
from inference.predict.resample import working_scale
from inference.predict.shifts import ShiftedReader, parse_shift, parse_shifts, shifted_input, unfit, value_range
from submissions.images.opening import ArrayReader
from submissions.images.readers import valid_pixels

SHIFTS = [
    "stain:0.1", "brightness:0.2", "blur:1.5", "jpeg:40", "scale:0.5", "contrast:0.5", "gamma:2", "polarity:1",
    "noise:0.1", "blur:1+contrast:0.5", "jpeg:40+blur:1.5+noise:0.05",
]  # fmt: skip


def drawn(channels: int = 3, dtype: type = np.uint8) -> ArrayReader:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(70), 2 * np.arange(53))[None, ..., None] % 200
    values = np.clip(smooth + rng.integers(0, 50, (2, 70, 53, channels)), 0, 255)
    return ArrayReader(values.astype(dtype) if dtype != np.float32 else (values / 255).astype(dtype))


@pytest.mark.parametrize("text", SHIFTS)
def test_a_window_is_that_of_the_shifted_whole(text: str) -> None:
    reader = ShiftedReader(drawn(), text)
    whole = reader.read(1)
    assert whole.shape == (70, 53, 3) and whole.dtype == reader.dtype == np.uint8
    assert reader.shape == (2, 70, 53, 3)
    for rows, cols in ((slice(0, 20), slice(0, 53)), (slice(33, 70), slice(17, 40)), (slice(69, 70), slice(52, 53))):
        window = reader.read(1, rows, cols)
        assert np.abs(window.astype(int) - whole[rows, cols]).max() <= 1
    assert (reader.read(1) == whole).all()
    reader.close()


def test_each_shift_does_what_it_says() -> None:
    plain = drawn().read(0).astype(float)
    brighter = ShiftedReader(drawn(), "brightness:0.2").read(0)
    assert np.array_equal(brighter, np.clip(np.rint(plain + 51), 0, 255))
    blurred = ShiftedReader(drawn(), "blur:1.5").read(0).astype(float)
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.5 * np.abs(np.diff(plain, axis=0)).mean()
    coded = [np.abs(ShiftedReader(drawn(), f"jpeg:{q}").read(0) - plain).mean() for q in (95, 40, 5)]
    assert 0 < coded[0] < coded[1] < coded[2]
    none = ShiftedReader(drawn(), "stain:0").read(0)
    assert np.abs(none - plain).max() <= 1
    stained = ShiftedReader(drawn(), "stain:0.3").read(0)
    assert np.abs(stained - plain).mean() > 1
    assert (ShiftedReader(drawn(), "scale:2").read(0) == plain).all()


def test_values_move_by_their_range() -> None:
    plain = drawn().read(0).astype(float)
    flatter = ShiftedReader(drawn(), "contrast:0.5").read(0)
    assert np.array_equal(flatter, np.rint((plain / 255 - 0.5) * 127.5 + 127.5))
    darker = ShiftedReader(drawn(), "gamma:2").read(0).astype(float)
    assert np.abs(darker - plain**2 / 255).max() <= 1
    assert np.array_equal(ShiftedReader(drawn(), "polarity:1").read(0), 255 - plain)
    twice = ShiftedReader(ShiftedReader(drawn(), "polarity:1"), "polarity:1").read(0)
    assert np.array_equal(twice, plain)


def test_floats_move_by_their_own_range() -> None:
    reader = ArrayReader(drawn(1).array.astype(np.float32) * 40 - 1000)
    low, high = value_range(reader)
    assert low == reader.array.min() and high == reader.array.max()
    turned = ShiftedReader(reader, "polarity:1").read(1)
    assert np.allclose(turned, low + high - reader.read(1), atol=1e-2)
    flat = ArrayReader(np.full((1, 4, 5, 1), 3.0, np.float32))
    assert np.isfinite(ShiftedReader(flat, "gamma:2").read(0)).all()


def test_noise_is_normal_and_follows_from_the_place() -> None:
    grey = ArrayReader(np.full((2, 120, 90, 3), 128, np.uint8))
    first, again = (ShiftedReader(grey, "noise:0.1").read(0).astype(float) for _ in range(2))
    assert np.array_equal(first, again)
    assert abs(first.mean() - 128) < 0.5 and abs(first.std() - 25.5) < 1
    other = ShiftedReader(grey, "noise:0.1").read(1).astype(float)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(first[..., 0].ravel(), first[..., 1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(first[:-1].ravel(), first[1:].ravel())[0, 1]) < 0.05


def test_several_are_one_after_another() -> None:
    both = ShiftedReader(drawn(), "blur:1.5+polarity:1").read(0)
    assert np.array_equal(both, 255 - ShiftedReader(drawn(), "blur:1.5").read(0))
    config = shifted_input(InputConfig(scale=0.5), "noise:0.1+scale:2")
    assert config.scale == 1.0
    assert parse_shifts("blur:1.5+scale:2") == [("blur", 1.5), ("scale", 2.0)]
    with pytest.raises(ValueError, match="names a kind twice"):
        parse_shifts("blur:1+blur:2")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.bool_])
def test_other_types_keep_theirs(dtype: type) -> None:
    reader = drawn(1, dtype)
    for text in ("blur:2", "brightness:-0.1"):
        found = ShiftedReader(reader, text).read(0, slice(5, 30), slice(2, 9))
        assert found.dtype == reader.dtype and found.shape == (25, 7, 1)
    two = ShiftedReader(drawn(2), "jpeg:90").read(0)
    assert two.shape == (70, 53, 2) and two.dtype == np.uint8


def test_scale_is_what_the_network_sees() -> None:
    relative, absolute = InputConfig(scale=0.5), InputConfig(pixel_size_um=1.0)
    assert working_scale(shifted_input(relative, "scale:2"), None) == 1.0
    assert working_scale(shifted_input(absolute, "scale:2"), 0.25) == 2 * working_scale(absolute, 0.25)
    assert shifted_input(relative, "blur:1") is relative


@pytest.mark.parametrize("text", ["blur", "blur:x", "fog:1", "jpeg:0", "stain:1", "scale:nan", "scale:-2"])
def test_what_is_no_shift_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected one of stain"):
        parse_shift(text)


def test_a_shift_that_says_nothing_is_named() -> None:
    assert unfit("stain:0.1", 1, "uint8") == "images have 1 channel(s), but stain needs RGB"
    assert unfit("jpeg:40", 3, np.dtype("uint16")) == "images are uint16, but JPEG needs uint8"
    assert unfit("stain:0.1", 3, "uint16") is None
    with pytest.raises(ValueError, match=r"remove it from tune\.shifts"):
        ShiftedReader(drawn(1), "stain:0.1")


class HalfKnown(ArrayReader):
    """An image whose left half holds no data."""

    void = True

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        known = np.broadcast_to(np.arange(self.shape[2]) >= self.shape[2] // 2, self.shape[1:3])
        return known[rows or slice(None), cols or slice(None)]


@pytest.mark.parametrize("text", ["blur:1.5", "scale:2", "noise:0.1+polarity:1"])
def test_places_without_data_stay_so_under_a_shift(text: str) -> None:
    reader = HalfKnown(drawn().array)
    shifted = ShiftedReader(reader, text)
    found = valid_pixels(shifted, 1, slice(3, 9), slice(20, 40))
    assert shifted.void and found is not None
    assert np.array_equal(found, reader.valid(1)[3:9, 20:40]) and 0 < found.mean() < 1
    assert valid_pixels(ShiftedReader(drawn(), text), 1) is None
