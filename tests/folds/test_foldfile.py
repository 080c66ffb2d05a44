"""The fold file: round trip, hash, and every way a team's file can be wrong."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.foldfile import folds_hash, read_folds, write_folds
from folds.splitters import make_folds

INVENTORY = pd.DataFrame(
    {
        "image_id": ["007", "NA", "x,y", "ü", "b"],
        "stack": "s",
        "z": [0, 4, 8, 30, 40],
        "height": 30,
        "width": 20,
    }
)


@pytest.mark.parametrize("method, options", [("kfold", {"buffer": 4}), ("blocks", {"buffer": 2})])
def test_round_trip(tmp_path: Path, method: str, options: dict[str, int]) -> None:
    folds = make_folds(INVENTORY, method, 2, 0, **options)
    path = tmp_path / "folds.csv"
    digest = write_folds(folds.iloc[::-1], path)
    again = read_folds(path, INVENTORY)
    pd.testing.assert_frame_equal(folds, again, check_dtype=False)
    assert digest == folds_hash(again) == folds_hash(folds.sample(frac=1, random_state=3))
    assert [file.name for file in tmp_path.iterdir()] == ["folds.csv"]


def test_the_hash_is_known_and_sees_every_value() -> None:
    folds = pd.DataFrame(
        {
            "image_id": ["ü", "b"],
            "fold": [1, 0],
            "group": ["g", "h"],
            "stratum": "",
            "excluded_from": ["0", ""],
        }
    )
    assert folds_hash(folds) == "eee106b0a3707aad"
    for column, value in (("fold", 1 - folds["fold"].iloc[0]), ("excluded_from", "1"), ("group", "other")):
        changed = folds.copy()
        changed.loc[0, column] = value
        assert folds_hash(changed) != folds_hash(folds)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(5)))
def test_the_hash_forgets_the_order(order: list[int]) -> None:
    folds = make_folds(INVENTORY, "kfold", 2, 0)
    assert folds_hash(folds.iloc[order]) == folds_hash(folds)


def test_sources_are_kept_and_part_of_the_hash(tmp_path: Path) -> None:
    table = make_folds(pd.DataFrame({"image_id": list("abcdef")}), "kfold", 2, 0).assign(source=list("xxyyyz"))
    name = write_folds(table, tmp_path / "folds.csv")
    again = read_folds(tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(again, table)
    assert folds_hash(again) == name != folds_hash(table.assign(source="x"))


def test_a_teams_file_needs_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "team.csv"
    path.write_text("fold,image_id,remark\n1,b,\n0,a,first\n", encoding="utf-8")
    folds = read_folds(path)
    assert folds.to_dict("list") == {
        "image_id": ["a", "b"],
        "fold": [0, 1],
        "group": ["a", "b"],
        "stratum": ["", ""],
        "excluded_from": ["", ""],
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("image_id\na\n", "expected 'fold' too"),
        ("image_id,fold\na,0\nb,x\n", r"holds 'x' \(row 3\)"),
        ("image_id,fold\na,0\nb,-1\n", "whole numbers from 0 on"),
        ("image_id,fold\na,0\nb,1\na,1\n", "'a' and 0 more are repeated"),
        ("image_id,fold\na,0\nb,2\n", "fold 1 is empty"),
        ("image_id,fold\na,0\nb,0\n", "fold 1 is empty"),
        (
            "image_id,fold\na,0\nc,1\n",
            r"1 images of the inventory have no fold \(first: \['b'\]\), 1 are not",
        ),
        ("image_id,fold,group\na,0,g\nb,1,g\n", "on two sides"),
        ("image_id,fold,excluded_from\na,0,7\nb,1,\n", "excluded_from of image 'a'"),
        ("image_id,fold,excluded_from\na,0,0\nb,1,\n", "other than its own"),
        ("image_id,fold,excluded_from\na,0,one\nb,1,\n", "'one'"),
        ("image_id,fold,y0\na,0,0\nb,1,0\n", "expected all or none"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "team.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_folds(path, pd.DataFrame({"image_id": ["a", "b"]}))


def test_no_file_and_no_columns(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no fold file"):
        read_folds(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="lacks columns"):
        write_folds(pd.DataFrame({"image_id": ["a"], "fold": [0]}), tmp_path / "folds.csv")
    assert not list(tmp_path.iterdir())
