"""The balance table against sums made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from folds.balance import fold_balance, level_shares, unjudged_classes
from folds.splitters import make_folds

INVENTORY = pd.DataFrame(
    {
        "image_id": list("abcdef"),
        "height": 10,
        "width": 7,
        "organ": ["x", "x", "y", "y", "x", "y"],
        "area_cell": [0, 10, 20, 0, 30, 0],
        "area_wall": [0, 0, 20, 5, 30, 0],
        "stack": "s",
        "z": [0, 10, 20, 30, 40, 50],
        "given": [0, 0, 0, 1, 1, 1],
    }
)


def test_counts_areas_and_distance() -> None:
    folds = make_folds(INVENTORY, "predefined", 2, 0, fold_column="given", buffer=10)
    organs = INVENTORY.set_index("image_id")["organ"]
    table = fold_balance(folds.assign(stratum=folds["image_id"].map(organs)), INVENTORY)
    assert table.index.tolist() == [0, 1, "all"]
    assert table["images"].tolist() == [3, 3, 6]
    assert table["excluded"].tolist() == [1, 1, 0]
    assert table["train"].tolist() == [2, 2, 6]
    assert table["pixels"].tolist() == [210, 210, 420]
    assert table["area_cell"].tolist() == [30, 30, 60]
    assert table["share_wall"].tolist() == pytest.approx([20 / 50, 35 / 65, 55 / 115])
    assert table["empty"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert table["distance"].tolist() == pytest.approx([1 / 6, 1 / 6, 0])


def test_background_is_no_foreground() -> None:
    inventory = INVENTORY.assign(area_background=70 - INVENTORY["area_cell"] - INVENTORY["area_wall"])
    folds = make_folds(INVENTORY, "predefined", 2, 0, fold_column="given")
    pd.testing.assert_frame_equal(fold_balance(folds, inventory), fold_balance(folds, INVENTORY))


def test_classes_that_no_fold_can_judge_are_named() -> None:
    rare = INVENTORY.assign(area_rare=[0, 0, 0, 0, 9, 0], area_none=0)
    table = fold_balance(make_folds(rare, "predefined", 2, 0, fold_column="given"), rare)
    alone = "rare is in fold 1 alone: the network that is scored on it never trains on it"
    assert [line.split(",")[0] for line in unjudged_classes(table)] == [alone]
    assert unjudged_classes(table, [1]) == unjudged_classes(table)
    said = unjudged_classes(table, [0])
    assert said[0] == "no fold in use (0) holds out a pixel of rare: CV cannot judge it" and len(said) == 2
    assert unjudged_classes(table.drop(columns=["area_cell", "area_wall", "area_rare"])) == []


def test_levels_come_from_strata_then_from_areas_then_from_nowhere() -> None:
    stratified = make_folds(INVENTORY, "stratified", 2, 0, strata=["organ"])
    shares = level_shares(stratified, INVENTORY)
    assert shares.index.tolist() == [("stratum_0", "x"), ("stratum_0", "y")]
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    plain = make_folds(INVENTORY, "kfold", 2, 0)
    assert level_shares(plain, INVENTORY).index.get_level_values(0).unique().tolist() == ["foreground"]
    bare = INVENTORY[["image_id"]]
    assert level_shares(plain, bare).empty
    assert fold_balance(plain, bare)["distance"].isna().all()


def test_blocks() -> None:
    folds = make_folds(INVENTORY, "blocks", 2, 0, grid=(2, 1), buffer=1)
    table = fold_balance(folds, INVENTORY)
    assert table["blocks"].tolist() == [6, 6, 12]
    assert table["pixels"].tolist() == [210, 210, 420]
    assert table["train_pixels"].tolist()[:2] == pytest.approx([0.4, 0.4])


def test_an_image_the_inventory_does_not_know() -> None:
    folds = make_folds(INVENTORY, "kfold", 2, 0)
    with pytest.raises(ValueError, match=r"1 images of the fold table .* \['a'\]"):
        fold_balance(folds, INVENTORY.iloc[1:])
