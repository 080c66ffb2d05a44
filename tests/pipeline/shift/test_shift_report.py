from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_sources import drawn_inventory

from pipeline.shift.appearance import appearance
from pipeline.shift.pictures import draw_map, draw_sources, farthest
from pipeline.shift.shift_report import Shift, compare_sets, report_shift
from pipeline.shift.sources import find_sources
from pipeline.workspace import Workspace

Counts = dict[tuple[str, str], int]


def space_of(counts: Counts, *, copied: int = 0, drop: str | None = None) -> Workspace:
    """What the report reads of a workspace, over a drawn inventory; the last test images are copies of training."""
    table, thumbnails = drawn_inventory(counts)
    table["source"] = find_sources(table, thumbnails)
    for place in range(copied):
        table.loc[len(table) - 1 - place, "content_hash"] = table.loc[place, "content_hash"]
        thumbnails[len(table) - 1 - place] = thumbnails[place]
    table = table.drop(columns=[drop] if drop else [])
    train = table[table["split"] == "train"]
    fake = SimpleNamespace(
        all_images=lambda: (table, thumbnails),
        training_images=lambda: (train, "hash"),
        group_column=None,
    )
    return cast(Workspace, fake)


def compared(counts: Counts, **columns: Any) -> Shift:
    table, thumbnails = drawn_inventory(counts)
    table = table.drop(columns="truth").assign(source=find_sources(table, thumbnails), **columns)
    pairs = pd.DataFrame(columns=["image_a", "image_b", "kind", "similarity"])
    return compare_sets(table, appearance(table, thumbnails), table["image_id"].to_numpy(object), pairs)


def test_like_images_recommend_a_split_within_sources() -> None:
    found = compared({("train", "plain"): 60, ("test", "plain"): 30})
    assert found.summary["sentences"][0].startswith("the test images are like training (AUC 0.")
    assert found.summary["sentences"][-1].startswith("a split within sources is like the test set: ")
    assert not any("predict.normalise" in sentence for sentence in found.summary["sentences"])
    assert found.summary["interval"][0] < 0.6 and found.summary["unseen_sources"] == 0


def test_a_foreign_source_recommends_a_split_across_sources() -> None:
    found = compared({("train", "plain"): 40, ("train", "purple"): 30, ("test", "blurred"): 25})
    first, colours, *_, unseen, last = found.summary["sentences"]
    assert first.startswith("the test images differ from training (AUC ") and first.endswith(
        "by their looks, before any prediction, 25 of 25 test images are foreign"
    )
    assert colours.startswith("25 of 25 test images have values unlike") and "predict.normalise: colour" in colours
    assert unseen == "25 of 25 test images come from sources that training does not have"
    assert last.endswith("folds.method: leave_one_group_out, folds.group: source, folds.n: 2")
    assert found.images["foreign"].is_monotonic_decreasing and found.images["nearest_3"].str.startswith("train").all()


def test_one_source_of_training_cannot_show_a_foreign_one() -> None:
    last = compared({("train", "plain"): 40, ("test", "blurred"): 25}).summary["sentences"][-1]
    assert "training is one source: no split of it resembles the test set" in last


def test_values_of_a_column_that_training_lacks_are_what_to_split_by() -> None:
    organs = ["lung", "liver"] * 20 + ["spleen"] * 12
    found = compared({("train", "plain"): 40, ("test", "plain"): 12}, organ=organs)
    assert "only in test: organ spleen (12 of 12 images; training has lung, liver)" in found.summary["sentences"]
    assert found.summary["sentences"][-1].endswith("folds.method: group, folds.group: organ")
    one = compared({("train", "plain"): 40, ("test", "plain"): 12}, organ=["lung"] * 40 + ["spleen"] * 12)
    assert "folds.group: organ" not in one.summary["sentences"][-1]
    names = [f"x{k}" for k in range(52)]
    own = compared({("train", "plain"): 40, ("test", "plain"): 12}, name=names, depth_ft=[*range(100, 140), *range(12)])
    assert not any(" name " in sentence for sentence in own.summary["sentences"])
    assert any("depth_ft" in sentence for sentence in own.summary["sentences"])
    assert "folds.group" not in own.summary["sentences"][-1]


def test_one_test_image_is_compared_without_a_classifier() -> None:
    found = compared({("train", "plain"): 6, ("test", "purple"): 1})
    assert found.summary["auc"] is None and len(found.images) == 1
    assert found.summary["sentences"][0] == "too few groups of images to say whether the test images are like training"


def test_the_report_is_written_with_its_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = space_of({("train", "plain"): 30, ("test", "plain"): 12}, copied=2)
    space.inventory = tmp_path
    lines = report_shift(space, tmp_path)
    assert lines[0].startswith("1 source(s) of images: s1 42")
    assert any(line.startswith("2 of 12 test images show what a training image shows") for line in lines)
    summary = json.loads((tmp_path / "shift.json").read_text())
    assert summary["sentences"] == lines[1:] and summary["copies"] == 2
    copies = pd.read_csv(tmp_path / "shift_copies.csv")
    assert copies.loc[copies["kind"] == "exact", "image_a"].tolist() == ["train0001", "train0000"]
    assert len(pd.read_csv(tmp_path / "shift_images.csv")) == 12
    for name in ("shift.png", "sources.png"):
        assert cv2.imread(str(tmp_path / name)).std() > 5


def test_without_test_images_sources_are_shown_all_the_same(tmp_path: Path) -> None:
    lines = report_shift(space_of({("train", "plain"): 8}), tmp_path)
    assert lines[-1] == "there are no test images to compare with training"
    assert (tmp_path / "sources.png").is_file() and not (tmp_path / "shift.json").exists()


def test_training_images_that_stand_in_for_test_images_are_not_compared(tmp_path: Path) -> None:
    space = space_of({("train", "plain"): 4, ("test", "plain"): 3})
    table = space.all_images()[0]
    table.loc[table["split"] == "test", "path"] = table["path"].head(3).tolist()
    assert report_shift(space, tmp_path)[1:] == [
        "the test images are training images, by their paths: nothing to compare"
    ]
    assert not (tmp_path / "shift.json").exists()


def test_an_old_inventory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column 'image_noise'"):
        report_shift(space_of({("train", "plain"): 4}, drop="image_noise"), tmp_path)


def test_pictures_of_one_image_and_of_images_all_alike(tmp_path: Path) -> None:
    table, thumbnails = drawn_inventory({("train", "plain"): 1})
    looks = appearance(table, thumbnails)
    draw_map(looks, np.zeros(1, bool), thumbnails, tmp_path / "one.png")
    draw_sources(table.assign(source="s1", dtype="float32"), thumbnails, tmp_path / "sources.png")
    assert (tmp_path / "one.png").is_file() and (tmp_path / "sources.png").is_file()
    assert farthest(np.zeros((5, 2)), 3) == [0]


def test_spread_points_are_far_from_each_other() -> None:
    points = np.array([[0.0, 0], [0.1, 0], [10, 0], [0, 8], [0.2, 0.1]])
    assert set(farthest(points, 3)[1:]) == {2, 3}
