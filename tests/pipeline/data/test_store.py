"""Stores of every kind: windows, strips, kills and forks."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.predict.resample import resize_image
from pipeline.data.storage_formats import blocks
from pipeline.data.store import Store, create_store, open_store
from submissions.images.opening import ArrayReader, ImageReader

RNG = np.random.default_rng(0)
KINDS = ["memmap", "hdf5", "raw"]


def draw(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    """An array of random values."""
    if dtype == "float32":
        return RNG.normal(size=shape).astype(np.float32)
    if dtype == "bool":
        return RNG.random(shape) > 0.5
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def fill(folder: Path, kind: str, image: np.ndarray, target: np.ndarray | None, **options: Any) -> Store:
    """A store with one image, 'a', opened to read."""
    store = create_store(folder, kind, **options)  # type: ignore[arg-type]
    if kind == "raw":
        store.write("a", None, target, {"n": 1}, shape=image.shape, dtype=image.dtype)  # type: ignore[arg-type]
    else:
        store.write("a", image, target, {"n": np.int64(1)})
    return open_store(folder, opener=lambda image_id, attrs: ArrayReader(image))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
@pytest.mark.parametrize("planes", [0, 3])
def test_windows_equal_slices(tmp_path: Path, kind: str, dtype: str, planes: int) -> None:
    image = draw((2, 50, 71, 3), dtype)
    target = draw((2, planes, 50, 71) if planes else (2, 50, 71))
    options = {"chunk": (16, 32)} if kind == "hdf5" else {}
    store = fill(tmp_path, kind, image, target, **options)
    stored = store.image("a")
    assert isinstance(stored, ImageReader)
    assert stored.shape == image.shape and stored.dtype == image.dtype and stored.attrs == {"n": 1}
    assert stored.target_shape == target.shape and store.ids() == ["a"]
    for z in range(2):
        np.testing.assert_array_equal(stored.read(z), image[z])
        np.testing.assert_array_equal(stored.read_target(z), target[z])
        for _ in range(10):
            y, x = RNG.integers(0, 40), RNG.integers(0, 60)
            rows, cols = slice(y, y + RNG.integers(1, 11)), slice(x, x + RNG.integers(1, 12))
            found = stored.read(z, rows, cols)
            np.testing.assert_array_equal(found, image[z, rows, cols])
            assert found.flags.writeable and found.dtype == image.dtype
            np.testing.assert_array_equal(stored.read_target(z, rows, cols), target[z, ..., rows, cols])
    with pytest.raises(ValueError, match="window"):
        stored.read(0, slice(40, 51))
    store.close()
    np.testing.assert_array_equal(stored.read(1), image[1])


@pytest.mark.parametrize("kind", ["memmap", "hdf5"])
@pytest.mark.parametrize("planes", [0, 2])
def test_strips_make_the_same_store(tmp_path: Path, kind: str, planes: int) -> None:
    image = draw((3, 20, 31, 2), "uint16")
    target = draw((3, planes, 20, 31) if planes else (3, 20, 31))

    def cut(array: np.ndarray, axis: int) -> Iterator[np.ndarray]:
        for part in array:
            yield from np.split(part, [7, 9, 16], axis=axis)

    store = create_store(tmp_path, kind)  # type: ignore[arg-type]
    store.write(
        "a", cut(image, 0), cut(target, 1 if planes else 0),
        shape=(3, 20, 31, 2), dtype="uint16", target_shape=target.shape,
    )  # fmt: skip
    stored = store.image("a")
    for z in range(3):
        np.testing.assert_array_equal(stored.read(z), image[z])
        np.testing.assert_array_equal(stored.read_target(z), target[z])


def test_strips_that_do_not_fit(tmp_path: Path) -> None:
    shape = (2, 10, 7, 3)
    good = [np.zeros((5, 7, 3))] * 4
    assert [(z, row) for z, row, _ in blocks(good, shape, 0)] == [(0, 0), (0, 5), (1, 0), (1, 5)]
    for bad in (
        good[:3],
        [*good, good[0]],
        [np.zeros((5, 6, 3))],
        [np.zeros((7, 7, 3))] * 2,
        [np.zeros((5, 7))],
    ):
        with pytest.raises(ValueError, match=r"strip"):
            list(blocks(bad, shape, 0))
    store = create_store(tmp_path)
    with pytest.raises(ValueError, match="strips end"):
        store.write("a", iter(good[:3]), shape=shape, dtype="uint8")
    assert store.ids() == []


def test_ids_may_hold_anything(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    names = ["..", ".", "a/b", "a.partial", "käse 1", "x" * 200, "CON", "a%2Fb"]
    for i, name in enumerate(names):
        store.write(name, np.full((1, 2, 3, 1), i, np.uint8))
    assert open_store(tmp_path).ids() == sorted(names)
    for i, name in enumerate(names):
        assert (store.image(name).read(0) == i).all()
    assert {p.name for p in tmp_path.iterdir()} == {"store.json", "units"}
    for name in ("", "x" * 201):
        with pytest.raises(ValueError, match="characters"):
            store.write(name, np.zeros((1, 2, 3, 1), np.uint8))


def test_an_image_may_be_written_again(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    for value in (1, 2):
        store.write("a", np.full((1, 4, 5, 1), value, np.uint8))
        assert (store.image("a").read(0) == value).all()
    with pytest.raises(ValueError, match="without a target"):
        store.image("a").read_target(0)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    store = create_store(tmp_path / "m")
    image = np.zeros((1, 4, 5, 3), np.uint8)
    for bad in (image[0], image.astype(np.int32), image[:, :0]):
        with pytest.raises(ValueError, match="expected"):
            store.write("a", bad)
    for target in (image[..., 0].astype(bool), image[0, ..., 0], np.zeros((1, 5, 4), np.uint8)):
        with pytest.raises(ValueError, match="target"):
            store.write("a", image, target)
    with pytest.raises(ValueError, match="strips and raw"):
        store.write("a", iter(image))
    with pytest.raises(ValueError, match="takes an image"):
        store.write("a", None, shape=(1, 4, 5, 3), dtype="uint8")
    with pytest.raises(ValueError, match="attrs hold"):
        store.write("a", image, None, {"when": object()})
    with pytest.raises(ValueError, match="no pixels"):
        create_store(tmp_path / "r", "raw").write("a", image)
    with pytest.raises(FileNotFoundError, match="stage 03"):
        store.image("b")
    with pytest.raises(FileNotFoundError, match="stage 03"):
        open_store(tmp_path)
    with pytest.raises(ValueError, match="kind"):
        create_store(tmp_path, "zarr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no option"):
        create_store(tmp_path, "memmap", chunk=(2, 2))
    with pytest.raises(ValueError, match="another folder"):
        create_store(tmp_path / "m", "hdf5")
    assert create_store(tmp_path / "m").ids() == []
    (tmp_path / "m" / "store.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="format 0"):
        open_store(tmp_path / "m")


def test_raw_stores_need_an_opener_and_the_same_file(tmp_path: Path) -> None:
    image = draw((1, 40, 60, 3))
    store = create_store(tmp_path, "raw")
    store.write("a", None, None, {"path": "a.png"}, shape=(1, 20, 30, 3), dtype="uint8")
    asked: list[tuple[str, dict]] = []

    def opener(image_id: str, attrs: dict[str, Any]) -> ImageReader:
        asked.append((image_id, attrs))
        return ArrayReader(image)

    found = open_store(tmp_path, opener=opener).image("a").read(0, slice(3, 9), slice(2, 30))
    assert asked == [("a", {"path": "a.png"})]
    assert np.abs(found - resize_image(image[0], (20, 30))[3:9, 2:30].astype(int)).max() <= 1
    with pytest.raises(ValueError, match="opener"):
        open_store(tmp_path).image("a").read(0)
    with pytest.raises(ValueError, match="changed"):
        open_store(tmp_path, opener=lambda *_: ArrayReader(image[..., :1])).image("a").read(0)


def _write_slowly(folder: str) -> None:
    store = create_store(folder)
    for i in range(200):
        store.write(f"{i:03d}", np.full((1, 300, 200, 3), i, np.uint8), np.full((1, 300, 200), i % 2, np.uint8))


def test_a_kill_loses_no_finished_image(tmp_path: Path) -> None:
    for pause in (0.02, 0.05):
        process = multiprocessing.get_context("fork").Process(target=_write_slowly, args=(str(tmp_path),))
        process.start()
        while not (tmp_path / "units").is_dir() or len(list((tmp_path / "units").iterdir())) < 12:
            time.sleep(0.002)
        time.sleep(pause)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        store = open_store(tmp_path)
        assert len(store.ids()) >= 10
        for name in store.ids():
            stored = store.image(name)
            assert (stored.read(0) == int(name)).all() and (stored.read_target(0) == int(name) % 2).all()


@pytest.mark.parametrize("kind", ["memmap", "hdf5"])
def test_no_handle_crosses_a_fork(tmp_path: Path, kind: str) -> None:
    image = draw((1, 64, 65, 3))
    store = fill(tmp_path, kind, image, image[..., 0])
    stored = store.image("a")
    stored.read(0)
    before = store._units["a"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        same = (stored.read(0) == image[0]).all() and (stored.read_target(0) == image[0, ..., 0]).all()
        os.write(writer, b"y" if same and store._units["a"] is not before else b"n")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"y"
    np.testing.assert_array_equal(stored.read(0, slice(3, 60)), image[0, 3:60])
    copy = pickle.loads(pickle.dumps(open_store(tmp_path)))
    np.testing.assert_array_equal(copy.image("a").read(0), image[0])


def test_few_units_stay_open(tmp_path: Path) -> None:
    store = create_store(tmp_path, "hdf5")
    for i in range(40):
        store.write(str(i), np.full((1, 3, 4, 1), i, np.uint8))
    opened = [store.image(str(i)) for i in range(40)]
    for _ in range(2):
        assert [int(image.read(0)[0, 0, 0]) for image in opened] == list(range(40))
    assert len(store._units) == 32


def test_a_large_mapped_file_lets_go_of_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.storage_formats._MAPPED_BYTES", 1000)
    image = draw((1, 64, 65, 3))
    stored = fill(tmp_path, "memmap", image, None).image("a")
    for y in range(50):
        np.testing.assert_array_equal(stored.read(0, slice(y, y + 5)), image[0, y : y + 5])
    assert stored._store._units["a"][0]._array is None
