from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from drawn_hosts import SHAPE, draw_mask, rle_contract, write
from PIL import Image

from submissions.host.competition import Competition
from submissions.host.contract.masks import Masks, parse_colour
from submissions.host.listing import list_images, passed_over
from submissions.host.mask_images import colour_codes, colour_name
from submissions.host.masks import MaskReader, Truth


def contract(path: str, *, classes: list[str] | None = None, exclusive: bool = False, **masks: Any) -> Competition:
    return rle_contract(
        images={"train": "images/{id}.png"}, tables=[], submission=None, group=None, classes=classes or ["thing"],
        exclusive=exclusive, masks={"kind": "images", "path": path, **masks},
    )  # fmt: skip


def read(competition: Competition, folder: Path, image_id: str = "a") -> Truth:
    row = {"image_id": image_id, "id": image_id, "path": f"images/{image_id}.png", "page": -1}
    return MaskReader(competition, folder).read(row, (1, *SHAPE))


def test_what_is_transparent_in_a_mask_is_not_painted(tmp_path: Path) -> None:
    drawn = draw_mask(1)
    full = np.full(SHAPE, 255, np.uint8)
    alpha = np.where(drawn, 200, 0).astype(np.uint8)
    write(tmp_path / "masks/a.png", np.dstack([full, full, full, alpha]))
    white = contract("masks/{id}.png", values={0: [], 255: "thing"})
    np.testing.assert_array_equal(read(white, tmp_path).planes[0, 0], drawn)
    write(tmp_path / "masks/a.png", np.dstack([full // 3, full // 2, full, alpha]))
    red = contract("masks/{id}.png", values={"0,0,0": [], "255,127,85": "thing"})
    np.testing.assert_array_equal(read(red, tmp_path).planes[0, 0], drawn)
    write(tmp_path / "masks/a.png", np.dstack([full // 3, full // 2, full, 0 * full]))  # nothing says what was painted
    assert read(red, tmp_path).planes.all()


def test_a_page_an_object_later_ones_on_top(tmp_path: Path) -> None:
    pages = np.zeros((3, *SHAPE), np.uint8)
    pages[0, 3:12, 4:20], pages[1, 10:20, 15:30], pages[2, 30:, 50:] = 1, 1, 1
    expected = np.max(pages * np.arange(1, 4, dtype=np.uint8)[:, None, None], axis=0)
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/a.npy", pages)
    tifffile.imwrite(tmp_path / "masks/a.tif", pages, photometric="minisblack")
    for ending in ("npy", "tif"):
        truth = read(contract(f"masks/{{id}}.{ending}", instances=True), tmp_path)
        assert truth.instances is not None
        np.testing.assert_array_equal(truth.instances[0], expected)
    np.save(tmp_path / "masks/a.npy", pages[:, 1:])
    with pytest.raises(ValueError, match=r"a\.npy: mask of size \(39, 56\)"):
        read(contract("masks/{id}.npy", instances=True), tmp_path)


def test_a_file_an_object_later_ones_on_top(tmp_path: Path) -> None:
    first, second = np.zeros((2, *SHAPE), np.uint8)
    first[3:12, 4:20], second[10:20, 15:30] = 255, 255
    for name, mask in (("0", first), ("1", second)):
        write(tmp_path / "masks/a" / f"{name}.png", mask)
    (tmp_path / "masks/a/.DS_Store").touch()
    truth = read(contract("masks/{id}/{object}.png", instances=True), tmp_path)
    expected = np.where(second > 0, 2, np.where(first > 0, 1, 0))
    assert truth.instances is not None
    np.testing.assert_array_equal(truth.instances[0], expected)
    np.testing.assert_array_equal(truth.planes[0, 0], expected > 0)
    joined = read(contract("masks/{id}/{object}.png"), tmp_path)
    np.testing.assert_array_equal(joined.planes[0, 0], expected > 0)


def test_an_image_without_an_object_is_a_mistake_or_empty(tmp_path: Path) -> None:
    (tmp_path / "masks/a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"masks/a/\*\.png: no file; expected at least one object"):
        read(contract("masks/{id}/{object}.png", instances=True), tmp_path)
    empty = read(contract("masks/{id}/{object}.png", instances=True, missing="empty"), tmp_path)
    assert empty.instances is not None and not empty.instances.any()


def test_objects_beside_each_other_in_one_folder(tmp_path: Path) -> None:
    for name, value in (("a_0", 9), ("a_1", 8), ("b_0", 7)):
        mask = np.zeros(SHAPE, np.uint8)
        mask[value, value:20] = 255
        write(tmp_path / "masks" / f"{name}.png", mask)
    truth = read(contract("masks/{id}_{object:d}.png", instances=True), tmp_path)
    assert truth.instances is not None
    assert [int(truth.instances[0, value, 15]) for value in (9, 8, 7)] == [1, 2, 0]


@pytest.mark.parametrize("keys", [("255,0,0", "0 255 0", "#000000"), ("#ff0000", "(0, 255, 0)", "0,0,0")])
def test_colours_are_classes(tmp_path: Path, keys: tuple[str, str, str]) -> None:
    first, second = draw_mask(1), draw_mask(2) & ~draw_mask(1)
    picture = np.zeros((*SHAPE, 3), np.uint8)
    picture[first], picture[second] = (0, 0, 255), (0, 255, 0)  # OpenCV writes BGR
    write(tmp_path / "masks/a.png", picture)
    values = dict(zip(keys, ("x", "y", "background"), strict=True))
    competition = contract("masks/{id}.png", classes=["background", "x", "y"], exclusive=True, values=values)
    truth = read(competition, tmp_path)
    np.testing.assert_array_equal(truth.planes[:, 0], np.stack([~(first | second), first, second]))
    write(tmp_path / "masks/a.png", picture + np.uint8(1))
    with pytest.raises(ValueError, match=r"a\.png: found colours 0,1,1, .*correct masks.values"):
        read(competition, tmp_path)


def test_colours_and_numbers_of_settings() -> None:
    assert parse_colour(7) is None and parse_colour("#0a0B0c") == (10, 11, 12) and parse_colour("1, 2,3") == (1, 2, 3)
    for text in ("red", "1,2", "1,2,300", "#12345"):
        with pytest.raises(ValueError, match="neither a number nor a colour"):
            parse_colour(text)
    masks = Masks(kind="images", path="{id}.png", values={0: [], "255": "thing"})  # JSON has keys of text
    assert masks.numbers == {0: [], 255: "thing"} and masks.colours is None
    with pytest.raises(ValueError, match="only numbers or only colours"):
        Masks(kind="images", path="{id}.png", values={0: [], "1,2,3": "thing"})
    pixels = np.array([[[1, 2, 3], [255, 0, 9]]], np.uint8)
    assert [colour_name(code) for code in colour_codes(pixels)[0].tolist()] == ["1,2,3", "255,0,9"]


@pytest.mark.parametrize(("join", "least"), [("majority", 2), ("any", 1), ("all", 3)])
def test_several_observers_are_joined(tmp_path: Path, join: str, least: int) -> None:
    masks = [draw_mask(seed) for seed in (1, 2, 3)]
    for name, mask in zip("xyz", masks, strict=True):
        write(tmp_path / "masks" / f"a_{name}.png", mask.astype(np.uint8) * 255)
    votes = np.sum(masks, axis=0)
    truth = read(contract("masks/{id}_{observer}.png", observers=["x", "y", "z"], join=join), tmp_path)
    np.testing.assert_array_equal(truth.planes[0, 0], votes >= least)
    one = read(contract("masks/{id}_{observer}.png", observers=["y"]), tmp_path)
    np.testing.assert_array_equal(one.planes[0, 0], masks[1])


def test_the_mean_of_observers_is_learned_and_their_majority_scored(tmp_path: Path) -> None:
    masks = [draw_mask(seed) for seed in (1, 2, 3)]
    for name, mask in zip("xyz", masks, strict=True):
        write(tmp_path / "masks" / f"a_{name}.png", mask.astype(np.uint8) * 255)
    given: dict[str, Any] = {"observers": ["x", "y", "z"], "join": "mean"}
    truth = read(contract("masks/{id}_{observer}.png", **given), tmp_path)
    votes = np.sum(masks, axis=0)
    assert truth.soft is not None and set(np.unique(truth.soft)) == {0, 85, 169, 254}
    np.testing.assert_array_equal(truth.planes[0, 0], votes >= 2)
    np.testing.assert_allclose(truth.soft[0, 0] / 254, votes / 3, atol=0.002)
    part = truth.window(slice(3, 20), slice(5, 33)).soft
    assert part is not None and part.shape == (1, 1, 17, 28)
    with pytest.raises(ValueError, match=r"masks\.join 'mean' needs classes that do not exclude"):
        contract("masks/{id}_{observer}.png", exclusive=True, **given)


def test_colours_that_number_objects(tmp_path: Path) -> None:
    ids = np.zeros(SHAPE, np.int64)
    ids[3:6, 3:9], ids[20:25, 20:30], ids[8:12, 40:50] = 7, 258 + (3 << 16), 200 << 16
    write(tmp_path / "masks/a.png", np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8))
    numbers = read(contract("masks/{id}.png", instances=True), tmp_path).instances
    assert numbers is not None
    np.testing.assert_array_equal(numbers[0], ids)  # red + 256 green + 65536 blue
    write(tmp_path / "masks/a.png", np.zeros((3, 4, 3), np.uint8) + np.arange(3, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"a\.png"):
        read(contract("masks/{id}.png", instances=True), tmp_path)


def test_observers_and_their_field_come_together() -> None:
    for masks in ({"path": "{id}.png", "observers": ["x"]}, {"path": "{id}_{observer}.png"}):
        with pytest.raises(ValueError, match=r"in masks\.path go together"):
            Masks(kind="images", **masks)
    with pytest.raises(ValueError, match="cannot join instances"):
        Masks(kind="images", path="{id}_{observer}.png", observers=["x"], instances=True)


def test_soft_borders_ask_for_a_threshold(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(draw_mask(1).astype(np.uint8) * 255, (5, 5), 0)
    write(tmp_path / "masks/a.png", soft)
    for masks in ({}, {"values": {0: [], 255: "thing"}}):
        with pytest.raises(ValueError, match=r"a\.png: .*for soft borders set masks\.threshold: 128"):
            read(contract("masks/{id}.png", **masks), tmp_path)
    np.testing.assert_array_equal(read(contract("masks/{id}.png", threshold=128), tmp_path).planes[0, 0], soft >= 128)


def test_a_class_whose_file_is_missing_is_a_mistake_or_empty(tmp_path: Path) -> None:
    write(tmp_path / "masks/x/a.png", draw_mask(1).astype(np.uint8))
    with pytest.raises(FileNotFoundError, match=r"masks/y/a\.png"):
        read(contract("masks/{class}/{id}.png", classes=["x", "y"]), tmp_path)
    truth = read(contract("masks/{class}/{id}.png", classes=["x", "y"], missing="empty"), tmp_path)
    np.testing.assert_array_equal(truth.planes[:, 0], np.stack([draw_mask(1), np.zeros(SHAPE, bool)]))


def test_a_palette_with_void_and_ids_of_32_bits(tmp_path: Path) -> None:
    label = np.where(draw_mask(1), 5, 0).astype(np.uint8)
    label[:2] = 255
    picture = Image.fromarray(label, mode="P")
    picture.putpalette([value * 37 % 256 for value in range(768)])
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks/a.png")
    truth = read(contract("masks/{id}.png", values={0: [], 5: "thing", 255: "void"}), tmp_path)
    assert truth.valid is not None
    np.testing.assert_array_equal(truth.valid[0], label != 255)
    np.testing.assert_array_equal(truth.planes[0, 0], label == 5)
    ids = np.zeros(SHAPE, np.uint32)
    ids[3:6, 3:9], ids[20:25, 20:30] = 70_000, 4_000_000_000
    np.save(tmp_path / "masks/a.npy", ids)
    numbered = read(contract("masks/{id}.npy", instances=True), tmp_path).instances
    assert numbered is not None and len(np.unique(numbered)) == 3
    np.testing.assert_array_equal(numbered[0] > 0, ids > 0)


def lay_out(folder: Path, images: str, masks: str) -> None:
    for part, names in (("images", images), ("masks", masks)):
        for name in names:
            write(folder / part / f"{name}.png", draw_mask(ord(name)).astype(np.uint8) * 255)


def test_a_mask_without_its_image_is_a_problem_unless_it_is_expected(tmp_path: Path) -> None:
    lay_out(tmp_path, "ab", "abc")
    (tmp_path / "images/._a.png").touch()
    listing, problems = list_images(contract("masks/{id}.png"), tmp_path, "train")
    assert listing["image_id"].tolist() == ["a", "b"]
    assert [str(one) for one in problems] == [
        "masks/c.png: found a mask without its image; expected an image as images/{id}.png says; "
        "add the image, remove the mask, or set masks.surplus: true"
    ]
    assert list_images(contract("masks/{id}.png", surplus=True), tmp_path, "train")[1] == []
    assert passed_over(contract("masks/{id}.png"), tmp_path) == ["images/._a.png"]


def test_images_that_nobody_labelled_are_left_out_where_the_contract_says_so(tmp_path: Path) -> None:
    lay_out(tmp_path, "abc", "ac")
    listing, problems = list_images(contract("masks/{id}.png", missing="skip"), tmp_path, "train")
    assert (listing["image_id"].tolist(), problems) == (["a", "c"], [])


def test_names_from_tables_cannot_leave_the_data_by_a_link_and_the_user_s_own_folders_can(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(tmp_path / "disk/a.png", draw_mask(1).astype(np.uint8) * 255)
    write(data / "images/a.png", draw_mask(1).astype(np.uint8) * 255)
    (data / "masks").symlink_to(tmp_path / "disk", target_is_directory=True)
    np.testing.assert_array_equal(read(contract("masks/{id}.png"), data).planes[0, 0], draw_mask(1))
    row = {"image_id": "a", "path": "images/a.png", "page": -1, "file": "masks/a.png"}
    with pytest.raises(ValueError, match="the table may not point there"):
        MaskReader(contract("{file}"), data).read(row, (1, *SHAPE))
    with pytest.raises(ValueError, match="outside"):
        MaskReader(contract("{file}"), data).read({**row, "file": "../disk/a.png"}, (1, *SHAPE))


def test_the_class_of_a_value_stands_in_the_images_row(tmp_path: Path) -> None:
    trimap = np.full(SHAPE, 2, np.uint8)
    trimap[4:9, 5:12], trimap[9, 5:12] = 1, 3
    write(tmp_path / "masks/a.png", trimap)
    competition = contract(
        "masks/{id}.png", classes=["background", "cat", "dog"], exclusive=True,
        values={1: "{species}", 2: "background", 3: "void"}, column_classes={"species": {1: "cat", 2: "dog"}},
    )  # fmt: skip
    again = Competition.model_validate_json(competition.model_dump_json())
    row = {"image_id": "a", "id": "a", "path": "images/a.png", "page": -1}
    for cell, index in (("1", 1), ("2", 2)):
        truth = MaskReader(again, tmp_path).read({**row, "species": cell}, (1, *SHAPE))
        np.testing.assert_array_equal(truth.planes[index, 0], trimap == 1)
        np.testing.assert_array_equal(truth.planes[0, 0], trimap == 2)
        assert not truth.planes[3 - index].any()
        assert truth.valid is not None
        np.testing.assert_array_equal(truth.valid[0], trimap != 3)
    with pytest.raises(ValueError, match=r"a: species '3', expected one of \['1', '2'\]; mend masks.column_classes"):
        MaskReader(again, tmp_path).read({**row, "species": "3"}, (1, *SHAPE))
    with pytest.raises(ValueError, match="a: no column 'species' in the contract's tables"):
        read(again, tmp_path)
    with pytest.raises(
        ValueError, match=r"names the columns \['species'\] and masks.column_classes maps those of \[\]"
    ):
        Masks(kind="images", path="{id}.png", values={0: [], 1: "{species}"})


@pytest.mark.parametrize("ending", ["npy", "tif", "png"])
def test_each_channel_of_a_file_is_a_class(tmp_path: Path, ending: str) -> None:
    layers = np.stack([draw_mask(1), draw_mask(2), draw_mask(3)], axis=-1)
    pixels = (layers * [1, 7, 1]).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    path = tmp_path / f"masks/a.{ending}"
    if ending == "npy":
        np.save(path, pixels.astype(np.float64))
    elif ending == "tif":
        tifffile.imwrite(path, pixels.transpose(2, 0, 1), photometric="minisblack")  # a page a class
    else:
        write(path, pixels[..., ::-1])
    named = contract(f"masks/{{id}}.{ending}", classes=["one", "two"], channels=["two", "one", "void"])
    truth = read(named, tmp_path)
    np.testing.assert_array_equal(truth.planes[:, 0], [layers[..., 1], layers[..., 0]])
    assert truth.valid is not None
    np.testing.assert_array_equal(truth.valid[0], ~layers[..., 2])
    few = contract(f"masks/{{id}}.{ending}", channels=["thing", ""])
    with pytest.raises(ValueError, match=rf"a\.{ending}: .*(3 channels, expected 2, as masks\.channels|depth 3)"):
        read(few, tmp_path)


def test_channels_number_the_objects_of_their_classes(tmp_path: Path) -> None:
    numbers = np.zeros((*SHAPE, 3), np.float32)
    numbers[2:9, 3:9, 0], numbers[12:20, 3:9, 0], numbers[5:9, 30:40, 1] = 4, 9, 2
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/a.npy", numbers)
    cells = contract("masks/{id}.npy", classes=["round", "flat"], channels=["round", "flat", "void"], instances=True)
    numbers[30:35, :5, 2] = 1
    np.save(tmp_path / "masks/a.npy", numbers)
    truth = read(cells, tmp_path)
    assert truth.objects is not None and set(truth.objects) == {"round", "flat"} and truth.valid is not None
    np.testing.assert_array_equal(truth.valid[0], numbers[..., 2] == 0)
    np.testing.assert_array_equal(truth.objects["round"][0], numbers[..., 0])
    np.testing.assert_array_equal(truth.objects["flat"][0], numbers[..., 1])
    for more, most in ((2.0**25, 16777216), (2.0**40, 2147483647)):  # ids of neurons, say
        np.save(tmp_path / "masks/a.npy", np.where(numbers > 0, numbers + more, 0))
        with pytest.raises(ValueError, match=rf"a\.npy: numbers up to \d+, expected at most {most}"):
            read(cells, tmp_path)
    np.save(tmp_path / "masks/a.npy", numbers / 8)
    with pytest.raises(ValueError, match=r"a\.npy: a mask holds whole numbers, found 0\.5"):
        read(cells, tmp_path)


def test_channels_and_other_ways_to_tell_classes_do_not_go_together() -> None:
    for other in ({"values": {0: [], 1: "thing"}}, {"path": "{class}/{id}.png"}):
        with pytest.raises(ValueError, match=r"leave out masks\.values and \{class\} in masks\.path"):
            Masks(**{"kind": "images", "path": "{id}.png", "channels": ["thing"], **other})
