"""Images whose blocks lie in several folds: predicted once a fold, then joined of the blocks that each held out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from folds.blocks import BOX, Block
from inference.predict.store import CHUNK, Prediction, PredictionWriter, open_prediction, prediction_path

SCRATCH = "by_fold"


def fold_folder(folder: Path, fold: int) -> Path:
    """Where one fold's predictions of whole images wait to be joined."""
    return folder / SCRATCH / f"fold_{fold}"


def unjoined(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows (image_id, fold) of the images that have no joined file yet."""
    there = [prediction_path(folder, str(name)).is_file() for name in table["image_id"]]
    return table[~np.array(there, bool)]


def join_blocks(used: pd.DataFrame, folder: Path) -> None:
    """Write the file of each image into `folder` from those in `fold_folder`, and delete these.

    used: one row per block (image_id, fold, y0, x0, y1, x1), whose pixels are those that its fold predicted; pixels in
    no block were held out by no fold and are 0.
    """
    for name, rows in used.groupby("image_id", sort=True):
        blocks: dict[int, list[Block]] = {}
        for fold, box in zip(rows["fold"], rows[BOX].to_numpy(), strict=True):
            blocks.setdefault(int(fold), []).append(Block(*map(int, box)))
        path = prediction_path(folder, str(name))
        parts = {fold: prediction_path(fold_folder(folder, fold), str(name)) for fold in blocks}
        if not path.is_file():
            _join(path, parts, blocks)
        for part in parts.values():
            part.unlink(missing_ok=True)
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)


def _join(path: Path, parts: Mapping[int, Path], blocks: Mapping[int, list[Block]]) -> None:
    """Write one image from a prediction a fold, a row of chunks in memory at a time."""
    with ExitStack() as stack:
        opened = {fold: stack.enter_context(open_prediction(part)) for fold, part in parts.items()}
        first = next(iter(opened.values()))
        shape = first.shape[1:]
        writer = stack.enter_context(PredictionWriter(path, first.channels, shape, attrs=first.attrs))
        planes: list[int | None] = [None] if len(shape) == 2 else list(range(shape[0]))
        for z in planes:
            for top in range(0, shape[-2], CHUNK):
                strip = np.zeros((len(first.channels), min(CHUNK, shape[-2] - top), shape[-1]), np.uint8)
                for fold, prediction in opened.items():
                    _fill(strip, top, prediction, z, blocks[fold])
                writer.write_rows(strip, z or 0)


def _fill(strip: np.ndarray, top: int, prediction: Prediction, z: int | None, blocks: list[Block]) -> None:
    """Copy what lies in the blocks into uint8 (K, rows, W), which begins at row `top` of slice z."""
    for block in blocks:
        first, last = max(top, block.y0), min(top + strip.shape[1], block.y1)
        if first < last:
            read = prediction.read(z=z, rows=slice(first, last), cols=block.cols)
            strip[:, first - top : last - top, block.cols] = read
