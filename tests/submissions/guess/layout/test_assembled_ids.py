"""Ids that a table puts together of folders and words of the names, as UW-Madison's: case1_day2_slice_0001."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from drawn_layouts import LAYOUTS

from submissions.guess.first_contract import write_first_contract
from submissions.guess.layout.assembled_ids import with_assembled_ids
from submissions.guess.layout.files import FileGroup
from submissions.host.competition import load_competition
from submissions.host.listing import list_images


def group(*paths: str) -> FileGroup:
    """Files in two folders each, train/<case>/<scan>/<name>.png."""
    files = tuple((path, (*path.split("/")[1:3], Path(path).stem)) for path in paths)
    return FileGroup("train/{folder1}/{folder2}/{name}.png", ("folder1", "folder2", "name"), files)


SLICES = group("train/a/x/s_1_64.png", "train/a/x/s_2_64.png", "train/a/y/s_1_80.png", "train/b/x/s_1_80.png")


@pytest.mark.parametrize(
    ("cells", "template", "pattern"),
    [
        (["a_x_s_1", "a_x_s_2", "a_y_s_1", "b_x_s_1"], "{folder1}_{folder2}_s_{name}", "s_{name}_{rest1}"),
        (["a_x/s_1", "a_x/s_2"], "", ""),  # both joints at once
        (["a/x/s_1", "a/x/s_2", "a/y/s_1"], "{folder1}/{folder2}/s_{name}", "s_{name}_{rest1}"),
        (["a-x-s_1_64", "a-x-s_2_64", "other"], "{folder1}-{folder2}-s_{part1}_{name}", "s_{part1}_{name}"),
        (["x_s_1", "x_s_2"], "", ""),  # x of a, and of b
        (["a_x_s_1", "other", "another"], "", ""),  # most are of other images
        ([], "", ""),
    ],
)
def test_what_an_id_is_made_of(cells: list[str], template: str, pattern: str) -> None:
    found = with_assembled_ids(SLICES, [{"1", "2"}, set(cells)])
    assert (found.id_template if found else "") == template
    if found is not None:
        assert found.pattern == f"train/{{folder1}}/{{folder2}}/{pattern}.png"
        ids = found.ids(found.id_template)
        assert len(set(ids)) == 4 and len(set(ids) & set(cells)) >= 2


def test_words_of_names_have_to_be_as_many_in_all_and_one_has_to_vary() -> None:
    cells = [{"a_x_s_1", "a_x_s_2"}]
    assert with_assembled_ids(group("train/a/x/s_1_64.png", "train/a/x/s_2.png"), cells) is None
    assert with_assembled_ids(group("train/a/x/s_1.png", "train/a/y/s_1.png"), [{"a_x_s_1", "a_y_s_1"}]) is None


def test_days_of_a_case_are_stacks_of_one_group(tmp_path: Path) -> None:
    host = tmp_path / "host"
    layout = LAYOUTS["uw-madison-gi-2022"](host)
    table = pd.read_csv(host / "train.csv", dtype=str, keep_default_na=False)
    shown = table[table["id"].str.startswith("case123")]
    for case in ("case3", "case44", "case5"):
        for day in ("day1", "day20"):
            shutil.copytree(host / "train/case123/case123_day20", host / f"train/{case}/{case}_{day}")
            more = shown.assign(id=shown["id"].str.replace("case123_day20", f"{case}_{day}"))
            table = pd.concat([table, more])
    table.to_csv(host / "train.csv", index=False)
    contract = load_competition(write_first_contract(host, out=tmp_path / "first.yaml"))
    assert (contract.group, contract.images.stack, contract.images.z) == ("folder1", "{folder1}_{folder2}", "{name}")
    for split, expected in (("train", set(table["id"])), ("test", set(layout.test))):
        listing, problems = list_images(contract, host, split)
        assert set(listing["image_id"]) == expected and problems == []
