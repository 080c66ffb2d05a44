"""Splitters: every image once, groups whole, order forgotten, errors that say what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.buffers import folds_set
from folds.splitters import METHODS, check_folds, make_folds, make_repeated_folds, with_groups

OPTIONS: dict[str, dict[str, Any]] = {
    "kfold": {},
    "stratified": {"strata": "organ"},
    "group": {"group": "patient"},
    "stratified_group": {"group": "patient", "strata": ["organ"]},
    "multilabel_stratified_group": {"group": "patient", "strata": ["organ", "area_mask"]},
    "leave_one_group_out": {"group": "site"},
    "predefined": {"fold_column": "given"},
    "slab": {"buffer": 1},
    "blocks": {"buffer": 10},
}


def draw_inventory(images: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, max(images // 4, 6), images)
    site = np.arange(images) % 3
    return pd.DataFrame(
        {
            "image_id": [f"im{number:03d}" for number in rng.permutation(images)],
            "patient": patient,
            "site": site,
            "given": site,
            "organ": rng.choice(["kidney", "lung", "spleen"], images, p=[0.6, 0.3, 0.1]),
            "area_mask": np.where(rng.random(images) < 0.3, 0, rng.integers(1, 900, images)),
            "stack": [f"s{number // 20}" for number in range(images)],
            "z": np.arange(images) % 20,
            "height": 90,
            "width": 70,
        }
    )


def test_every_method_is_tested() -> None:
    assert set(OPTIONS) == set(METHODS)


@pytest.mark.parametrize("method", sorted(OPTIONS))
def test_order_of_rows_does_not_matter(method: str) -> None:
    inventory = draw_inventory()
    folds = make_folds(inventory, method, 3, 4, **OPTIONS[method])
    shuffled = inventory.sample(frac=1, random_state=1).reset_index(drop=True)
    pd.testing.assert_frame_equal(folds, make_folds(shuffled, method, 3, 4, **OPTIONS[method]))
    assert set(folds["image_id"]) == set(inventory["image_id"])
    assert sorted(folds["fold"].unique()) == [0, 1, 2]
    assert folds["image_id"].is_monotonic_increasing
    if method != "blocks":
        assert folds["image_id"].is_unique


@pytest.mark.parametrize("method", sorted(set(OPTIONS) - {"leave_one_group_out", "predefined"}))
def test_the_seed_matters(method: str) -> None:
    inventory = draw_inventory()
    tables = [make_folds(inventory, method, 3, seed, **OPTIONS[method]) for seed in range(4)]
    assert any(not tables[0]["fold"].equals(table["fold"]) for table in tables[1:])


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_group_is_never_on_two_sides(data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(0, 8), min_size=12, max_size=40).filter(lambda g: len(set(g)) >= 3))
    organs = data.draw(st.lists(st.sampled_from("ab"), min_size=len(groups), max_size=len(groups)))
    order = data.draw(st.permutations(range(len(groups))))
    method = data.draw(st.sampled_from(["group", "multilabel_stratified_group"]))
    inventory = pd.DataFrame({"image_id": np.arange(len(groups)), "g": groups, "organ": organs})
    options = {"group": "g"} | ({"strata": "organ"} if method != "group" else {})
    seed = data.draw(st.integers(0, 5))
    folds = make_folds(inventory, method, 3, seed, **options)
    assert folds["image_id"].is_unique and len(folds) == len(groups)
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    pd.testing.assert_frame_equal(folds, make_folds(inventory.iloc[list(order)], method, 3, seed, **options))


@settings(deadline=None, max_examples=25)
@given(
    buffer=st.integers(0, 2),
    lengths=st.lists(st.integers(12, 30), min_size=1, max_size=4),
    seed=st.integers(0, 9),
    method=st.sampled_from(["slab", "group"]),
)
def test_the_buffer_is_respected(buffer: int, lengths: list[int], seed: int, method: str) -> None:
    rows = [(f"{s}_{z}", f"stack{s}", z, f"{s}/{z // 6}") for s, n in enumerate(lengths) for z in range(n)]
    inventory = pd.DataFrame(rows, columns=["image_id", "stack", "z", "slab"])
    options: dict[str, Any] = {"group": "slab"} if method == "group" else {}
    folds = make_folds(inventory, method, 2, seed, buffer=buffer, **options).merge(inventory, on="image_id")
    for fold in range(2):
        for a in folds[folds["fold"] == fold].itertuples():
            for b in folds[folds["fold"] != fold].itertuples():
                near = a.stack == b.stack and abs(a.z - b.z) <= buffer
                if near and buffer:
                    assert fold in folds_set(b.excluded_from)
    for row in folds.itertuples():
        for fold in folds_set(row.excluded_from):
            same = folds[(folds["stack"] == row.stack) & (folds["fold"] == fold)]
            assert (same["z"] - row.z).abs().min() <= buffer


def test_slabs_are_contiguous_and_balanced() -> None:
    folds = make_folds(draw_inventory(), "slab", 4, 0, buffer=1).merge(draw_inventory(), on="image_id")
    for _, stack in folds.sort_values("z").groupby("stack"):
        assert (stack["fold"].diff().fillna(0) != 0).sum() == 3
    assert folds["fold"].value_counts().tolist() == [15] * 4


def test_series_and_time_columns_can_be_named() -> None:
    inventory = draw_inventory().rename(columns={"stack": "drive", "z": "second"})
    folds = make_folds(inventory, "slab", 2, 0, buffer=1.5, series_column="drive", z_column="second", slabs=4).merge(
        inventory, on="image_id"
    )
    assert (folds["excluded_from"] != "").sum() == 3 * 3 * 2
    assert folds["group"].nunique() == 12


@pytest.mark.parametrize("method", ["stratified", "stratified_group", "multilabel_stratified_group"])
def test_strata_are_close_to_the_whole(method: str) -> None:
    inventory = draw_inventory(400)
    folds = make_folds(inventory, method, 4, 0, **OPTIONS[method]).merge(inventory, on="image_id")
    shares = pd.crosstab(folds["fold"], folds["organ"], normalize="index")
    whole = folds["organ"].value_counts(normalize=True)
    assert (shares - whole).abs().to_numpy().max() < 0.05
    assert folds["fold"].value_counts().between(90, 110).all()


def test_several_columns_at_once_beat_chance() -> None:
    inventory = draw_inventory(200)
    inventory["empty"] = inventory["area_mask"] == 0
    columns = ["organ", "area_mask", "empty"]
    options = {"group": "patient", "strata": columns}

    def distance(folds: pd.DataFrame) -> float:
        rows = folds.merge(inventory, on="image_id")
        total = 0.0
        for column in ("organ", "empty"):
            whole = rows[column].value_counts(normalize=True)
            total += float((pd.crosstab(rows["fold"], rows[column], normalize="index") - whole).abs().sum().sum())
        return total

    ours = distance(make_folds(inventory, "multilabel_stratified_group", 5, 0, **options))
    chance = np.mean([distance(make_folds(inventory, "group", 5, s, group="patient")) for s in range(5)])
    assert ours < 0.5 * chance


def test_groups_of_very_different_size_are_spread() -> None:
    sizes = [50, 50, 50, 50, *[1] * 100]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    inventory = pd.DataFrame({"image_id": np.arange(len(groups)), "g": groups})
    folds = make_folds(inventory, "group", 5, 3, group="g")
    assert folds["fold"].value_counts().tolist() == [60] * 5


def test_leave_one_group_out_is_a_fold_a_group() -> None:
    folds = make_folds(draw_inventory(), "leave_one_group_out", 3, 0, group="site")
    assert (folds.groupby("fold")["group"].nunique() == 1).all()
    with pytest.raises(ValueError, match="3 groups but n_folds = 2"):
        make_folds(draw_inventory(), "leave_one_group_out", 2, 0, group="site")


def test_predefined_takes_numbers_and_names() -> None:
    inventory = draw_inventory()
    inventory["named"] = inventory["given"].map({0: "a", 1: "b", 2: "c"})
    numbers = make_folds(inventory, "predefined", 3, 0, fold_column="given")
    pd.testing.assert_frame_equal(numbers, make_folds(inventory, "predefined", 3, 0, fold_column="named"))
    inventory["text"] = inventory["given"].astype(str)
    pd.testing.assert_frame_equal(numbers, make_folds(inventory, "predefined", 3, 0, fold_column="text"))
    with pytest.raises(ValueError, match="names 3 folds"):
        make_folds(inventory, "predefined", 2, 0, fold_column="named")
    with pytest.raises(ValueError, match=r"holds 2 .* expected integers 0\.\.1"):
        make_folds(inventory, "predefined", 2, 0, fold_column="given")
    for column in ("given", "text"):
        with pytest.raises(ValueError, match="fold 3 is empty"):
            make_folds(inventory, "predefined", 4, 0, fold_column=column)
    with pytest.raises(ValueError, match="on two sides"):
        make_folds(inventory, "predefined", 3, 0, fold_column="given", group="patient")


def test_a_group_may_be_given_as_a_series() -> None:
    inventory = draw_inventory()
    series = pd.Series(inventory["patient"].to_numpy(), index=inventory["image_id"])
    by_column = make_folds(inventory, "group", 3, 0, group="patient")
    pd.testing.assert_frame_equal(by_column, make_folds(inventory, "group", 3, 0, group=series))
    with pytest.raises(ValueError, match="Series"):
        make_folds(inventory, "group", 3, 0, group=series.iloc[1:])


def test_numbers_as_ids_become_text() -> None:
    folds = make_folds(pd.DataFrame({"image_id": [3, 20, 1]}), "kfold", 2, 0)
    assert folds["image_id"].tolist() == ["1", "20", "3"]
    assert folds["group"].tolist() == ["1", "20", "3"]


def test_repeats_differ_and_are_reproducible() -> None:
    inventory = draw_inventory()
    tables = make_repeated_folds(inventory, "group", 3, 7, repeats=3, group="patient")
    again = make_repeated_folds(inventory, "group", 3, 7, repeats=3, group="patient")
    partitions = {tuple(pd.factorize(table["fold"])[0]) for table in tables}
    assert len(tables) == len(partitions) == 3
    for table, other in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(table, other)


def test_repeats_that_cannot_differ() -> None:
    two = pd.DataFrame({"image_id": ["a", "b"]})
    with pytest.raises(ValueError, match="found 1 different splits"):
        make_repeated_folds(two, "kfold", 2, 0, repeats=2)
    with pytest.raises(ValueError, match="one way only"):
        make_repeated_folds(draw_inventory(), "predefined", 3, 0, repeats=2, fold_column="given")
    with pytest.raises(ValueError, match="repeats is 0"):
        make_repeated_folds(two, "kfold", 2, 0, repeats=0)


BAD_CALLS: list[tuple[str, int, int, dict[str, Any], str]] = [
    ("random", 3, 0, {}, "unknown method 'random'"),
    ("kfold", 3, 0, {"group": "patient"}, "takes no option 'group'"),
    ("group", 3, 0, {}, "needs option 'group'"),
    ("slab", 3, 0, {}, "needs option 'buffer'"),
    ("kfold", 1, 0, {}, "n_folds is 1"),
    ("kfold", 3, -1, {}, "seed is -1"),
    ("kfold", 100, 0, {}, "found 60 images"),
    ("group", 40, 0, {"group": "patient"}, "groups, expected at least n_folds = 40"),
    ("group", 3, 0, {"group": "nowhere"}, "no column 'nowhere'"),
    ("group", 3, 0, {"group": "holes"}, "column 'holes' is missing for 1 of 60"),
    ("stratified", 50, 0, {"strata": "organ"}, "strata have fewer than n_folds"),
    ("stratified", 3, 0, {"strata": []}, "empty list"),
    ("stratified", 3, 0, {"strata": "area_mask", "bins": 1}, "bins is 1"),
    ("stratified", 3, 0, {"strata": "infinite"}, "infinite numbers"),
    ("slab", 3, 0, {"buffer": -1}, "buffer is -1"),
    ("slab", 3, 0, {"buffer": 30}, "leaves fold 0 no training image"),
    ("slab", 3, 0, {"buffer": 1, "slabs": 0}, "slabs is 0"),
    ("slab", 3, 0, {"buffer": 1, "z_column": "organ"}, "expected numbers"),
    ("kfold", 3, 0, {"buffer": 3, "series_column": "nowhere"}, "no column 'nowhere'"),
    ("blocks", 3, 0, {"buffer": 1.5}, "expected a whole number"),
]


@pytest.mark.parametrize("method, n_folds, seed, options, message", BAD_CALLS)
def test_errors_say_what_was_found(method: str, n_folds: int, seed: int, options: dict[str, Any], message: str) -> None:
    inventory = draw_inventory()
    inventory["holes"] = inventory["organ"].where(inventory["image_id"] != "im005")
    inventory["infinite"] = np.where(inventory["z"] == 3, np.inf, 1.0)
    with pytest.raises(ValueError, match=message):
        make_folds(inventory, method, n_folds, seed, **options)


def test_bad_inventories() -> None:
    with pytest.raises(ValueError, match="no column 'image_id'"):
        make_folds(pd.DataFrame({"id": [1, 2]}), "kfold", 2, 0)
    with pytest.raises(ValueError, match="inventory is empty"):
        make_folds(pd.DataFrame({"image_id": []}), "kfold", 2, 0)
    with pytest.raises(ValueError, match="'a' and 0 more occur twice"):
        make_folds(pd.DataFrame({"image_id": ["a", "b", "a"]}), "kfold", 2, 0)


def test_check_folds_names_group_and_images() -> None:
    with pytest.raises(ValueError, match=r"first: 'g': 'a' in fold 0, 'b' in fold 1"):
        check_folds(np.array(["a", "b"]), np.array([0, 1]), np.array(["g", "g"]), 2, "file")


@pytest.mark.parametrize("method", ["kfold", "stratified", "stratified_group", "multilabel_stratified_group"])
def test_any_random_split_can_be_made_to_keep_groups(method: str) -> None:
    grouped, options = with_groups(method, OPTIONS[method], "patient")
    folds = make_folds(draw_inventory(), grouped, 3, 0, **options)
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    with pytest.raises(ValueError, match="keeps duplicates out of training"):
        with_groups("slab", {}, "patient")
