from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_hosts import SHAPE, draw_image, draw_mask, rle_contract, write_rle_host

from submissions.host.competition import Competition
from submissions.host.contract.tables import Table
from submissions.host.listed_images import ListedImages
from submissions.host.listing import Split, formats_used, list_images, read_table
from submissions.host.settings import validate

SPLITS: tuple[Split, ...] = ("train", "test")


def test_images_and_tables_are_joined_by_id(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    listing, problems = list_images(competition, tmp_path, "train")
    assert problems == []
    assert listing["image_id"].tolist() == [f"train{index:02d}" for index in range(8)]
    assert listing["patient"].tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert "rle" not in listing
    test, problems = list_images(competition, tmp_path, "test")
    assert (len(test), problems) == (3, [])


def test_missing_rows_and_missing_images_are_both_listed(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    (tmp_path / "train" / "train03.png").unlink()
    cv2.imwrite(str(tmp_path / "train" / "stray.png"), np.zeros((*SHAPE, 3), np.uint8))
    _, problems = list_images(competition, tmp_path, "train")
    text = "\n".join(map(str, problems))
    assert "id 'train03': found no image with that id" in text
    assert "id 'stray' without a row" in text
    assert len(problems) == 2


def test_a_table_of_both_splits_and_a_list_of_what_counts(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    names = [*(f"train{i:02d}" for i in range(8)), *(f"test{i:02d}" for i in range(3))]
    pd.DataFrame({"key": [f"{n}.png" for n in names], "z": range(11)}).to_csv(tmp_path / "both.csv", index=False)
    table = {"file": "both.csv", "id": "{key}", "strip": ".png", "both_splits": True, "rename": {"z": "depth"}}
    both = rle_contract(tables=[{"file": "train.csv"}, table], test_tables=[table])
    listing, problems = list_images(both, tmp_path, "train")
    assert problems == []
    assert listing["depth"].tolist() == [str(i) for i in range(8)]
    assert listing["z"].tolist() == [0] * 8
    pd.DataFrame({"id": ["train01", "train05"]}).to_csv(tmp_path / "some.csv", index=False)
    images = {"train": "train/{id}.png", "only_listed": True}
    listed = rle_contract(tables=[{"file": "some.csv"}], images=images, submission=None)
    chosen, problems = list_images(listed, tmp_path, "train")
    assert (chosen["image_id"].tolist(), problems) == (["train01", "train05"], [])


def test_tables_without_header_or_column_or_file(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    (tmp_path / "list.txt").write_text("a 1\nb 2\n")
    table = rle_contract(tables=[{"file": "list.txt", "separator": " ", "columns": ["id", "n"]}]).tables[0]
    assert read_table(tmp_path, table).to_dict("list") == {"image_id": ["a", "b"], "id": ["a", "b"], "n": ["1", "2"]}
    with pytest.raises(ValueError, match="no field"):
        read_table(tmp_path, rle_contract(tables=[{"file": "train.csv", "id": "{name}"}]).tables[0])
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_table(tmp_path, rle_contract(tables=[{"file": "none.csv"}]).tables[0])
    with pytest.raises(ValueError, match="outside"):
        read_table(tmp_path / "train", rle_contract(tables=[{"file": "../train.csv"}]).tables[0])
    unreadable = rle_contract(tables=[{"file": "none.csv"}])
    assert "none.csv" in str(list_images(unreadable, tmp_path, "train")[1][0])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_images(competition, tmp_path / "nowhere", "train")


def test_two_files_of_one_id_and_no_file_at_all(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    twice = rle_contract(images={"train": "{part}/{id}.png", "id": "{part}"}, tables=[], submission=None)
    _, problems = list_images(twice, tmp_path, "train")
    assert "twice" in str(problems[0])
    none = rle_contract(images={"train": "elsewhere/{id}.png"}, tables=[], submission=None)
    assert "training images" in str(list_images(none, tmp_path, "train")[1][0])
    assert list_images(none, tmp_path, "test")[0].empty


def test_a_place_in_the_stack_has_to_be_a_number(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    cv2.imwrite(str(tmp_path / "train" / "a_x.png"), np.zeros((*SHAPE, 3), np.uint8))
    images = {"train": "train/{case}_{z}.png", "id": "{case}_{z}", "stack": "{case}", "z": "{z}"}
    with pytest.raises(ValueError, match="expected a whole number"):
        list_images(rle_contract(images=images, tables=[], submission=None), tmp_path, "train")


def test_pages_and_layers(tmp_path: Path) -> None:
    mask = draw_mask(0)
    volume = np.stack([draw_image(mask, z)[..., 0] for z in range(4)])
    tifffile.imwrite(tmp_path / "train-volume.tif", volume, photometric="minisblack")
    pages = rle_contract(
        images={
            "kind": "pages", "train": "{name}-volume.tif", "id": "{name}_{page:02d}", "stack": "{name}", "z": "{page}"
        },
        tables=[], submission=None,
    )  # fmt: skip
    listing, problems = list_images(pages, tmp_path, "train")
    assert (listing["image_id"].tolist(), problems) == ([f"train_0{z}" for z in range(4)], [])
    source, slices = ListedImages(pages, tmp_path, listing).open("train_02")
    assert slices == [2]
    np.testing.assert_array_equal(source.read(2)[..., 0], volume[2])
    (tmp_path / "bad-volume.tif").write_bytes(b"II*\x00garbage")
    assert "bad-volume.tif" in str(list_images(pages, tmp_path, "train")[1][0])

    for layer in range(3):
        (tmp_path / "1" / "surface").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / "1" / "surface" / f"{layer:02d}.tif", volume[layer])
    layers = rle_contract(images={"kind": "layers", "train": "{id}/surface/{layer}.tif"}, tables=[], submission=None)
    listing, _ = list_images(layers, tmp_path, "train")
    assert listing["image_id"].tolist() == ["1"]
    opened = ListedImages(layers, tmp_path, listing).open_alone("1")
    np.testing.assert_array_equal(opened.read(0), np.moveaxis(volume[:3], 0, -1))


def test_pages_of_an_unreadable_test_file_are_those_that_the_sample_names(tmp_path: Path) -> None:
    images = {"kind": "pages", "train": "train.tif", "test": "{name}.tif", "id": "{name}_{page:02d}"}
    pages = rle_contract(images={**images, "stack": "{name}", "z": "{page}"}, tables=[])
    tifffile.imwrite(tmp_path / "good.tif", np.zeros((2, *SHAPE), np.uint8), photometric="minisblack")
    (tmp_path / "bad.tif").write_bytes(b"II*\x00garbage")
    listing, problems = list_images(pages, tmp_path, "test")
    assert (listing["image_id"].tolist(), problems) == (["bad_00", "good_00", "good_01"], [])
    names = ["bad_00", "bad_01", "bad_02", "good_00", "good_01"]
    pd.DataFrame({"id": names, "rle": ""}).to_csv(tmp_path / "sample_submission.csv", index=False)
    listing, problems = list_images(pages, tmp_path, "test")
    assert (listing["image_id"].tolist(), problems) == (names, [])
    opened = ListedImages(pages, tmp_path, listing)
    assert opened.open("good_01")[0].shape == (2, *SHAPE, 1)
    with pytest.raises(ValueError, match=r"bad\.tif: damaged, or not what it says it is"):
        opened.open("bad_02")


def test_contract_fields_are_checked_when_the_document_is_read() -> None:
    with pytest.raises(ValueError, match=r"images\.kind"):
        validate(Competition, {**rle_contract().model_dump(), "images": {"train": "a", "kind": "what"}}, "x")


def test_a_mask_beside_its_image_is_no_image(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png", "b_mask.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros(SHAPE, np.uint8))
    masks = {"kind": "images", "path": "{id}_mask.png"}
    beside = rle_contract(
        images={"train": "{id}.png", "test": "{id}.png"}, masks=masks, tables=[], submission=None
    )  # training images that stand in for test images
    for split in SPLITS:
        listing, problems = list_images(beside, tmp_path, split)
        assert (listing["image_id"].tolist(), problems) == (["a", "b"], [])


def test_rows_that_count_and_lists_of_images_in_coco_json(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a", "b", "c"], "part": [1, 2, 3]}).to_csv(tmp_path / "t.csv", index=False)
    table = rle_contract(tables=[{"file": "t.csv", "only": {"part": ["1", "3"]}}]).tables[0]
    assert read_table(tmp_path, table)["image_id"].tolist() == ["a", "c"]
    with pytest.raises(ValueError, match="`only` names the column 'split'"):
        read_table(tmp_path, rle_contract(tables=[{"file": "t.csv", "only": {"split": ["1"]}}]).tables[0])
    (tmp_path / "t.json").write_text('{"images": [{"id": 7, "file_name": "x/y.jpg", "height": 40}]}')
    named = rle_contract(tables=[{"file": "t.json", "id": "{file_name}", "strip": ".jpg"}]).tables[0]
    expected = {"image_id": ["x/y"], "id": ["7"], "file_name": ["x/y.jpg"], "height": ["40"], "coco_id": ["7"]}
    assert read_table(tmp_path, named).to_dict("list") == expected
    (tmp_path / "t.json").write_text((tmp_path / "t.json").read_text(), encoding="utf-8-sig")  # as Windows writes it
    assert read_table(tmp_path, named).to_dict("list") == expected
    for text in ("{}", '{"images": [3]}', "not json"):
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(ValueError, match=r"t\.json.*expected COCO JSON"):
            read_table(tmp_path, named)


def test_formats_are_those_of_sound_files(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/b.png", "test/c.npy", "test/d.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "train/b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "test/c.npy").write_bytes(b"\x93NUMPY")
    contract = rle_contract(images={"train": "train/{id}.png", "test": "test/{id}.{ending}"})
    assert formats_used(contract, tmp_path) == {"raster", "npy"}


def test_a_column_is_taken_apart_by_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,rle\na_1.jpg_Big Fish,1 2\nb.jpg_Sugar,\n")
    table = Table(file="t.csv", parts={"name": "{image}.jpg_{label}"}, id="{image}")
    frame = read_table(tmp_path, table)
    assert frame["image_id"].tolist() == ["a_1", "b"] and frame["label"].tolist() == ["Big Fish", "Sugar"]
    with pytest.raises(ValueError, match=r"t.csv, row 1: name is 'a_1.jpg_Big Fish', expected '{image}-{label}'"):
        read_table(tmp_path, Table(file="t.csv", parts={"name": "{image}-{label}"}, id="{image}"))
    with pytest.raises(ValueError, match="no column 'other', which `parts` names"):
        read_table(tmp_path, Table(file="t.csv", parts={"other": "{image}-{label}"}, id="{image}"))
    with pytest.raises(ValueError, match="can be taken apart in several ways"):
        Table(file="t.csv", parts={"name": "{image}{label}"})


def test_a_table_of_several_files_has_the_fields_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("a\nb\n")
    (tmp_path / "lists/val.txt").write_text("c\n")
    (tmp_path / "lists/trainval.txt").write_text("a\nb\nc\n")
    table = Table(file="lists/{subset:train|val}.txt", columns=["id"])
    found = read_table(tmp_path, table)
    assert found.drop(columns="id").to_dict("list") == {
        "image_id": ["a", "b", "c"],
        "subset": ["train", "train", "val"],
    }
    (tmp_path / "lists/val.txt").write_text("c;7\nd;\n")
    mixed = read_table(tmp_path, Table(file="lists/{part}l.txt", columns=["id", "n"]))
    assert mixed["n"].tolist() == ["", "", "", "7", ""]
    with pytest.raises(FileNotFoundError, match=r"lists/\{part\}\.csv: no such file"):
        read_table(tmp_path, Table(file="lists/{part}.csv"))
    with pytest.raises(ValueError, match="nothing stands between"):
        Table(file="lists/{part}{subset}.txt")


def test_a_tables_rows_about_images_left_out_for_want_of_a_mask_are_no_problems(tmp_path: Path) -> None:
    masks = {"kind": "images", "path": "masks/{id}.png", "missing": "skip"}
    contract = rle_contract(images={"train": "train/{id}.png"}, tables=[{"file": "train.csv"}], masks=masks,
                            group=None, submission=None)  # fmt: skip
    for path in ("train/a.png", "train/b.png", "masks/a.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / path), np.zeros((*SHAPE, 3), np.uint8))
    (tmp_path / "train.csv").write_text("id\na\nb\nc\n")
    listing, problems = list_images(contract, tmp_path, "train")
    assert listing["image_id"].tolist() == ["a"]
    assert [problem.where for problem in problems] == ["train.csv: id 'c'"]
