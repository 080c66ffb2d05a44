"""What is predicted out of fold, image by image and fold by fold, what waits for it, and joining what shards left."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from folds.blocks import has_blocks
from inference.predict.store import prediction_path
from pipeline.data.fold_tables import open_folds
from pipeline.distributed.shards import Shard
from pipeline.prediction.block_oof import fold_folder, join_blocks, unjoined
from pipeline.workspace import Workspace


def held_out_rows(space: Workspace, only: Collection[str] | None = None) -> pd.DataFrame:
    """The rows of the fold table that are predicted out of fold; of `only` these images, where given."""
    folds, _ = open_folds(space)
    used = folds[folds["fold"].isin(space.experiment.used_folds)]
    return used if only is None else used[used["image_id"].isin(list(only))]


def oof_steps(used: pd.DataFrame, shard: Shard | None) -> pd.DataFrame:
    """One row per image and fold that predicts it, or those of a shard, which needs few of the folds' models."""
    steps = used.drop_duplicates(["image_id", "fold"])
    if shard is None:
        return steps
    ordered = steps.sort_values(["fold", "image_id"], kind="stable")
    return ordered.iloc[shard.of(range(len(ordered)))]


def unpredicted(space: Workspace, folder: Path, only: Collection[str] | None = None) -> list[str]:
    """Ids of the training images, or those of the shard, that wait to be predicted out of fold into `folder`."""
    used = held_out_rows(space, only)
    steps, joined = oof_steps(used, space.shard), has_blocks(used)
    left = unjoined(steps, folder)
    return [
        str(name)
        for name, fold in zip(left["image_id"], left["fold"], strict=True)
        if not joined or not prediction_path(fold_folder(folder, fold), str(name)).is_file()
    ]


def join_shards(space: Workspace, folder: Path, only: Collection[str] | None = None) -> None:
    """Put together what shards predicted of images cut into blocks; nothing to do for others."""
    used = held_out_rows(space, only)
    if has_blocks(used):
        join_blocks(used, folder)
