"""What stage 02 says of the test images before anyone trains: copies, what only they have, how foreign they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.inventory_table import SOURCE
from pipeline.shift.adversarial_validation import NEAREST, Foreign, nearest_training, tell_apart
from pipeline.shift.appearance import appearance, require_measures
from pipeline.shift.colours import unlike_in_colours
from pipeline.shift.one_sided import FIRST, only_in_test
from pipeline.shift.pictures import draw_copies, draw_map, draw_sources
from pipeline.shift.similar_images import duplicates_in_test
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic

ALIKE = 0.6  # an AUC whose interval begins below it says that the sets are alike
TELLING = 0.65  # AUC of a measure alone from which it is named
NAMED = 3
FOREIGN_SHARE = 0.2  # of the test images, from which a split across sources resembles them more


@dataclass(frozen=True)
class Shift:
    """The report: `summary` goes to shift.json, the tables beside it.

    images: one row per test image (image_id, source, foreign: probability, nearest_1 ... nearest_3), highest first.
    copies: pairs (image_a in training, image_b in test, kind, similarity). one_sided: see `only_in_test`.
    """

    summary: dict[str, Any]
    images: pd.DataFrame
    copies: pd.DataFrame
    one_sided: pd.DataFrame
    measures: pd.DataFrame


def report_shift(space: Workspace, folder: Path) -> list[str]:
    """Write the shift report and its pictures beside the folds; returns its sentences for the console."""
    table, thumbnails = both_sets(space)
    require_measures(table)
    draw_sources(table, thumbnails, folder / "sources.png")
    test = (table["split"] == "test").to_numpy()
    if not test.any():
        return [_sources_sentence(table), "there are no test images to compare with training"]
    pages = table["path"].astype(str) + "\x1f" + table["page"].astype(str)
    if set(pages[test]) <= set(pages[~test]):  # a contract without test images, in which others stand in for them
        return [_sources_sentence(table), "the test images are training images, by their paths: nothing to compare"]
    groups = _groups(space, table)
    features = appearance(table, thumbnails)
    copies = duplicates_in_test(space).rename(columns={"train_image": "image_a", "test_image": "image_b"})
    shift = compare_sets(table, features, groups, copies)
    draw_copies(space, copies, folder / "shift_copies.png")
    draw_map(features, test, thumbnails, folder / "shift.png")
    write_atomic(folder / "shift.json", json.dumps(shift.summary, indent=1) + "\n")
    for name in ("images", "copies", "one_sided", "measures"):
        text = getattr(shift, name).to_csv(index=False, lineterminator="\n", float_format="%.6g")
        write_atomic(folder / f"shift_{name}.csv", text)
    return [_sources_sentence(table), *shift.summary["sentences"]]


def both_sets(space: Workspace) -> tuple[pd.DataFrame, np.ndarray]:
    """The training images that the experiment uses and all test images, with thumbnails uint8 (N, 64, 64)."""
    table, thumbnails = space.all_images()
    used = set(space.training_images()[0]["image_id"].astype(str))
    kept = ((table["split"] == "test") | table["image_id"].astype(str).isin(used)).to_numpy()
    return table[kept].reset_index(drop=True), np.asarray(thumbnails[kept])


def _groups(space: Workspace, table: pd.DataFrame) -> np.ndarray:
    """Group of each image, str (N,): the split's in training where it has one, else the stack it is a slice of."""
    column = space.group_column
    stacks = table["split"].astype(str) + "\x1f" + table["stack"].astype(str)
    if column is None or column not in table:
        return stacks.to_numpy(dtype=object)
    named = table[column].notna() & table[column].astype(str).ne("")
    return np.where(named, column + "\x1f" + table[column].astype(str), stacks).astype(object)


def compare_sets(table: pd.DataFrame, features: pd.DataFrame, groups: np.ndarray, copies: pd.DataFrame) -> Shift:
    """The report of rows of the inventory, those of `appearance` and their groups; no file is touched."""
    test = (table["split"] == "test").to_numpy()
    told = tell_apart(features, test, groups)
    one_sided = only_in_test(table[~test], table[test])
    unseen = ~table[SOURCE].astype(str).isin(set(table.loc[~test, SOURCE].astype(str))).to_numpy() & test
    foreign = unseen | (told.foreign if told is not None else False)
    share = float(foreign[test].mean())
    sentences = [_difference(told, test, foreign), *_unlike(unlike_in_colours(table, groups), test)]
    sentences += _details(one_sided, copies, unseen, test)
    sentences.append(
        _recommendation(told, share, table.loc[~test, SOURCE].astype(str), _unseen_column(one_sided, table, test))
    )
    summary = {
        "auc": None if told is None else told.auc,
        "interval": None if told is None else [told.low, told.high],
        "foreign": share, "unseen_sources": float(unseen[test].mean()),
        "copies": int(copies["image_b"].nunique()), "sentences": sentences,
    }  # fmt: skip
    ids = table["image_id"].astype(str).to_numpy()
    images = pd.DataFrame(
        {"image_id": ids[test], "source": table.loc[test, SOURCE].astype(str).to_numpy(), "foreign": np.nan}
    )
    if told is not None:
        images["foreign"] = told.probability[test]
    nearest = nearest_training(features, test)
    for place in range(NEAREST):
        images[f"nearest_{place + 1}"] = ids[nearest[:, place]] if place < nearest.shape[1] else ""
    images = images.sort_values(["foreign", "image_id"], ascending=[False, True], kind="stable")
    measures = told.measures if told is not None else pd.DataFrame(columns=["measure", "auc", "training", "test"])
    return Shift(summary, images.reset_index(drop=True), copies, one_sided, measures)


def _difference(told: Foreign | None, test: np.ndarray, foreign: np.ndarray) -> str:
    if told is None:
        return "too few groups of images to say whether the test images are like training"
    area = f"AUC {told.auc:.2f}, {told.low:.2f} to {told.high:.2f}"
    if told.low < ALIKE:
        return f"the test images are like training ({area})"
    named = told.measures[told.measures["auc"] >= TELLING].head(NAMED)
    words = [
        f"{row['measure']} {'higher' if row['test'] > row['training'] else 'lower'}" for row in named.to_dict("records")
    ]
    why = f": {', '.join(words)}" if words else " by no measure alone"
    return (
        f"the test images differ from training ({area}){why}; by their looks, before any prediction, "
        f"{int(foreign.sum())} of {int(test.sum())} test images are foreign"
    )


def _unlike(number: int, test: np.ndarray) -> list[str]:
    said = f"{number} of {int(test.sum())} test images have values unlike those of all training images"
    return [f"{said}; predict.normalise: colour shows them to the network in the range of these"] if number else []


def _details(one_sided: pd.DataFrame, copies: pd.DataFrame, unseen: np.ndarray, test: np.ndarray) -> list[str]:
    total = int(test.sum())
    said = [
        f"only in test: {row['property']} {row['values']} ({row['images']} of {total} images; training has "
        f"{row['training']})"
        for row in one_sided.to_dict("records")
    ]
    if unseen.any():
        said.append(f"{int(unseen.sum())} of {total} test images come from sources that training does not have")
    if len(copies):
        kinds = ", ".join(f"{count} {kind}" for kind, count in copies["kind"].value_counts().items())
        said.append(
            f"{copies['image_b'].nunique()} of {total} test images show what a training image shows ({kinds}): a "
            "leaderboard rewards there what was learned by heart; see shift_copies.csv and .png"
        )
    return said


def _unseen_column(one_sided: pd.DataFrame, table: pd.DataFrame, test: np.ndarray) -> tuple[str, int] | None:
    """The host's column of which most test images have values that training does not show, and how many.

    Only columns of which training shows several values, most of them in several images, so that it can be divided by
    them.
    """
    own = one_sided[~one_sided["property"].isin(FIRST) & (one_sided["images"] >= FOREIGN_SHARE * test.sum())]
    own = own[[1 < table.loc[~test, name].nunique() <= (~test).sum() / 2 for name in own["property"]]]
    if own.empty:
        return None
    row = own.sort_values("images", ascending=False, kind="stable").iloc[0]
    return str(row["property"]), int(row["images"])


def _recommendation(told: Foreign | None, share: float, sources: pd.Series, column: tuple[str, int] | None) -> str:
    """Which split resembles the test set more, and why; nothing is done unasked."""
    if column is not None:
        return (
            f"a split across {column[0]} resembles the test set more: {column[1]} test images have a {column[0]} that "
            f"training does not show; for a score that shows it, folds.method: group, folds.group: {column[0]}"
        )
    number = sources.nunique()
    differs = told is None or told.low >= ALIKE
    if not differs or share < FOREIGN_SHARE:
        also = ", with folds.strata: [source]" if number > 1 else ""
        return f"a split within sources is like the test set{also}: {share:.0%} of its images look foreign"
    if number > 1:
        return (
            f"a split across sources resembles the test set more: {share:.0%} of its images look foreign; for a score "
            f"that shows it, folds.method: leave_one_group_out, folds.group: source, folds.n: {number}"
        )
    return (
        f"{share:.0%} of the test images look foreign, and training is one source: no split of it resembles the test "
        "set, CV will be too high; augment.recipe: domain prepares for it, the forecast of stage 07 tells"
    )


def _sources_sentence(table: pd.DataFrame) -> str:
    counts = table[SOURCE].astype(str).value_counts()
    names = ", ".join(f"{name} {count}" for name, count in counts.head(8).items())
    return f"{len(counts)} source(s) of images: {names}; see sources.png"
