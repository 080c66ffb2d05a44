"""Numbered files of a folder with one mask are channels of one image; a mask of where pixels count is no class."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_hosts import SHAPE, draw_image, draw_mask, white, write
from drawn_layouts import LAYOUTS

from submissions.guess.first_contract import draft_contract, write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

NAME = "vesuvius-ink-2023"


def guess(folder: Path) -> Competition:
    return load_competition(write_first_contract(folder / "host", out=folder / "host.yaml"))


@pytest.mark.parametrize("with_test", [True, False])
def test_slices_with_one_mask_are_layers_as_in_the_contract_by_hand(tmp_path: Path, with_test: bool) -> None:
    layout = LAYOUTS[NAME](tmp_path / "host")
    if not with_test:
        shutil.rmtree(tmp_path / "host/test")
    found, known = guess(tmp_path), load_competition(NAME)
    for ours, by_hand in ((found.images.train, known.images.train), (found.masks.path, known.masks.path),
                          (found.masks.valid, known.masks.valid)):  # fmt: skip
        assert by_hand is not None and ours == by_hand.replace("{fragment}", "{id}")
    assert found.images.kind == "layers" and len(found.classes) == 1
    assert not with_test or found.images.test == "test/{id}/surface_volume/{layer:d}.tif"
    listing, problems = list_images(found, tmp_path / "host", "train")
    assert problems == [] and [len(path.split("|")) for path in listing["path"]] == [65, 65]
    for row in listing.to_dict("records"):
        truth = MaskReader(found, tmp_path / "host").read(row, (1, *SHAPE))
        assert truth.valid is not None and layout.valid is not None
        np.testing.assert_array_equal(truth.valid[0], layout.valid[row["image_id"]])
        np.testing.assert_array_equal(truth.planes[0, 0], layout.truth[row["image_id"]][0])


def slices(folder: Path, count: int = 4, *, size: tuple[int, int] = SHAPE, masks: bool = False) -> None:
    """Three scans of some slices and a mask, of `size`; masks: each slice has one too."""
    for number in range(3):
        place = folder / f"train/case{number}"
        for z in range(count + (number if count == 5 else 0)):
            write(place / f"slices/s{z:02d}.png", draw_image(draw_mask(number), z))
            if masks:
                write(place / f"truth/s{z:02d}.png", white(draw_mask(number)))
        write(place / "label.png", cv2.resize(white(draw_mask(number)), size[::-1], interpolation=0))


def test_numbers_after_the_same_letters_are_layers_too(tmp_path: Path) -> None:
    slices(tmp_path / "host")
    for path in (tmp_path / "host").rglob("s0*.png"):
        write(path, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    sections = draft_contract(tmp_path / "host", "host").sections
    assert sections["images"]["train"] == "train/{id}/slices/s{layer:d}.png"
    assert sections["masks"]["path"] == "train/{id}/label.png" and "valid" not in sections["masks"]


@pytest.mark.parametrize(
    "given",
    [{"count": 5}, {"size": (20, 28)}, {"masks": True}, {}],
    ids=["other numbers", "a smaller mask", "a mask a slice", "in colour"],
)
def test_other_slices_stay_files(given: dict[str, object], tmp_path: Path) -> None:
    slices(tmp_path / "host", **given)  # type: ignore[arg-type]
    if given:
        for path in (tmp_path / "host").rglob("slices/*.png"):
            write(path, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert "{layer" not in draft_contract(tmp_path / "host", "host").sections["images"]["train"]


@pytest.mark.parametrize("change", ["", "no masks of test", "reaches beyond"])
def test_a_field_of_view_given_for_test_images_too_says_where_pixels_count(change: str, tmp_path: Path) -> None:
    """As DRIVE gives it; without test images, or where vessels lie outside of it, it stays a class."""
    view = np.zeros(SHAPE, bool)
    view[1:39, 1:55] = True
    for part, numbers in (("training", range(21, 27)), ("test", range(1, 5))):
        for k in numbers:
            vessels = draw_mask(k) & (view if change != "reaches beyond" else ~view | draw_mask(k))
            vessels[0, :9] |= change == "reaches beyond"
            write(tmp_path / f"host/{part}/images/{k:02d}_{part}.png", draw_image(draw_mask(k), k))
            if part == "training" or change != "no masks of test":
                write(tmp_path / f"host/{part}/mask/{k:02d}_{part}_mask.png", white(view))
            if part == "training":
                write(tmp_path / f"host/{part}/1st_manual/{k:02d}_manual1.png", white(vessels))
    masks = draft_contract(tmp_path / "host", "host").sections["masks"]
    if change:
        assert "valid" not in masks
    else:
        assert masks["path"] == "training/1st_manual/{id}_manual1.png"
        assert masks["valid"] == "training/mask/{id}_training_mask.png"
