"""Levels to stratify by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from folds.strata import bin_numeric, indicator_matrix, joined, stratum_levels


def test_zero_is_a_level_of_its_own_and_equal_numbers_share_a_bin() -> None:
    values = np.array([0, 0, 5, 5, 5, 6, 7, 8, 9, 100])
    levels = bin_numeric(values, 3)
    assert (levels[:2] == "0").all() and (levels[2:] != "0").all()
    assert len(set(levels[2:5])) == 1
    assert len(set(levels)) == 4
    assert levels[9] == "q3"


def test_few_distinct_numbers_stay() -> None:
    assert bin_numeric(np.array([2.0, 0.5, 0, 2]), 4).tolist() == ["2", "0.5", "0", "2"]


def test_columns_of_every_type() -> None:
    table = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "organ": pd.Categorical(["x", "y", "x", "x"]),
            "empty": [True, False, True, True],
            "area": [0, 3, 4, 5],
        }
    )
    levels = stratum_levels(table, ["organ", "empty", "area"], bins=2)
    assert joined(levels).tolist() == ["x | True | 0", "y | False | q1", "x | True | q1", "x | True | q2"]
    matrix = indicator_matrix(levels)
    assert matrix.shape == (4, 2 + 2 + 3) and (matrix.sum(axis=1) == 3).all()


def test_numbers_written_as_text_are_numbers_and_names_stay() -> None:
    columns = {"age": ["40", "7", "51.5", "63", "8", "0"], "site": ["01", "02", "x", "01", "02", "01"]}
    table = pd.DataFrame({"image_id": list("abcdef"), **columns, "score": ["1", "inf", "2", "3", "4", "5"]})
    levels = stratum_levels(table, ["age", "site", "score"], bins=2)
    as_read_before = stratum_levels(table.assign(age=table["age"].astype(float)), ["age"], bins=2)
    assert levels["age"].tolist() == as_read_before["age"].tolist() == ["q1", "q1", "q2", "q2", "q1", "0"]
    for name in ("site", "score"):
        assert levels[name].tolist() == table[name].tolist()


def test_a_blank_cell_is_no_level() -> None:
    with pytest.raises(ValueError, match=r"column 'organ' is missing for 1 of 2 images \(first: \['b'\]\)"):
        stratum_levels(pd.DataFrame({"image_id": ["a", "b"], "organ": ["lung", ""]}), ["organ"])
