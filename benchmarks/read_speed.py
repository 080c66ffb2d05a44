"""Reading a store: raw against HDF5 against memmap, whole images and windows, warm and cold.

    python benchmarks/read_speed.py [--images 48] [--side 1024] [--workers 0 1 2] [--out benchmarks/results]
    python benchmarks/read_speed.py --pictures DIR [DIR ...] [--sides 128 256] (JPEG files; WebDataset and Zarr beside)

Pictures are drawn, or files of folders. Raw is a folder of PNG or JPEG files, decoded when read. "Cold" means that the
files' pages were dropped from the page cache before the run (posix_fadvise DONTNEED); "warm", that everything was read
once before. Rates count pixels as they arrive, decoded. Loader processes return sizes only, so what they cost is
starting them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
import torch
from drawn import draw_label, draw_picture
from peers.stores import read_shards, write_shards, write_zarr
from torch.utils.data import DataLoader, Dataset

from pipeline.data.store import Store, create_store, open_store
from submissions.images.opening import ImageReader, open_image

Rates = tuple[float, float]
WHOLE = ("whole, in order", "whole, shuffled")


def fill_real(folder: Path, files: list[Path]) -> dict[str, tuple[Any, Path]]:
    """JPEG files as they are, in our compressed and our default store, in Zarr arrays and in WebDataset's shards."""
    pictures = [(f"{number:05}", open_image(path).read(0)) for number, path in enumerate(files)]
    raw = create_store(folder / "raw JPEG", "raw")
    stores = {
        "HDF5 lzf": create_store(folder / "HDF5 lzf", "hdf5"),
        "memmap": create_store(folder / "memmap", "memmap"),
    }
    for (name, picture), path in zip(pictures, files, strict=True):
        label = np.zeros((1, 1, *picture.shape[:2]), np.uint8)
        copied = folder / "raw JPEG" / f"{name}.jpeg"
        copied.write_bytes(path.read_bytes())
        raw.write(name, None, label, {"path": str(copied)}, shape=(1, *picture.shape), dtype="uint8")
        for store in stores.values():
            store.write(name, picture[None], label)
    found: dict[str, tuple[Any, Path]] = {"raw JPEG": (open_store(raw.folder, opener=open_host), raw.folder)}
    found |= {name: (open_store(store.folder), store.folder) for name, store in stores.items()}
    found["Zarr"] = (write_zarr(folder / "Zarr", pictures), folder / "Zarr")
    return found | {"WebDataset": (write_shards(folder / "WebDataset", files), folder / "WebDataset")}


def fill(folder: Path, images: int, side: int) -> dict[str, tuple[Store, Path]]:
    """One store a kind, of the same pictures, and the folder that holds its pixels."""
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "raw PNG": ("raw", {}),
        "raw JPEG": ("raw", {}),
        "HDF5 gzip": ("hdf5", {"compression": "gzip"}),
        "HDF5 lzf": ("hdf5", {"compression": "lzf"}),
        "HDF5 plain": ("hdf5", {"compression": None}),
        "memmap": ("memmap", {}),
    }
    stores = {
        name: create_store(folder / name, kind, **options)  # type: ignore[arg-type]
        for name, (kind, options) in kinds.items()
    }
    generator = np.random.default_rng(0)
    for number in range(images):
        picture = draw_picture(side, side, generator)
        label = draw_label(picture)[None, None]
        for name, store in stores.items():
            if name.startswith("raw"):
                path = folder / name / f"{number}.{name[4:].lower()}"
                cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                store.write(str(number), None, label, {"path": str(path)}, shape=(1, side, side, 3), dtype="uint8")
            else:
                store.write(str(number), picture[None], label)
    opened = {}
    for name, store in stores.items():
        opener = open_host if name.startswith("raw") else None
        opened[name] = (open_store(store.folder, opener=opener), store.folder)
    return opened


def open_host(_: str, attrs: dict[str, Any]) -> ImageReader:
    """Opener of the raw stores."""
    return open_image(attrs["path"])


def pixel_files(folder: Path) -> list[Path]:
    """Files that hold the images' pixels, not the targets; of Zarr its chunks, which have no ending."""
    endings = (".npy", ".h5", ".png", ".jpeg", ".tar", "")
    return [path for path in folder.rglob("*") if path.suffix in endings and path.is_file()]


def drop_cache(folder: Path) -> None:
    """Write out and forget the cached pages of every file of a folder."""
    for path in pixel_files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Reads(Dataset):  # type: ignore[type-arg]
    """A list of reads, (image id, row, column, side), 0 for the whole image; an item is the bytes it read.

    Item -1 reads nothing: it shows that a loader process runs.
    """

    def __init__(self, store: Store, reads: list[tuple[str, int, int, int]]) -> None:
        self.store, self.reads = store, reads

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: int) -> int:
        if index < 0:
            return 0
        name, y, x, side = self.reads[index]
        stored = self.store.image(name)
        window = (slice(y, y + side), slice(x, x + side)) if side else (None, None)
        return int(stored.read(0, *window).nbytes)


def plan(side: int, store: Any, windows: int, *, shuffled: bool) -> list[tuple[str, int, int, int]]:
    """Reads of whole images (side 0), or of windows at random."""
    names, generator = store.ids(), np.random.default_rng(1)
    if not side:
        order = generator.permutation(len(names)) if shuffled else range(len(names))
        return [(names[i], 0, 0, 0) for i in order]
    found = []
    for _ in range(windows):
        name = names[generator.integers(len(names))]
        free = [max(1, size - side + 1) for size in store.image(name).shape[1:3]]
        found.append((name, *generator.integers(free).tolist(), side))
    return found


def modes(sides: list[int]) -> dict[str, tuple[int, bool]]:
    """Name of every mode: side of its windows, whether images come in a random order."""
    return {WHOLE[0]: (0, False), WHOLE[1]: (0, True), **{f"windows {side}²": (side, True) for side in sides}}


def quiet(_: int) -> None:
    """OpenCV's own threads fight with loader processes over the cores."""
    cv2.setNumThreads(0)


def measure_shards(names: list[str], folder: Path, mode: tuple[int, bool], workers: int, cold: bool) -> Rates:
    """(reads a second, MB a second) of WebDataset: all pictures once, or a window of each."""
    quiet(0)
    side, shuffled = mode
    loader = DataLoader(read_shards(names, side, shuffled=shuffled), batch_size=None, num_workers=workers)
    if cold:
        drop_cache(folder)
    begin = time.perf_counter()
    sizes = [int(item) for item in loader]
    seconds = time.perf_counter() - begin
    return len(sizes) / seconds, sum(sizes) / seconds / 1e6


def measure(store: Store, folder: Path, reads: list[Any], workers: int, cold: bool) -> Rates:
    """(reads a second, MB a second) of one run."""
    quiet(0)
    store.close()
    order = [-1] * 4 * workers
    loader = DataLoader(
        Reads(store, reads), batch_size=None, sampler=order, num_workers=workers, worker_init_fn=quiet,
        persistent_workers=workers > 0,
    )  # fmt: skip
    assert sum(loader) == 0  # the processes run
    order[:] = range(len(reads))
    if cold:
        drop_cache(folder)
    else:
        for path in pixel_files(folder):
            path.read_bytes()
    begin = time.perf_counter()
    size = sum(int(item) for item in loader)
    seconds = time.perf_counter() - begin
    return len(reads) / seconds, size / seconds / 1e6


def used(folder: Path) -> float:
    """MB on disk that the pixels take, in an hdf5 store with the target."""
    return sum(path.stat().st_size for path in pixel_files(folder) if path.name != "target.npy") / 1e6


def as_markdown(table: pd.DataFrame) -> str:
    """One row a kind and run, one column a mode: reads a second (MB/s)."""
    names = list(table["mode"].unique())
    lines = ["| store | disk MB | cache | processes | " + " | ".join(names) + " |"]
    lines.append("|---" * (4 + len(names)) + "|")
    for (kind, disk, cache, workers), part in table.groupby(["store", "disk", "cache", "workers"], sort=False):
        cells = [f"{row.rate:.0f}/s ({row.mbs:.0f} MB/s)" for row in part.itertuples()]
        lines.append(f"| {kind} | {disk:.0f} | {cache} | {workers} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_plot(table: pd.DataFrame, path: Path) -> None:
    """MB/s of every kind, warm and cold, without loader processes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(table["mode"].unique())
    alone = table[table["workers"] == table["workers"].min()]
    figure, axes = pyplot.subplots(1, len(names), figsize=(15, 4), sharey=True, layout="constrained")
    for axis, mode in zip(axes, names, strict=True):
        part = alone[alone["mode"] == mode].pivot(index="store", columns="cache", values="mbs")
        part = part.loc[alone["store"].unique(), ["cold", "warm"]]
        part.plot.barh(ax=axis, color=["#7a9cc6", "#d98c5f"], legend=axis is axes[0], title=mode)
        axis.set(xlabel="MB/s of pixels (logarithmic)", ylabel="", xscale="log", xlim=(10, 5000))
        axis.set_xticks([10, 100, 1000], ["10", "100", "1000"])
        axis.tick_params(axis="x", which="minor", labelbottom=False)
        axis.invert_yaxis()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--side", type=int, default=1024, help="height and width of the drawn images")
    parser.add_argument("--windows", type=int, default=400, help="windows read in a run")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--pictures", nargs="+", type=Path, help="folders of JPEG files instead, the first 1000 of them"
    )
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 512], help="of the windows")
    parser.add_argument("--folder", type=Path, help="where the stores go; a temporary folder otherwise")
    parser.add_argument("--out", type=Path, help="folder for read_speed.md and read_speed.png")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        files = [path for folder in args.pictures or () for path in sorted(folder.rglob("*.jp*g"))][:1000]
        filled = fill_real(Path(made), files) if files else fill(Path(made), args.images, args.side)
        for name, (store, folder) in filled.items():
            for cold in (True, False):
                for workers in args.workers:
                    for mode, (side, shuffled) in modes(args.sides).items():
                        if name == "WebDataset":
                            rate, mbs = measure_shards(store, folder, (side, shuffled), workers, cold)
                        else:
                            reads = plan(side, store, args.windows, shuffled=shuffled)
                            rate, mbs = measure(store, folder, reads, workers, cold)
                        cache = "cold" if cold else "warm"
                        rows.append((name, used(folder), cache, workers, mode, rate, mbs))
                        print(f"{name:12} {cache} {workers} {mode:16} {rate:8.0f}/s {mbs:8.0f} MB/s", flush=True)
    table = pd.DataFrame(rows, columns=["store", "disk", "cache", "workers", "mode", "rate", "mbs"])
    print(as_markdown(table))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "read_speed.md").write_text(as_markdown(table), encoding="utf-8")
        draw_plot(table, args.out / "read_speed.png")


if __name__ == "__main__":
    main()
