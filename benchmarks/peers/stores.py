"""JPEG pictures in Zarr arrays and in WebDataset's shards, written and read as their users do; for `read_speed.py`.

pip install --no-deps --target PEERS webdataset==1.0.2 braceexpand zarr==3.1.5 numcodecs donfig google-crc32c
PYTHONPATH=PEERS python benchmarks/read_speed.py --pictures DIR [DIR ...]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class ZarrPicture:
    """An array (height, width, 3) in chunks of 256 x 256, compressed as Zarr does unasked."""

    def __init__(self, path: Path) -> None:
        import zarr

        self.array = zarr.open_array(path, mode="r")
        self.shape = (1, *self.array.shape)

    def read(self, _: int, rows: slice | None, columns: slice | None) -> np.ndarray:
        """uint8 (height, width, 3) of the window, None: all."""
        return np.asarray(self.array[rows or slice(None), columns or slice(None)])


class ZarrStore:
    """A folder of arrays, one a picture."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, [path.name for path in sorted(folder.iterdir())]
        self.opened: dict[str, ZarrPicture] = {}

    def ids(self) -> list[str]:
        """Names of the pictures."""
        return self.names

    def image(self, name: str) -> ZarrPicture:
        """One of them, opened once a process."""
        return self.opened.setdefault(name, ZarrPicture(self.folder / name))

    def close(self) -> None:
        """Forget what was opened."""
        self.opened.clear()


def write_zarr(folder: Path, pictures: Sequence[tuple[str, np.ndarray]]) -> ZarrStore:
    """Every picture as an array of its own."""
    import zarr

    for name, picture in pictures:
        array = zarr.create_array(folder / name, shape=picture.shape, dtype="uint8", chunks=(256, 256, 3))
        array[:] = picture
    return ZarrStore(folder)


def write_shards(folder: Path, files: Sequence[Path], shards: int = 8) -> list[str]:
    """The files as they are, in tar shards."""
    import webdataset

    folder.mkdir(parents=True)
    names = [str(folder / f"{number}.tar") for number in range(shards)]
    for number, name in enumerate(names):
        with webdataset.TarWriter(name) as writer:
            for path in files[number::shards]:
                writer.write({"__key__": path.stem.replace(".", "-"), "jpg": path.read_bytes()})
    return names


def read_shards(names: Sequence[str], side: int, *, shuffled: bool) -> Any:
    """A data set of the bytes of each picture, or of a window of each at random, as a training loop gets it."""
    import webdataset

    def cut(source: Iterator[dict[str, np.ndarray]]) -> Iterator[int]:
        generator = np.random.default_rng(1)
        for sample in source:
            picture = sample["jpg"]
            if side:
                top, left = (int(generator.integers(max(1, size - side + 1))) for size in picture.shape[:2])
                picture = np.ascontiguousarray(picture[top : top + side, left : left + side])
            yield picture.nbytes

    found = webdataset.WebDataset(list(names), shardshuffle=len(names) if shuffled else False, empty_check=False)
    return (found.shuffle(200) if shuffled else found).decode("rgb8").compose(cut)
