from __future__ import annotations

import pandas as pd
import pytest

from pipeline.shift.one_sided import names_single_images, only_in_test


def sides(training: dict[str, list], test: dict[str, list]) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = []
    for columns in (training, test):
        count = len(next(iter(columns.values())))
        plain = {"height": [30] * count, "width": [40] * count, "channels": [3] * count, "dtype": ["uint8"] * count}
        found.append(pd.DataFrame({**plain, **columns}))
    return found[0], found[1]


def test_sizes_types_and_values_that_training_lacks() -> None:
    training, test = sides(
        {"organ": ["lung", "lung", "liver"], "width": [40, 50, 40]},
        {"organ": ["lung", "spleen"], "width": [40, 60], "dtype": ["uint8", "uint16"]},
    )
    found = only_in_test(training, test).set_index("property")
    assert found.index.tolist() == ["size", "dtype", "organ"]
    assert found["images"].tolist() == [1, 1, 1]
    assert found["values"].tolist() == ["30 x 60", "uint16", "spleen"]
    assert found.loc["organ", "training"] == "lung, liver"


def test_numbers_of_many_values_count_outside_their_range() -> None:
    names = {"image_id": [f"t{k}" for k in range(60)]}
    training, test = sides(
        {**names, "depth_ft": [str(k) for k in range(100, 160)]},
        {"image_id": list("abc"), "depth_ft": ["90", "120.5", "500"]},
    )
    found = only_in_test(training, test)
    assert found.values.tolist() == [["depth_ft", 2, "500, 90", "100 to 159"]]


def test_of_few_images_each_of_its_own_size_the_range_counts_too() -> None:
    ours = pd.DataFrame({"height": [40, 50, 60, 70], "width": [50, 61, 72, 83], "depth": [9, 12, 16, 12]})
    theirs = pd.DataFrame({"height": [45, 30], "width": [52, 30], "depth": [11, 20]})
    found = only_in_test(ours, theirs).set_index("property")
    assert found["images"].to_dict() == {"size": 1, "depth": 1}
    assert found["values"].to_dict() == {"size": "30 x 30", "depth": "20"}


def test_sizes_of_many_values_count_outside_their_areas() -> None:
    training, test = sides({"width": list(range(100, 130))}, {"width": [115, 300], "height": [31, 30]})
    found = only_in_test(training, test)
    assert found.values.tolist() == [["size", 1, "30 x 300", "3000 to 3870 pixels, 30 sizes"]]


def test_names_of_single_images_blanks_and_own_columns_say_nothing() -> None:
    training, test = sides(
        {
            "frame": [f"a{k}" for k in range(30)],
            "site": ["x"] * 29 + [""],
            "image_noise": [0.1] * 30,
            "area_x": [1] * 30,
        },
        {"frame": ["b1"], "site": ["y"], "image_noise": [0.7], "area_x": [2]},
    )
    assert only_in_test(training, test).empty


def test_long_lists_are_cut() -> None:
    training, test = sides({"site": list("abcdefg") * 2}, {"site": list("tuvwxyz")})
    row = only_in_test(training, test).iloc[0]
    assert row["values"] == "t, u, v, w, x and 2 more" and row["training"].endswith(" and 2 more")


@pytest.mark.parametrize("count", [1, 4, 30])
@pytest.mark.parametrize("field", ["{:03d}", "{}", "x{:03d}"])
def test_a_column_that_names_single_images_is_no_finding(count: int, field: str) -> None:
    names, others = ([field.format(k) for k in range(a, a + count)] for a in (0, 900))
    training, test = sides(
        {"image_id": [f"case_{name}" for name in names], "id": names, "organ": ["lung"] * count},
        {"image_id": [f"case_{name}" for name in others], "id": others, "organ": ["lung"] * count},
    )
    assert names_single_images(training, "id")
    assert only_in_test(training, test).empty
