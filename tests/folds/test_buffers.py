"""Slabs and buffers against a slow count."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.buffers import folds_set, folds_text, near_validation, slab_folds, slab_of


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=30),
    buffer=st.integers(0, 5),
)
def test_near_validation_equals_the_slow_count(rows: list[tuple[str, int, int]], buffer: int) -> None:
    series, z, fold = (np.array(column) for column in zip(*rows, strict=True))
    expected = [
        {int(f) for s, at, f in rows if s == series[i] and f != fold[i] and abs(at - z[i]) <= buffer}
        for i in range(len(rows))
    ]
    assert near_validation(series.astype(object), z, fold, buffer) == expected


def test_slabs_are_equal_parts() -> None:
    z = np.array([5, 0, 1, 2, 3, 4, 5])
    slab = slab_of(np.array(["a"] * 7, dtype=object), z, 3)
    assert slab.tolist() == [2, 0, 0, 1, 1, 2, 2]


def test_short_series_fill_all_folds() -> None:
    series = np.array([f"s{number}" for number in range(9)], dtype=object)
    folds = slab_folds(series, np.zeros(9, dtype=np.int64), 3, 0)
    assert np.bincount(folds).tolist() == [3, 3, 3]


def test_text_and_back() -> None:
    assert folds_text({3, 0, 11}) == "0;3;11"
    assert folds_set("0;3;11") == {0, 3, 11}
    assert folds_text(set()) == "" and folds_set("") == set()
