"""Which images show the same, training and test: found once for an inventory, whatever the folds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from folds.audit import DUPLICATE_COLUMNS, find_duplicates
from inference.progress import image_bar
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic

TEST_COLUMNS = ("test_image", "train_image", "kind", "similarity")


def similar_images(space: Workspace) -> pd.DataFrame:
    """Pairs of images that show the same: the columns of `find_duplicates`, split_a and split_b.

    Of the experiment's training images and of all test images, in one search; what is found is kept beside the
    inventory. A training image is the first of its copies where there is one.
    """
    train, inventory = space.training_images()
    path = space.inventory / f"similar-{inventory}-{len(train)}.csv"
    if path.is_file():
        return pd.read_csv(path, dtype={"image_a": str, "image_b": str}, keep_default_na=False)
    table, thumbnails = _both(space, train)
    with image_bar("near duplicates") as progress:
        pairs = find_duplicates(table, thumbnails, progress=progress)
    for side in "ab":
        names = [str(name).split(":", 1) for name in pairs[f"image_{side}"]]
        pairs[f"split_{side}"], pairs[f"image_{side}"] = [name[0] for name in names], [name[1] for name in names]
    write_atomic(path, pairs.to_csv(index=False, lineterminator="\n"))
    return pairs


def training_duplicates(space: Workspace) -> pd.DataFrame:
    """Pairs of training images that show the same, whatever their folds, as `find_duplicates` gives them."""
    pairs = similar_images(space)
    both = (pairs["split_a"] == "train") & (pairs["split_b"] == "train")
    return pairs.loc[both, list(DUPLICATE_COLUMNS)].reset_index(drop=True)


def duplicates_in_test(space: Workspace) -> pd.DataFrame:
    """Test images that show what a training image shows, the most alike first: the columns `TEST_COLUMNS`.

    A test image stands once for every training image like it, of copies the first. The leaderboard rewards on them
    what was learned by heart, and says less of the images that nobody has seen.
    """
    table, _ = _both(space, space.training_images()[0])
    copies = table.groupby("content_hash", sort=False)["image_id"].agg(list)
    members = dict(zip(table["image_id"], table["content_hash"].map(copies), strict=True))
    rows = [(*pair, "exact", 1.0) for images in copies for pair in _test_and_train(images, images)]
    found = similar_images(space)
    for pair in found[found["kind"] != "exact"].to_dict("records"):
        a, b = (members[f"{pair[f'split_{side}']}:{pair[f'image_{side}']}"] for side in "ab")
        both = (*_test_and_train(a, b), *_test_and_train(b, a))
        rows += [(*names, pair["kind"], pair["similarity"]) for names in both]
    result = pd.DataFrame(rows, columns=list(TEST_COLUMNS))
    return result.sort_values(
        ["similarity", "test_image", "train_image"], ascending=[False, True, True], kind="stable"
    ).reset_index(drop=True)


def _test_and_train(first: list[str], second: list[str]) -> Iterator[tuple[str, str]]:
    """Each test image of the first with the first training image of the second, their splits taken off."""
    train = next((name for name in second if name.startswith("train:")), None)
    if train is not None:
        yield from ((name[5:], train[6:]) for name in first if name.startswith("test:"))


def _both(space: Workspace, train: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """image_id (split:id), content_hash and split of the training and all test images, and their thumbnails."""
    table, thumbnails = space.all_images()
    names = table["split"] + ":" + table["image_id"].astype(str)
    wanted = names.isin("train:" + train["image_id"].astype(str)) | (table["split"] == "test")
    table = table.assign(image_id=names)[wanted].sort_values("image_id", kind="stable")
    return table[["image_id", "content_hash", "split"]], thumbnails[table.index.to_numpy()]


def pairs_to_show(pairs: pd.DataFrame, most: int) -> pd.DataFrame:
    """About `most` pairs, as many of every kind: many copies would hide the few that are shifted."""
    return pairs.groupby("kind", sort=False).head(max(1, most // pairs["kind"].nunique()))


def thumbnails_of(space: Workspace, split: str, image_ids: pd.Series) -> np.ndarray:
    """Thumbnails uint8 (N, 64, 64) of images of a split, one for every id."""
    table, thumbnails = space.all_images()
    rows = np.flatnonzero(table["split"] == split)
    place = dict(zip(table["image_id"].astype(str).iloc[rows], rows, strict=True))
    return np.asarray(thumbnails[[place[image_id] for image_id in image_ids.astype(str)]])
