"""Reading ahead and in strips: the tiles are those of the whole image, whatever the blocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from inference.config import InputConfig, PredictConfig
from inference.predict.inputs import read_input, reflect_indices, statistics
from inference.predict.strips import batches, make_grid, read_ahead, strips
from submissions.images.opening import ArrayReader


@pytest.mark.parametrize("block_bytes", [1, 3000, 10**6])
@pytest.mark.parametrize("border", [0, 5, 90])
@pytest.mark.parametrize("size", [(150, 77), (40, 200), (1, 1)])
def test_strips_are_cut_from_the_mirrored_image(size: tuple[int, int], border: int, block_bytes: int) -> None:
    image = np.random.default_rng(0).integers(0, 65536, (3, *size, 2), dtype=np.uint16)
    config = InputConfig(channels=2, offsets=[-1, 0], mean=[0.0], std=[1.0])
    reader = ArrayReader(image)
    grid = make_grid(size, 1.0, PredictConfig(tile=(64, 32), border=border))
    rows, cols = grid.rows, grid.cols
    mirrored = read_input(reader, 2, None, None, config)
    mirrored = mirrored[reflect_indices(-rows.before, rows.padded - rows.before, size[0])]
    mirrored = mirrored[:, reflect_indices(-cols.before, cols.padded - cols.before, size[1])]
    found = list(strips(reader, 2, grid, config, block_bytes))
    assert len(found) == len(rows.positions)
    for strip, position in zip(found, rows.positions, strict=True):
        np.testing.assert_array_equal(strip, mirrored[position : position + rows.tile])


@pytest.mark.parametrize("scale", [0.37, 1.6])
def test_blocks_do_not_show_at_another_scale(scale: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 131, 77, 3), dtype=np.uint8)
    grid = make_grid((131, 77), scale, PredictConfig(tile=(32, 32)))
    config = InputConfig()
    few = list(strips(ArrayReader(image), 0, grid, config, 10**7))
    for one, other in zip(few, strips(ArrayReader(image), 0, grid, config, 1), strict=True):
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("tiles", [1, 3, 100])
def test_batches_hold_every_tile_in_order(tiles: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 70, 90, 3), dtype=np.uint8)
    config, reader = InputConfig(), ArrayReader(image)
    grid = make_grid((70, 90), 1.0, PredictConfig(tile=(32, 32)))
    made = list(batches(reader, [0, 1], grid, statistics(reader, config), input_config=config, tiles=tiles))
    places = [(place.plane, place.row, place.col) for batch in made for place in batch.places]
    expected = (2, len(grid.rows.positions), len(grid.cols.positions))
    assert places == list(np.ndindex(expected))
    assert all(batch.inputs is not None and len(batch.inputs) <= tiles for batch in made)


def test_empty_tiles_stay_in_order_and_have_no_input() -> None:
    image = np.full((1, 64, 160, 3), 240, dtype=np.uint8)
    image[:, :, 130:] = np.random.default_rng(0).integers(0, 256, (64, 30, 3), dtype=np.uint8)
    config, reader = InputConfig(), ArrayReader(image)
    grid = make_grid((64, 160), 1.0, PredictConfig(tile=(32, 32), overlap=0))
    made = list(batches(reader, [0], grid, statistics(reader, config), input_config=config, skip_background=True))
    places = [place for batch in made for place in batch.places]
    assert [place.empty for place in places] == [True] * 4 + [False] + [True] * 4 + [False]
    assert sum(0 if batch.inputs is None else len(batch.inputs) for batch in made) == 2


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_read_ahead_keeps_the_order(depth: int) -> None:
    assert list(read_ahead(iter(range(50)), depth)) == list(range(50))


def test_read_ahead_raises_what_the_thread_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("unreadable")

    got = []
    with pytest.raises(OSError, match="unreadable"):
        for item in read_ahead(items(), 2):
            got.append(item)
    assert got == [1]


def test_read_ahead_stops_its_thread_when_left_early() -> None:
    before = threading.active_count()
    ahead = read_ahead(iter(range(10**6)), 2)
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
