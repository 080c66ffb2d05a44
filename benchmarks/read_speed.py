"""Reading a store: raw against HDF5 against memmap, whole images and windows, warm and cold.

    python benchmarks/read_speed.py [--images 48] [--side 1024] [--workers 0 1 2] [--out benchmarks/results]

Pictures are drawn. Raw is a folder of PNG or JPEG files, decoded when read. "Cold" means that the files'
pages were dropped from the page cache before the run (posix_fadvise DONTNEED); "warm", that everything was
read once before. Rates count pixels as they arrive, decoded. Loader processes return sizes only, so what
they cost is starting them.
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
from torch.utils.data import DataLoader, Dataset

from pipeline.data.store import Store, create_store, open_store
from submissions.images.opening import ImageReader, open_image

MODES = ("whole, in order", "whole, shuffled", "windows 256²", "windows 512²")


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
    """Files that hold the images' pixels, not the targets."""
    endings = (".npy", ".h5", ".png", ".jpeg")
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


def plan(mode: str, store: Store, side: int, windows: int) -> list[tuple[str, int, int, int]]:
    """The reads of a mode."""
    names, generator = store.ids(), np.random.default_rng(1)
    if mode.startswith("whole"):
        order = generator.permutation(len(names)) if "shuffled" in mode else range(len(names))
        return [(names[i], 0, 0, 0) for i in order]
    tall = int(mode[8:-1])
    return [
        (names[generator.integers(len(names))], *generator.integers(side - tall + 1, size=2).tolist(), tall)
        for _ in range(windows)
    ]


def quiet(_: int) -> None:
    """OpenCV's own threads fight with loader processes over the cores."""
    cv2.setNumThreads(0)


def measure(store: Store, folder: Path, reads: list[Any], workers: int, cold: bool) -> tuple[float, float]:
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
    lines = ["| store | disk MB | cache | processes | " + " | ".join(MODES) + " |"]
    lines.append("|---" * (4 + len(MODES)) + "|")
    for (kind, disk, cache, workers), part in table.groupby(["store", "disk", "cache", "workers"], sort=False):
        cells = [f"{row.rate:.0f}/s ({row.mbs:.0f} MB/s)" for row in part.itertuples()]
        lines.append(f"| {kind} | {disk:.0f} | {cache} | {workers} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_plot(table: pd.DataFrame, path: Path) -> None:
    """MB/s of every kind, warm and cold, without loader processes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    alone = table[table["workers"] == table["workers"].min()]
    figure, axes = pyplot.subplots(1, len(MODES), figsize=(15, 4), sharey=True, layout="constrained")
    for axis, mode in zip(axes, MODES, strict=True):
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
    parser.add_argument("--folder", type=Path, help="where the stores go; a temporary folder otherwise")
    parser.add_argument("--out", type=Path, help="folder for read_speed.md and read_speed.png")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        for name, (store, folder) in fill(Path(made), args.images, args.side).items():
            for cold in (True, False):
                for workers in args.workers:
                    for mode in MODES:
                        reads = plan(mode, store, args.side, args.windows)
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
