"""The patch index against counting by hand, and the odds and positions of drawn windows."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.patch_index import (
    PatchGrid,
    Window,
    WindowSampler,
    grid_index,
    keep_tissue,
    read_index,
    window_odds,
    write_index,
)
from pipeline.data.store import Store, StoredImage, create_store

RNG = np.random.default_rng(0)


def stored(folder: Path, image: np.ndarray, target: np.ndarray | None, name: str = "a") -> StoredImage:
    """An image in a store of its own."""
    store = create_store(folder)
    store.write(name, image, target)
    return store.image(name)


@pytest.mark.parametrize("planes", [False, True])
def test_shares_are_counted_right(tmp_path: Path, planes: bool) -> None:
    label = RNG.choice(np.array([0, 1, 2, 255], np.uint8), (2, 50, 71))
    target = label
    if planes:
        target = np.stack([np.where(label == 255, 255, label == k) for k in range(3)], axis=1).astype(np.uint8)
    image = stored(tmp_path, np.zeros((2, 50, 71, 3), np.uint8), target)
    index = grid_index(image, (16, 20), ["background", "b", "c"])
    assert set(index["z"]) == {0, 1} and (index["height"] == 16).all() and (index["width"] == 20).all()
    for row in index.itertuples():
        window = label[row.z, row.y : row.y + 16, row.x : row.x + 20]
        known = window != 255
        for value, name in enumerate(["background", "b", "c"]):
            share = getattr(row, f"foreground_{name}")
            assert share == pytest.approx((window == value).sum() / known.sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_the_grid_covers_every_pixel(height: int, width: int, tall: int, wide: int) -> None:
    class Image(StoredImage):
        def __init__(self) -> None:
            self.image_id, self.shape, self.target_shape = "a", (1, height, width, 1), (1, height, width)
            self.attrs = {}

        def read_target(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
            assert rows is not None and cols is not None
            return np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)

    index = grid_index(Image(), (tall, wide), ["k"])
    covered = np.zeros((height, width), int)
    for row in index.itertuples():
        assert 0 <= row.y <= height - row.height and 0 <= row.x <= width - row.width
        covered[row.y : row.y + row.height, row.x : row.x + row.width] += 1
    assert covered.min() >= 1 and (index["foreground_k"] == 1).all()
    assert (index["height"] == min(tall, height)).all() and (index["width"] == min(wide, width)).all()


def test_a_target_has_to_fit(tmp_path: Path) -> None:
    image = np.zeros((1, 5, 6, 1), np.uint8)
    with pytest.raises(ValueError, match="for 3 classes"):
        grid_index(stored(tmp_path, image, np.zeros((1, 2, 5, 6), np.uint8)), (2, 2), ["a", "b", "c"])
    with pytest.raises(ValueError, match="target None"):
        grid_index(stored(tmp_path, image, None), (2, 2), ["a"])


def test_tissue(tmp_path: Path) -> None:
    slide = np.full((1, 128, 256, 3), 240, np.uint8)
    slide[0, :, 128:] = RNG.integers(0, 255, (128, 128, 3))
    target = np.zeros((1, 1, 128, 256), np.uint8)
    target[0, 0, 0, 0] = 1  # an annotated pixel on glass stays
    index = grid_index(stored(tmp_path, slide, target), (64, 64), ["k"], tissue=True)
    assert list(index["tissue"]) == [False, False, True, True] * 2
    shares = slide.astype(np.float32) / 255
    shares[0, :, :128] = RNG.random((128, 128, 1)) / 1000  # dark, and noise alone
    floats = grid_index(stored(tmp_path / "floats", shares, target), (64, 64), ["k"], tissue=True)
    assert list(floats["tissue"]) == [False, False, True, True] * 2
    kept = keep_tissue(index, 0.0, np.random.default_rng(0))
    assert list(zip(kept["y"], kept["x"], strict=True)) == [(0, 0), (0, 128), (0, 192), (64, 128), (64, 192)]
    assert len(keep_tissue(index, 1.0, np.random.default_rng(0))) == 8
    many = pd.concat([index] * 500, ignore_index=True)
    assert len(keep_tissue(many, 0.3, np.random.default_rng(0))) == pytest.approx(500 * (5 + 0.3 * 3), rel=0.05)
    with_background = index.assign(foreground_background=1.0)
    assert len(keep_tissue(with_background, 0.0, np.random.default_rng(0))) == 5, "background is no foreground"
    with pytest.raises(ValueError, match="tissue"):
        keep_tissue(index.drop(columns="tissue"), 0.5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="share"):
        keep_tissue(index, 1.5, np.random.default_rng(0))


def table() -> pd.DataFrame:
    """Image a: 3 windows, one shows k; image b: 1 window with k and m; image c: 1 window with nothing."""
    return pd.DataFrame(
        {
            "image_id": ["a", "a", "a", "b", "c"],
            "axis": "z",
            "z": 0,
            "y": [0, 10, 20, 0, 0],
            "x": 0,
            "height": 10,
            "width": 12,
            "foreground_background": 0.5,
            "foreground_k": [0.0, 0.2, 0.0, 0.5, 0.0],
            "foreground_m": [0.0, 0.0, 0.0, 0.1, 0.0],
        }
    )


def test_odds() -> None:
    index = table()
    third = np.array([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3])
    np.testing.assert_allclose(window_odds(index, foreground=0), third)
    drawn = 0.5 * np.array([0, 0.25, 0, 0.75, 0]) + 0.5 * np.array([0, 0, 0, 1, 0])
    np.testing.assert_allclose(window_odds(index, foreground=1), drawn)
    np.testing.assert_allclose(window_odds(index, foreground=0.4), 0.6 * third + 0.4 * drawn)
    np.testing.assert_allclose(window_odds(index, foreground=1, classes={"k": 2, "m": 0}), [0, 0.25, 0, 0.75, 0])
    found = window_odds(index, foreground=0, images={"a": 1.0, "b": 3.0})
    np.testing.assert_allclose(found, [1 / 12, 1 / 12, 1 / 12, 0.75, 0])
    found = window_odds(index, foreground=0, groups={"a": "p", "b": "p", "c": "q"})
    np.testing.assert_allclose(found, [1 / 12, 1 / 12, 1 / 12, 0.25, 0.5])
    found = window_odds(index, foreground=1, groups={"a": "p", "b": "p", "c": "q"})
    np.testing.assert_allclose(found, [*drawn[:4] / 2, 0.5])  # q shows nothing, and comes as often all the same
    np.testing.assert_allclose(window_odds(index), window_odds(index, foreground=0.5))
    empty = index.assign(foreground_k=0.0, foreground_m=0.0)
    np.testing.assert_allclose(window_odds(empty, foreground=1), third)
    with pytest.raises(ValueError, match="no class z"):
        window_odds(index, classes={"z": 1.0})
    with pytest.raises(ValueError, match="no window"):
        window_odds(index, images={})
    with pytest.raises(ValueError, match="no window"):
        window_odds(index, images={"a": -1.0, "b": 3.0})


def test_images_of_one_window_keep_their_share_unless_the_user_says_otherwise() -> None:
    whole = table().iloc[2:]
    np.testing.assert_allclose(window_odds(whole), 1 / 3)
    np.testing.assert_allclose(window_odds(whole, foreground=0.5), [1 / 6, 4 / 6, 1 / 6])
    np.testing.assert_allclose(window_odds(whole, classes={"k": 1.0}), window_odds(whole, foreground=0.5))


def test_windows_are_drawn_by_odds_inside_the_image() -> None:
    index = table()
    sampler = WindowSampler(index, window_odds(index, foreground=0.5))
    drawn = [sampler.draw(np.random.default_rng([7, 0, i])) for i in range(4000)]
    for window in drawn:
        assert isinstance(window, Window) and 0 <= window.y <= (20 if window.image_id == "a" else 0)
        assert window.x == 0 and (window.height, window.width) == (10, 12)
    assert len({window.y for window in drawn if window.image_id == "a"}) == 21
    share = np.mean([window.image_id == "b" for window in drawn])
    assert share == pytest.approx(window_odds(index, foreground=0.5)[3], abs=0.03)
    assert drawn[:50] == [sampler.draw(np.random.default_rng([7, 0, i])) for i in range(50)]
    assert drawn[:50] != [sampler.draw(np.random.default_rng([7, 1, i])) for i in range(50)]
    with pytest.raises(ValueError, match="odds for"):
        WindowSampler(index, np.ones(3))


class Drawn(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Patches of a store as (sample, worker, checksum of the pixels): sums of unlike patches may be equal."""

    def __init__(self, store: Store, sampler: WindowSampler) -> None:
        self.store, self.sampler = store, sampler

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        window = self.sampler.draw(np.random.default_rng([3, 0, index]))
        rows, cols = slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)
        pixels = self.store.image(window.image_id).read(window.z, rows, cols)
        worker = torch.utils.data.get_worker_info()
        return index, -1 if worker is None else worker.id, zlib.crc32(np.ascontiguousarray(pixels))


@pytest.mark.parametrize("kind", ["memmap", "hdf5"])
def test_workers_share_no_sequence_and_change_no_sample(tmp_path: Path, kind: str) -> None:
    """Two processes draw different patches, and together what one process draws alone."""
    store = create_store(tmp_path, kind)  # type: ignore[arg-type]
    for name in "abc":
        target = np.zeros((1, 60, 70), np.uint8)
        store.write(name, RNG.integers(0, 256, (1, 60, 70, 3), dtype=np.uint8), target)
    index = pd.concat([grid_index(store.image(name), (16, 16), ["k"]) for name in store.ids()])
    drawn = Drawn(store, WindowSampler(index, window_odds(index)))
    alone = [drawn[i][2] for i in range(40)]  # handles are open when the processes begin
    rows = list(torch.utils.data.DataLoader(drawn, batch_size=None, num_workers=2))
    assert [row[2] for row in rows] == alone
    first, second = ({row[2] for row in rows if row[1] == worker} for worker in (0, 1))
    assert len(first) == len(second) == 20 and not first & second


def test_a_written_index_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    store = create_store(tmp_path / "store")
    rng = np.random.default_rng(0)
    for name in ("010", "b", "a"):
        target = (rng.random((1, 1, 40, 53)) > 0.7).astype(np.uint8)
        store.write(name, rng.integers(0, 255, (1, 40, 53, 3), np.uint8), target)
    grid = PatchGrid((16, 24), ["k"])
    made = read_index(store, ["b", "010"], grid)
    assert not grid.path(store).is_file()
    write_index(store, grid)
    pd.testing.assert_frame_equal(read_index(store, ["b", "010"], grid), made)
    with_tissue = read_index(store, ["b", "010"], PatchGrid((16, 24), ["k"], tissue=True))
    assert "tissue" in with_tissue and "tissue" not in made
    grid.path(store).write_text("image_id\nother\n")
    pd.testing.assert_frame_equal(read_index(store, ["b", "010"], grid), made)


def test_windows_of_nothing_but_void_are_left_out(tmp_path: Path) -> None:
    blank = np.zeros((1, 16, 32, 1), np.uint8)
    for name, edge, lefts in (("half", 16, [16, 24]), ("all", 32, [0, 8, 16, 24])):
        target = np.zeros((1, 1, 16, 32), np.uint8)
        target[..., :edge] = 255
        found = grid_index(stored(tmp_path / name, blank, target), (8, 8), ["x"])
        assert found["x"].tolist() == lefts * 2
