"""What stage 02 writes beside the folds: their balance, and every pair of images that leaks, drawn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from folds.audit import audit_folds
from folds.balance import fold_balance
from pipeline.data.similar_images import duplicates_in_test, thumbnails_of, training_duplicates
from pipeline.pictures import draw_balance, draw_pairs
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic

DRAWN_PAIRS = 12
REMEDY = "--group-duplicates keeps such images in one fold"
TEST_PAIRS = "test_duplicates"


def audit_and_report(space: Workspace, folds: pd.DataFrame, folder: Path) -> str:
    """Write the balance, the leaks and the test images that training shows, each as table and picture.

    A picture of pairs is there where there are pairs. Returns what was found.
    """
    train, _ = space.training_images()
    balance = fold_balance(folds, train)
    write_atomic(folder / "balance.csv", balance.to_csv(lineterminator="\n"))
    draw_balance(balance, folder / "balance.png")
    leaks = find_leaks(space, folds, train)
    write_atomic(folder / "leaks.csv", leaks.to_csv(index=False, lineterminator="\n"))
    if len(leaks):
        draw_leaks(space, leaks, folder / "leaks.png")
    in_test = report_test_duplicates(space, folder)
    print(balance.round(3).to_string())
    sizes = ", ".join(str(count) for count in balance.drop(index="all")["images"])
    kinds = leaks["kind"].value_counts()
    said = ", ".join(f"{count} of kind {kind!r}" for kind, count in kinds.items())
    found = f"{len(leaks)} leaking pair(s): {said}; see leaks.csv; {REMEDY}" if len(leaks) else "no leaking pair"
    return f"{len(balance) - 1} folds of {sizes} images; {found}{in_test}"


def report_test_duplicates(space: Workspace, folder: Path) -> str:
    """Write the table of test images that training shows and, where there are any, their picture.

    Returns the sentence about them, '' where there are none.
    """
    pairs = duplicates_in_test(space)
    write_atomic(folder / f"{TEST_PAIRS}.csv", pairs.to_csv(index=False, lineterminator="\n"))
    if pairs.empty:
        return ""
    shown = pairs_to_show(pairs, DRAWN_PAIRS)
    images = [thumbnails_of(space, split, shown[f"{split}_image"]) for split in ("test", "train")]
    titles = [
        f"{row['kind']} {row['similarity']:.2f}\n{row['test_image']} (test)\n{row['train_image']} (training)"
        for row in shown.to_dict("records")
    ]
    draw_pairs(list(zip(*images, titles, strict=True)), folder / f"{TEST_PAIRS}.png")
    kinds = ", ".join(f"{count} of kind {kind!r}" for kind, count in pairs["kind"].value_counts().items())
    return (
        f"; {pairs['test_image'].nunique()} test image(s) show what training images show "
        f"({len(pairs)} pair(s): {kinds}); see {TEST_PAIRS}.csv; a leaderboard rewards there what was learned by heart"
    )


def find_leaks(space: Workspace, folds: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """The leak audit of the experiment's folds, most similar pairs first."""
    group = space.experiment.folds.group or space.competition.group
    leaks = audit_folds(
        folds, train, training_duplicates(space),
        group_columns=[group] if group else [], buffer=space.experiment.folds.buffer,
        series_column=space.experiment.folds.options.get("series_column", "stack"),
    )  # fmt: skip
    return leaks.sort_values(["similarity", "image_a", "image_b"], ascending=[False, True, True], kind="stable")


def pairs_to_show(leaks: pd.DataFrame, most: int) -> pd.DataFrame:
    """About `most` pairs, as many of every kind: many copies would hide the few that are shifted."""
    return leaks.groupby("kind", sort=False).head(max(1, most // leaks["kind"].nunique()))


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
