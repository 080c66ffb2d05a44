from __future__ import annotations

import os
from pathlib import Path

import pytest

from submissions.host.patterns import (
    alternatives,
    check_apart,
    check_inside,
    fields_of,
    fill,
    find_files,
    pattern_regex,
    scan,
)


def test_pattern_fields_repeat_as_the_same_text() -> None:
    regex = pattern_regex("train/{case}/{case}_{day}/slice_{z}.png")
    match = regex.match("train/case1/case1_day20/slice_0007.png")
    assert match is not None
    assert match.groupdict() == {"case": "case1", "day": "day20", "z": "0007"}
    assert regex.match("train/case1/case2_day20/slice_0007.png") is None


def test_files_are_found_in_sorted_order_whatever_the_disk_says(tmp_path: Path) -> None:
    for name in ("b_z2", "a_z1", "a_z0"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    (tmp_path / "a_z9.png").mkdir()
    assert find_files(tmp_path, "{stack}_z{z}.png") == [
        ("a_z0.png", {"stack": "a", "z": "0"}),
        ("a_z1.png", {"stack": "a", "z": "1"}),
        ("b_z2.png", {"stack": "b", "z": "2"}),
    ]


def test_a_template_that_cannot_be_filled_names_the_fields_at_hand() -> None:
    assert fill("{a}_{b:02d}", {"a": "x", "b": 3}, "images.id") == "x_03"
    with pytest.raises(ValueError, match=r"images.id.*no field \['c'\].*known fields: a"):
        fill("{a}{c}", {"a": 1}, "images.id")
    with pytest.raises(ValueError, match="cannot be filled"):
        fill("{a:02d}", {"a": "x"}, "images.id")


def test_fields_of_digits_and_fields_that_may_be_empty(tmp_path: Path) -> None:
    for name in ("1_10.tif", "1_10_mask.tif", "2_3.tif"):
        (tmp_path / name).touch()
    found = find_files(tmp_path, "{subject:d}_{img:d}.tif")
    assert found == [("1_10.tif", {"subject": "1", "img": "10"}), ("2_3.tif", {"subject": "2", "img": "3"})]
    whole = pattern_regex("kidney_{n:d}{part:*}/{z}.tif")
    assert [match.groupdict() for match in map(whole.match, ("kidney_2/7.tif", "kidney_1_voi/7.tif")) if match] == [
        {"n": "2", "part": "", "z": "7"},
        {"n": "1", "part": "_voi", "z": "7"},
    ]
    with pytest.raises(ValueError, match=r"field '{z:x}', expected {z}, :d, :\*, a width"):
        pattern_regex("slice_{z:x}.png")


def test_fields_of_a_width_and_digits_that_take_a_number_s_format(tmp_path: Path) -> None:
    for name in ("Image_01L.jpg", "Image_02R.jpg", "Image_7L.jpg"):
        (tmp_path / name).touch()
    assert find_files(tmp_path, "Image_{child:2}{eye}.jpg") == [
        ("Image_01L.jpg", {"child": "01", "eye": "L"}),
        ("Image_02R.jpg", {"child": "02", "eye": "R"}),
    ]
    assert [fields["child"] for _, fields in find_files(tmp_path, "Image_{child:d}{eye}.jpg")] == ["01", "02", "7"]
    assert [fields["child"] for _, fields in find_files(tmp_path, "Image_{child:2d}{eye:1}.jpg")] == ["01", "02"]
    assert fill("{child:02d}_{eye}", {"child": "7", "eye": "L"}, "images.id") == "07_L"


@pytest.mark.parametrize("pattern", ["{child}{eye}.jpg", "a/{child}{eye:*}.png", "{a:d}{b:d}.png", "{a:*}{b}.png"])
def test_two_fields_with_nothing_between_them_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"nothing stands between .* give one a width"):
        check_apart(pattern)


@pytest.mark.parametrize("pattern", ["{child:2}{eye}.jpg", "{a}{b:1}.png", "{a:d}{b:*}.png", "{a}_{b}.png"])
def test_patterns_that_are_taken_apart_in_one_way_are_kept(pattern: str) -> None:
    assert check_apart(pattern) == pattern


def test_a_field_s_name_is_no_number() -> None:
    with pytest.raises(
        ValueError, match=r"'train/\{0\}\.png': field '\{0\}', expected a name that begins with a letter"
    ):
        check_inside("train/{0}.png")


@pytest.mark.parametrize("pattern", ["/etc/{id}", "../x/{id}.png", "a/../../{id}", ""])
def test_a_pattern_stays_below_the_data_folder(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a path inside the data folder"):
        check_inside(pattern)


def test_what_is_no_file_or_of_another_case_is_named_and_system_files_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "B.PNG", "._a.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).touch()
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "dir.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (tmp_path / "__MACOSX" / "images").mkdir(parents=True)
    found = scan(tmp_path, "{part}/{id}.png")
    assert found.files == [("images/a.png", {"part": "images", "id": "a"})]
    assert found.system == ["__MACOSX", "images/.DS_Store", "images/._a.png", "images/Thumbs.db"]
    said = {problem.where: problem.found for problem in found.almost}
    assert said == {
        "images/B.PNG": "a name that fits {part}/{id}.png but for upper and lower case",
        "images/dir.png": "a folder with that name",
        "images/gone.png": "a link to nowhere.png, which does not exist",
        "images/pipe.png": "a pipe, socket or device with that name",
    }
    assert found.almost[0].action == "rename it, or write the ending as a field: {part}/{id}.{ending}"


def test_links_to_folders_and_files_elsewhere_are_followed_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.png").touch()
    data = tmp_path / "data"
    data.mkdir()
    (data / "train").symlink_to(tmp_path / "disk", target_is_directory=True)
    (data / "b.png").symlink_to(tmp_path / "disk/a.png")
    (tmp_path / "disk/loop").symlink_to(data, target_is_directory=True)
    assert [path for path, _ in find_files(data, "train/{id}.png")] == ["train/a.png"]
    assert [path for path, _ in find_files(data, "{id}.png")] == ["b.png"]
    assert [path for path, _ in find_files(data, "train/loop/train/{id}.png")] == ["train/loop/train/a.png"]


def test_a_link_that_leads_in_circles_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.png").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "train/loop.png").symlink_to("loop.png")
    found = scan(tmp_path, "{part}/{id}.png")
    assert [path for path, _ in found.files] == ["train/a.png"]
    assert [one.where for one in found.almost] == ["train/loop.png"]


def test_a_word_of_several_is_the_same_wherever_its_field_stands() -> None:
    assert alternatives("{part:a|b}/{id}_{part}_{part:a|b}.json") == ["a/{id}_a_a.json", "b/{id}_b_b.json"]


def test_of_a_field_that_comes_again_the_first_place_says_the_kind() -> None:
    pattern = "{subset:train|val}/{subset}-img/{name:d}.png"
    assert fields_of(pattern) == {"subset": "{subset:train|val}", "name": "{name:d}"}
