"""Which images are unlike all training images, and how they are brought to their range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.colours import (
    FOREIGN,
    Colours,
    Recoloured,
    in_training_colours,
    learn_colours,
    load_colours,
    measured_quantiles,
    recoloured_lines,
    save_colours,
)
from submissions.images.opening import ArrayReader
from submissions.images.readers import valid_pixels

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


def bright_on_dark(seed: int, dtype: type = np.uint8) -> np.ndarray:
    """(1, 60, 44, 3): a dark ground about 30 with noise, and a bright box about 180."""
    generator = np.random.default_rng(seed)
    pixels = generator.normal(30 + seed % 4, 4, (1, 60, 44, 3))
    pixels[:, 10:30, 5:25] += 150
    scale = 257 if dtype is np.uint16 else 1
    return (np.clip(pixels, 0, 255) * scale).astype(dtype)


@pytest.fixture(scope="module")
def colours() -> Colours:
    quantiles = [measured_quantiles(ArrayReader(bright_on_dark(seed))) for seed in range(12)]
    found = learn_colours(np.stack(quantiles), [f"g{seed // 2}" for seed in range(12)])
    assert found is not None
    return found


def seen(pixels: np.ndarray, colours: Colours) -> np.ndarray:
    reader = in_training_colours(ArrayReader(pixels), colours)
    return np.stack([reader.read(z) for z in range(len(pixels))])


def test_quantiles_are_those_of_all_pixels_of_a_small_image() -> None:
    pixels = bright_on_dark(3)
    expected = np.quantile(pixels.reshape(-1, 3), QUANTILES, axis=0).T / 255
    np.testing.assert_allclose(measured_quantiles(ArrayReader(pixels)), expected)


def test_a_tall_image_is_measured_on_a_grid_strip_by_strip() -> None:
    pixels = np.tile(np.arange(2500, dtype=np.uint16)[None, :, None, None], (1, 1, 1, 2))
    np.testing.assert_allclose(
        measured_quantiles(ArrayReader(pixels)) * 65535,
        np.quantile(np.arange(0, 2500, 12), QUANTILES)[None].repeat(2, 0),
    )


def test_what_is_like_training_is_left_as_it_is(colours: Colours) -> None:
    reader = ArrayReader(bright_on_dark(101))
    assert in_training_colours(reader, colours) is reader


def test_other_exposure_is_brought_back(colours: Colours) -> None:
    plain = bright_on_dark(102)
    darker = (plain * 0.3 + 90).astype(np.uint8)
    assert np.abs(darker.astype(int) - plain).mean() > 30
    assert np.abs(seen(darker, colours).astype(int) - plain).mean() < 6


def test_the_negative_is_turned_round(colours: Colours) -> None:
    plain = bright_on_dark(103)
    made = in_training_colours(ArrayReader(255 - plain), colours)
    assert isinstance(made, Recoloured)
    assert made.attrs["colours"]["inverted"] and made.attrs["colours"]["foreign"]
    assert made.attrs["colours"]["distance"] > FOREIGN
    assert np.abs(seen(255 - plain, colours).astype(int) - plain).mean() < 6


def test_another_type_is_compared_by_shares(colours: Colours) -> None:
    reader = ArrayReader(bright_on_dark(104, np.uint16))
    assert in_training_colours(reader, colours) is reader
    floats = 1 - bright_on_dark(104).astype(np.float32) / 255
    made = in_training_colours(ArrayReader(floats), colours)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.read(0), bright_on_dark(104)[0] / 255, atol=0.06)


def test_range_takes_every_image_but_turns_only_foreign_ones(colours: Colours) -> None:
    everything = colours.model_copy(update={"everything": True})
    made = in_training_colours(ArrayReader(bright_on_dark(105)), everything)
    assert isinstance(made, Recoloured)
    assert not made.attrs["colours"]["foreign"] and not made.attrs["colours"]["inverted"]
    target = np.median(colours.rows, axis=0).reshape(3, 5) * 255
    found = np.quantile(made.read(0).reshape(-1, 3), QUANTILES, axis=0).T
    np.testing.assert_allclose(found[:, [0, 4]], target[:, [0, 4]], atol=1)


def test_windows_are_those_of_the_whole(colours: Colours) -> None:
    made = in_training_colours(ArrayReader(255 - bright_on_dark(106)), colours)
    np.testing.assert_array_equal(made.read(0, slice(7, 21), slice(3, 40)), made.read(0)[7:21, 3:40])


def test_what_cannot_be_compared_is_left_as_it_is(colours: Colours) -> None:
    for pixels in (
        np.full((1, 20, 30, 1), 250, np.uint8),  # another number of channels
        np.full((1, 20, 30, 3), 250, np.uint8),  # no contrast
        np.full((1, 20, 30, 3), np.nan, np.float32),
    ):
        reader = ArrayReader(pixels)
        assert in_training_colours(reader, colours) is reader


def test_places_without_data_stay_so_and_are_not_measured(colours: Colours) -> None:
    class HalfVoid(ArrayReader):
        void = True

        def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
            whole = np.ones(self.shape[1:3], bool)
            whole[:, 30:] = False
            return whole[rows or slice(None), cols or slice(None)]

    pixels = 255 - bright_on_dark(107)
    pixels[:, :, 30:] = 0
    np.testing.assert_allclose(measured_quantiles(HalfVoid(pixels)), measured_quantiles(ArrayReader(pixels[:, :, :30])))
    known = valid_pixels(in_training_colours(HalfVoid(pixels), colours), 0)
    assert known is not None and not known[:, 30:].any() and known[:, :30].all()


def test_groups_set_the_reach() -> None:
    """Tiles of one picture are near each other, pictures are not: what is as far as pictures are is not foreign."""
    quantiles = np.stack([np.full((1, 5), 0.1 * (index // 4)) for index in range(16)])
    found = learn_colours(quantiles, [f"picture {index // 4}" for index in range(16)])
    alone = learn_colours(quantiles, [str(index) for index in range(16)])
    assert found is not None and found.reach == pytest.approx(0.1)
    assert alone is not None and alone.reach < 0.05


def test_too_few_images_or_groups_teach_nothing() -> None:
    quantiles = np.random.default_rng(0).random((12, 3, 5))
    assert learn_colours(quantiles[:7], [str(index) for index in range(7)]) is None
    assert learn_colours(quantiles, [str(index % 2) for index in range(12)]) is None
    quantiles[:6] = np.nan
    assert learn_colours(quantiles, [str(index) for index in range(12)]) is None


def test_many_images_are_thinned() -> None:
    found = learn_colours(np.random.default_rng(0).random((1300, 1, 5)), [str(index) for index in range(1300)])
    assert found is not None and len(found.rows) == 500


def test_the_sentences_name_the_farthest() -> None:
    made = {
        "a": {"colours": {"distance": 2.0, "foreign": True, "inverted": False}},
        "b": {"colours": {"distance": 9.5, "foreign": True, "inverted": True}},
        "c": {"colours": {"distance": 0.5, "foreign": False, "inverted": False}},
        "d": {"members": 1},
    }
    first, second = recoloured_lines(made)
    assert first.startswith("3 of 4 images")
    assert second.startswith("2 of them") and "exchanged in 1;" in second and second.endswith("b (9.5), a (2)")
    assert recoloured_lines({"d": {}}) == []


def test_a_file_is_read_back_and_checked(colours: Colours, tmp_path: Path) -> None:
    path = tmp_path / "colours.json"
    assert load_colours(path) is None
    save_colours(path, colours)
    assert load_colours(path) == colours
    path.write_text(path.read_text().replace('"channels":3', '"channels":2'))
    with pytest.raises(ValueError, match="a row has 15 numbers, expected 5 of 2"):
        load_colours(path)
