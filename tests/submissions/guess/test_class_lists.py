"""Names of values and colours: from lists beside the data as tools write them, and from two that all know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submissions.guess.class_lists import class_lists, name_of_one, names_of

NAMED = {0: "background", 1: "crack", 2: "hole"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("train/_classes.csv", "Pixel Value, Class\n0, background\n1, crack\n2, hole\n"),
        ("classes.txt", "_background_\ncrack\nhole\n"),
        ("class_names.txt", "__ignore__\n_background_\ncrack\nhole\n"),
        ("codes.txt", "0 background\n1: crack\n2, hole\n"),
        ("id2label.json", json.dumps({"0": "BG", "1": "crack", "2": "hole"})),
        (
            "config_v2.0.json",
            json.dumps(
                {
                    "labels": [
                        {"name": f"a--{name}", "readable": name, "color": [k, 0, 9]}
                        for k, name in enumerate(["Background", "crack", "hole"])
                    ]
                }
            ),
        ),
        ("data.yaml", "nc: 3\nnames: [background, crack, hole]\n"),
    ],
)
def test_values_are_named_by_a_list_beside_the_masks(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert names_of(tmp_path, "masks/{id}.png", [0, 1, 2, 255], colours=False)[0] == NAMED
    names, (note,) = names_of(tmp_path, "masks/{id}.png", [0, 1, 3], colours=False)
    assert not names and note == f"{file} names 3 classes, and the masks show other values: not used"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nVoid,0,0,0\nSky,128,128,128\nRoad,128,64,128\n"),
        ("label_colors.txt", "0 0 0\tVoid\n128 128 128\tSky\n128 64 128\tRoad\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nVoid:0,0,0::\nSky:128,128,128::\nRoad:128,64,128::\n"),
    ],
)
def test_colours_are_named_and_what_is_not_labelled_is_void(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    names, _ = names_of(tmp_path, "masks/{id}.png", [0, 0x808080, 0x804080], colours=True)
    assert names == {0: "void", 0x808080: "Sky", 0x804080: "Road"}


def test_eleven_names_do_not_say_whether_a_twelfth_value_comes_before_or_after_them(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(f"kind_{chr(97 + k)}" for k in range(11)))
    assert names_of(tmp_path, "", range(12), colours=False)[0] == {}
    assert names_of(tmp_path, "", range(10), colours=False)[0] == {}  # nor does it where the last is not seen
    assert names_of(tmp_path, "", range(11), colours=False)[0][10] == "kind_k"
    (tmp_path / "classes.txt").write_text("\n".join([*(f"kind_{chr(97 + k)}" for k in range(11)), "Unlabelled"]))
    assert names_of(tmp_path, "", range(12), colours=False)[0][11] == "void"


def test_known_sets_are_named_where_all_values_are_theirs(tmp_path: Path) -> None:
    colours = [0, 0x400080, 0xC08080, 0xE0E0C0]
    names, notes = names_of(tmp_path, "SegmentationClass/{id}.png", colours, colours=True)
    assert names[0x400080] == "dog" and names[0xC08080] == "person" and names[0xE0E0C0] == "void"
    assert notes == ["classes as PASCAL VOC names them"]
    assert names_of(tmp_path, "SegmentationClass/{id}.png", [*colours, 0x010203], colours=True) == ({}, [])
    assert names_of(tmp_path, "masks/{id}.png", [0, 12, 255], colours=False) == ({}, [])
    assert names_of(tmp_path, "SegmentationClass/{id}.png", [0, 12, 255], colours=False)[0][12] == "dog"
    streets, _ = names_of(tmp_path, "gtFine/{id}_gtFine_labelIds.png", [0, 1, 7, 26], colours=False)
    assert [streets[value] for value in (0, 1, 7, 26)] == ["void", "void", "road", "car"]
    streets, _ = names_of(tmp_path, "", [0, 0x804080, 0x00008E, 0x464646], colours=True)
    assert [streets[code] for code in (0, 0x804080, 0x00008E)] == ["void", "road", "car"]


def test_one_class_is_named_and_tables_of_images_name_none(tmp_path: Path) -> None:
    assert name_of_one(tmp_path) == ("thing", [])
    (tmp_path / "train_labels.csv").write_text("id,label\n0,cat\n1,dog\n2,cat\n")
    (tmp_path / "labels.csv").write_text("id,label\n0,3\n1,7\n")
    (tmp_path / "colours.txt").write_text("no list\n1 2\n")
    (tmp_path / "names.json").write_text("[1]")
    assert class_lists(tmp_path) == []
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nroad,255,255,255\nbackground,0,0,0\n")
    assert name_of_one(tmp_path) == ("road", ["the class as class_dict.csv names it"])
