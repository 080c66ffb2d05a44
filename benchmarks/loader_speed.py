"""Patches a second that loader processes feed: random windows of a memmap store, augmented, as tensors.

python benchmarks/loader_speed.py [--recipe light] [--patch 256] [--patches 1500] [--out
benchmarks/results]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from drawn import draw_label, draw_picture
from paced import processor_seconds
from torch.utils.data import DataLoader, Dataset

from pipeline.augmentation.augment import build_augmentation
from pipeline.augmentation.recipes import RECIPES
from pipeline.data.patch_index import WindowSampler, grid_index, window_odds
from pipeline.data.store import Store, create_store


class Patches(Dataset):  # type: ignore[type-arg]
    """Augmented patches of a store as (image uint8 (C, h, w), planes uint8 (K, h, w))."""

    def __init__(self, store: Store, patch: int, recipe: str, length: int) -> None:
        index = pd.concat([grid_index(store.image(name), (patch, patch), ["blob"]) for name in store.ids()])
        self.store, self.length = store, length
        self.sampler = WindowSampler(index, window_odds(index))
        self.augment = build_augmentation(recipe, (patch, patch))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = self.sampler.sample(0, 0, index)
        stored = self.store.image(window.image_id)
        rows, cols = slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)
        image, target = stored.read(window.z, rows, cols), stored.read_target(window.z, rows, cols)
        image, target = self.augment(image, target, (0, 0, index))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(target)


def fill_store(folder: Path, images: int, side: int) -> Store:
    """A memmap store of drawn pictures with one plane."""
    store, generator = create_store(folder), np.random.default_rng(0)
    for number in range(images):
        picture = draw_picture(side, side, generator)
        store.write(str(number), picture[None], draw_label(picture)[None, None])
    return store


def quiet(_: int) -> None:
    """OpenCV's own threads fight with loader processes over the cores."""
    cv2.setNumThreads(0)


def measure(dataset: Patches, workers: int) -> tuple[float, float]:
    """(patches a second once the processes run, patches a second of processor time, their start included)."""
    quiet(0)
    loader = DataLoader(dataset, batch_size=16, num_workers=workers, worker_init_fn=quiet)
    busy = processor_seconds()
    batches = iter(loader)
    for _ in range(4):  # processes started, files opened
        next(batches)
    begin, count = time.perf_counter(), 0
    for images, _ in batches:
        count += len(images)
    rate = count / (time.perf_counter() - begin)
    del batches  # ends the processes
    return rate, len(dataset) / (processor_seconds() - busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["none", "light", "heavy"], choices=list(RECIPES))
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--patches", type=int, default=1500)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--side", type=int, default=1024, help="height and width of the drawn images")
    parser.add_argument("--out", type=Path, help="folder for loader_speed.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| recipe | loader processes | patches/s | patches a processor second |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        store = fill_store(Path(folder), args.images, args.side)
        for recipe in args.recipe:
            for workers in args.workers:
                rate, each = measure(Patches(store, args.patch, recipe, args.patches), workers)
                lines.append(f"| {recipe} | {workers} | {rate:.0f} | {each:.0f} |")
                print(lines[-1], flush=True)
    print("\n".join(lines))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "loader_speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
