from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_sources import drawn_inventory
from sklearn.metrics import adjusted_rand_score

from pipeline.shift import sources
from pipeline.shift.sources import find_sources

COUNTS = {("train", "plain"): 40, ("train", "purple"): 25, ("test", "blurred"): 22, ("test", "plain"): 8}


@pytest.fixture(scope="module")
def drawn() -> tuple[pd.DataFrame, np.ndarray]:
    return drawn_inventory(COUNTS)


def test_sources_are_those_that_were_drawn_named_by_size(drawn: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, thumbnails = drawn
    found = find_sources(table, thumbnails)
    assert adjusted_rand_score(table["truth"], found) == 1
    assert pd.crosstab(table["truth"], found).idxmax(axis=1).to_dict() == {
        "plain": "s1",
        "purple": "s2",
        "blurred": "s3",
    }


def test_the_order_of_the_files_does_not_matter(drawn: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, thumbnails = drawn
    order = np.random.default_rng(1).permutation(len(table))
    turned = find_sources(table.iloc[order], thumbnails[order])
    assert turned.sort_index().tolist() == find_sources(table, thumbnails).tolist()


def test_images_of_one_kind_are_one_source() -> None:
    assert set(find_sources(*drawn_inventory({("train", "plain"): 60}))) == {"s1"}


def test_a_source_of_one_image_stands_alone_and_few_images_are_one_source() -> None:
    table, thumbnails = drawn_inventory({("train", "plain"): 40, ("test", "purple"): 1})
    found = find_sources(table, thumbnails)
    assert found.tolist() == ["s1"] * 40 + ["s2"]
    assert find_sources(table.iloc[:1], thumbnails[:1]).tolist() == ["s1"]
    assert find_sources(table.iloc[-3:], thumbnails[-3:]).tolist() == ["s1"] * 3


def test_images_all_alike_are_one_source(drawn: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, thumbnails = drawn
    same = pd.concat([table.iloc[:1]] * 30, ignore_index=True).assign(image_id=[f"i{k:02d}" for k in range(30)])
    assert set(find_sources(same, np.repeat(thumbnails[:1], 30, axis=0))) == {"s1"}


def test_of_many_images_the_rest_go_with_those_most_like_them(
    drawn: tuple[pd.DataFrame, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MOST_CLUSTERED", 60)
    table, thumbnails = drawn
    assert adjusted_rand_score(table["truth"], find_sources(table, thumbnails)) == 1


def test_an_inventory_without_measures_is_refused(drawn: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, thumbnails = drawn
    with pytest.raises(ValueError, match=r"no column 'image_noise'; run 01_check_data\.py again"):
        find_sources(table.drop(columns="image_noise"), thumbnails)
