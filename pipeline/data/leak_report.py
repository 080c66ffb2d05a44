"""What stage 02 writes beside the folds: their balance, and every pair of images that leaks, drawn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from folds.audit import audit_folds
from folds.balance import area_columns, fold_balance, unjudged_classes
from pipeline.data.fold_tables import split_of
from pipeline.pictures import draw_balance, draw_pairs
from pipeline.shift.similar_images import pairs_to_show, thumbnails_of, training_duplicates
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic

DRAWN_PAIRS = 12
REMEDY = "--group-duplicates keeps such images in one fold"


def audit_and_report(space: Workspace, folds: pd.DataFrame, folder: Path) -> str:
    """Write balance.csv, balance.png, leaks.csv and, where there are leaks, leaks.png; returns what was found."""
    train, _ = space.training_images()
    balance = fold_balance(folds, train)
    write_atomic(folder / "balance.csv", balance.to_csv(lineterminator="\n"))
    draw_balance(balance, folder / "balance.png")
    duplicates = training_duplicates(space)
    leaks = find_leaks(space, folds, train, duplicates)
    write_atomic(folder / "leaks.csv", leaks.to_csv(index=False, lineterminator="\n"))
    if len(leaks):
        draw_leaks(space, leaks, folder / "leaks.png")
    shown = balance.drop(columns=area_columns(balance)) if len(area_columns(balance)) > 1 else balance
    print(shown.round(3).to_string(line_width=160))
    for line in unjudged_classes(balance, space.experiment.folds.use or ()):
        print(f"warning: {line}")
    sizes = ", ".join(str(count) for count in balance.drop(index="all")["images"])
    kinds = leaks["kind"].value_counts()
    said = ", ".join(f"{count} of kind {kind!r}" for kind, count in kinds.items())
    found = f"{len(leaks)} leaking pair(s): {said}; see leaks.csv; {REMEDY}" if len(leaks) else "no leaking pair"
    together = _in_one_fold(duplicates, folds)
    found += f"; {together} pair(s) of similar images each in one fold" if together else ""
    return f"{len(balance) - 1} folds of {sizes} images; {found}"


def _in_one_fold(duplicates: pd.DataFrame, folds: pd.DataFrame) -> int:
    """Pairs that leak nothing, because both images are in the same fold; of blocks none is counted."""
    if "y0" in folds.columns:
        return 0
    fold = folds.astype({"image_id": str}).set_index("image_id")["fold"]
    return int((duplicates["image_a"].map(fold) == duplicates["image_b"].map(fold)).sum())


def find_leaks(space: Workspace, folds: pd.DataFrame, train: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """The leak audit of the experiment's folds, most similar pairs first; `duplicates`: of `training_duplicates`."""
    group = space.group_column
    leaks = audit_folds(
        folds, train, duplicates,
        group_columns=[group] if group else [], buffer=split_of(space, train)[1].get("buffer", 0),
        series_column=space.experiment.folds.options.get("series_column", "stack"),
        z_column=space.experiment.folds.options.get("z_column", "z"),
    )  # fmt: skip
    return leaks.sort_values(["similarity", "image_a", "image_b"], ascending=[False, True, True], kind="stable")


def draw_leaks(space: Workspace, leaks: pd.DataFrame, path: Path) -> None:
    """The first pairs of every kind side by side."""
    shown = pairs_to_show(leaks, DRAWN_PAIRS)
    images = [thumbnails_of(space, "train", shown[column]) for column in ("image_a", "image_b")]
    titles = [
        f"{row['kind']} {row['similarity']:.2f}\n{row['image_a']} (fold {row['fold_a']})\n"
        f"{row['image_b']} (fold {row['fold_b']})"
        for row in shown.to_dict("records")
    ]
    draw_pairs(list(zip(*images, titles, strict=True)), path)
