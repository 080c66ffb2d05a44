"""Masks whose names have a word within that images lack, or have another for, are found; other names are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_folders import other_word_within, word_within
from drawn_hosts import SHAPE, draw_mask

from submissions.guess.first_contract import write_first_contract
from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.inner_words import by_inner_word
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader


def guess(folder: Path) -> Competition:
    return load_competition(write_first_contract(folder, out=folder.with_suffix(".yaml")))


def check_masks(contract: Competition, folder: Path, names: dict[str, int]) -> None:
    """Whether images and their masks are those drawn with these seeds."""
    listing, problems = list_images(contract, folder, "train")
    assert problems == [] and sorted(listing["image_id"]) == sorted(names)
    for row in listing.to_dict("records"):
        planes = MaskReader(contract, folder).read(row, (1, *SHAPE)).planes
        np.testing.assert_array_equal(planes[0, 0], draw_mask(names[row["image_id"]]))


def test_a_word_that_images_lack(tmp_path: Path) -> None:
    word_within(tmp_path / "host")
    contract = guess(tmp_path / "host")
    assert contract.masks.path == "training/gt_image_2/{begin}_road_{name}.png" and contract.strata == ["begin"]
    check_masks(contract, tmp_path / "host", {f"{kind}_{k:06d}": k for kind in ("um", "umm", "uu") for k in range(4)})
    test, problems = list_images(contract, tmp_path / "host", "test")
    assert problems == [] and test["image_id"].tolist() == ["um_000004", "umm_000004", "uu_000004"]


def test_a_word_that_images_have_another_for(tmp_path: Path) -> None:
    other_word_within(tmp_path / "host")
    contract = guess(tmp_path / "host")
    assert contract.group == "begin" and contract.images.stack is None
    check_masks(contract, tmp_path / "host", {f"sub{k // 3:02d}_img_{k:03d}": k for k in range(12)})


def named(*stems: str, folder: str = "a") -> FileGroup:
    return FileGroup(f"{folder}/{{name}}.png", ("name",), tuple((f"{folder}/{stem}.png", (stem,)) for stem in stems))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (("a_1", "b_2"), ("a_x_y_1", "b_x_y_2")),
        (("a_1", "b_c_2"), ("a_x_1", "b_x_2")),
        (("a_1", "b_2"), ("a_9_1", "b_9_2")),
        (("a_p_1", "b_q_2"), ("a_x_1", "b_x_2")),
        (("a_1", "b_2"), ("c_x_1", "d_x_2")),
    ],
    ids=["two words", "names of several forms", "a number", "words that differ", "other names"],
)
def test_other_names_are_no_pairs(images: tuple[str, ...], masks: tuple[str, ...]) -> None:
    assert by_inner_word(named(*images), named(*masks, folder="b")) is None


def test_names_that_a_pattern_would_take_apart_elsewhere_are_given_a_width_or_left_alone() -> None:
    found = by_inner_word(named("a_1_8", "b_2_9"), named("a_1_x_8", "b_2_x_9", folder="b"))
    assert found is not None and found.images.pattern == "a/{begin:3}_{name}.png"
    assert by_inner_word(named("a_1_8", "b_22_9"), named("a_1_x_8", "b_22_x_9", folder="b")) is None
