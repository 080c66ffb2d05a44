"""Opening listed images: with the neighbours of their stack, past damaged ones, and the size of their pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from drawn_hosts import SHAPE, rle_contract

from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages, pixel_size
from submissions.host.listing import list_images
from submissions.images.opening import ArrayReader, StackReader


def stack_contract() -> Competition:
    return rle_contract(
        images={"train": "train/{case}_{z}.png", "id": "{case}_{z}", "stack": "{case}", "z": "{z}"},
        tables=[], submission=None,
    )  # fmt: skip


def test_a_stack_is_opened_with_its_neighbours_in_order_of_z(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for z in (2, 10, 1):
        cv2.imwrite(str(tmp_path / "train" / f"a_{z}.png"), np.full((*SHAPE, 3), z, np.uint8))
    listing, _ = list_images(stack_contract(), tmp_path, "train")
    images = ListedImages(stack_contract(), tmp_path, listing)
    assert images.ids == ["a_1", "a_2", "a_10"]
    source, slices = images.open("a_10")
    assert (source.shape, slices) == ((3, *SHAPE, 3), [2])
    assert [int(source.read(z)[0, 0, 0]) for z in range(3)] == [1, 2, 10]
    assert images.open("a_2")[0] is source
    assert images.in_reading_order({"a_10", "a_1"}) == ["a_1", "a_10"]
    images.close()
    with pytest.raises(ValueError, match="no image with that id"):
        images.open("b_1")


def test_a_damaged_slice_raises_when_it_is_read_and_spares_its_stack(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for z in range(3):
        cv2.imwrite(str(tmp_path / "train" / f"a_{z}.png"), np.full((*SHAPE, 3), z, np.uint8))
    (tmp_path / "train" / "a_0.png").write_bytes(b"no picture")
    listing, _ = list_images(stack_contract(), tmp_path, "train")
    source, slices = ListedImages(stack_contract(), tmp_path, listing).open("a_2")
    assert (source.shape, slices) == ((3, *SHAPE, 3), [2])
    assert [int(source.read(z)[0, 0, 0]) for z in (1, 2)] == [1, 2]
    with pytest.raises(ValueError, match=r"a_0\.png: bytes"):
        source.read(0)
    for path in (tmp_path / "train").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(
        ValueError, match=r"none of the 3 slices of the stack can be opened; the first because: .*a_0\.png"
    ):
        ListedImages(stack_contract(), tmp_path, listing).open("a_2")


def test_pixel_size_comes_from_the_contract_or_the_table() -> None:
    images = {"train": "t/{id}.png", "test": "s/{id}.png"}
    assert pixel_size(rle_contract(images={**images, "pixel_size_um": 0.5}), {"image_id": "a"}) == 0.5
    column = rle_contract(images={**images, "pixel_size_um": "mpp"})
    assert pixel_size(column, {"image_id": "a", "mpp": "0.4"}) == 0.4
    with pytest.raises(ValueError, match="names the column 'mpp', which does not exist"):
        pixel_size(column, {"image_id": "a"})
    with pytest.raises(ValueError, match="expected µm above 0"):
        pixel_size(column, {"image_id": "a", "mpp": "0"})
    assert pixel_size(rle_contract(), {"image_id": "a"}) is None


def test_pixel_size_comes_from_the_file(tmp_path: Path) -> None:
    options = {"imagej": True, "resolution": (4.0, 4.0), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 9), np.uint8), **options)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((5, 9), np.uint8))
    contract = rle_contract(images={"train": "{id}.tif", "test": "t/{id}.tif", "pixel_size_um": "file"}, tables=[])
    images = ListedImages(contract, tmp_path, list_images(contract, tmp_path, "train")[0])
    assert pixel_size(contract, images.row("a"), images.open_alone("a")) == pytest.approx(0.25)
    stack = StackReader([images.open_alone("a"), images.open_alone("b")])
    assert pixel_size(contract, images.row("a"), stack) == pytest.approx(0.25)
    for source in (images.open_alone("b"), ArrayReader(np.zeros((1, 5, 9, 1)))):
        with pytest.raises(ValueError, match="does not contain a pixel size"):
            pixel_size(contract, images.row("b"), source)


def test_pixel_size_in_another_unit() -> None:
    images = {"train": "t/{id}.png", "test": "s/{id}.png", "pixel_size_um": "mm", "pixel_size_factor": 1000}
    assert pixel_size(rle_contract(images=images), {"image_id": "a", "mm": "1.5"}) == 1500.0
