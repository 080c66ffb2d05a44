"""Test sets made larger by copies: files, tables and sample of every contract that comes with the package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_hosts import rle_contract, write_rle_host
from drawn_layouts import LAYOUTS
from drawn_series import volume_masks

from inference.bundle.hidden_size_data import duplicate_images
from inference.submission import open_test_images
from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import load_competition
from submissions.host.sample import read_sample, row_keys, submission_format
from submissions.table.rows import answer_shape, row_places


def test_copies_are_the_originals_under_other_names(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path / "data", test=3)
    origins = duplicate_images(competition, tmp_path / "data", tmp_path / "more", number=7, sources=2)
    assert origins == {
        "test00": "test00", "test00x1": "test00", "test00x2": "test00", "test00x3": "test00",
        "test01": "test01", "test01x1": "test01", "test01x2": "test01",
    }  # fmt: skip
    for copy, original in origins.items():
        pictures = [
            path / f"test/{name}.png" for path, name in ((tmp_path / "more", copy), (tmp_path / "data", original))
        ]
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
    sample = pd.read_csv(tmp_path / "more/sample_submission.csv", dtype=str)
    assert sorted(sample["id"]) == sorted(origins) and set(sample["rle"]) == {"1 1"}


def test_few_and_many_are_copies_of_the_same_stacks(tmp_path: Path) -> None:
    competition = rle_contract(images={
        "train": "train/{case}_{slice}.png", "test": "test/{case}_{slice}.png", "id": "{case}_{slice}",
        "stack": "{case}", "z": "{slice}",
    })  # fmt: skip
    write_rle_host(tmp_path / "host", test=1)
    (tmp_path / "data/test").mkdir(parents=True)
    for case, slices in {"a": 1, "b": 4, "c": 1, "d": 1}.items():
        for z in range(slices):
            shutil.copyfile(tmp_path / "host/test/test00.png", tmp_path / f"data/test/{case}_{z}.png")
    few, many = (
        duplicate_images(competition, tmp_path / "data", tmp_path / str(number), number=number, sources=3)
        for number in (3, 20)
    )
    assert set(few.values()) == set(many.values()) == {"a_0", "b_0", "b_1", "b_2", "b_3"}


@pytest.mark.parametrize(("columns", "strip"), [(["case", "slice"], ""), (["name"], ""), (["name"], ".png")])
def test_rows_follow_their_copies_where_case_and_slice_have_one_number(
    columns: list[str], strip: str, tmp_path: Path
) -> None:
    names = "{case}_{slice}"
    images = {
        "train": f"train/{names}.png",
        "test": f"test/{names}.png",
        "id": names,
        "stack": "{case}",
        "z": "{slice}",
    }
    table = {"file": "test.csv", "id": "_".join(f"{{{name}}}" for name in columns), "strip": strip}
    competition = rle_contract(images=images, test_tables=[table])
    write_rle_host(tmp_path / "host", test=1)
    (tmp_path / "data/test").mkdir(parents=True)
    rows = []
    for case, z in ((1, 1), (1, 2), (1, 11), (2, 1)):
        shutil.copyfile(tmp_path / "host/test/test00.png", tmp_path / f"data/test/{case}_{z}.png")
        rows.append({"case": case, "slice": z, "name": f"{case}_{z}{strip}", "said": f"{case} and {z}"})
    pd.DataFrame(rows)[[*columns, "said"]].to_csv(tmp_path / "data/test.csv", index=False)
    origins = duplicate_images(competition, tmp_path / "data", tmp_path / "more", number=8, sources=4)
    copies = open_test_images(competition, tmp_path / "more")
    assert set(copies.ids) == {
        f"{case}{end}_{z}" for case, z in ((1, 1), (1, 2), (1, 11), (2, 1)) for end in ("", "x1")
    }
    assert all(copies.row(one)["said"] == origins[one].replace("_", " and ") for one in copies.ids)


def test_no_image_and_no_sample_stay_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert duplicate_images(rle_contract(), tmp_path / "data", tmp_path / "more", number=5, sources=2) == {}
    competition = write_rle_host(tmp_path / "host", test=1)
    (tmp_path / "host/sample_submission.csv").unlink()
    assert len(duplicate_images(competition, tmp_path / "host", tmp_path / "many", number=2, sources=1)) == 2
    assert not (tmp_path / "many/sample_submission.csv").exists()


@pytest.mark.parametrize("name", [name for name in LAYOUTS if load_competition(name).submission])
def test_every_contract_with_test_images_is_multiplied(name: str, tmp_path: Path) -> None:
    competition, data = load_competition(name), tmp_path / "data"
    data.mkdir()
    LAYOUTS[name](data)
    original = open_test_images(competition, data)
    number = 3 * len(original.ids)
    origins = duplicate_images(competition, data, tmp_path / "more", number=number, sources=len(original.ids))
    copies = open_test_images(competition, tmp_path / "more")
    assert len(copies.ids) == number and set(original.ids) <= set(copies.ids)
    assert sorted(origins.values()) == sorted(original.ids * 3)
    for copy in copies.ids:
        sources = (copies.open_alone(copy), original.open_alone(origins[copy]))
        np.testing.assert_array_equal(*(source.read(0) for source in sources))
        before, after = original.row(origins[copy]), copies.row(copy)
        kept = [column for column in before if column in competition.strata or column == "pixel_size"]
        assert [after[column] for column in kept] == [before[column] for column in kept]
    sample = read_sample(competition, tmp_path / "more")
    if sample is not None and len(read_sample(competition, data)) > 0:  # type: ignore[arg-type]
        shapes = {image_id: answer_shape(copies, image_id) for image_id in copies.ids}
        places = row_places(competition, copies, shapes)
        assert set(row_keys(sample, submission_format(competition))) <= set(places)
        assert {places[key].image_id for key in row_keys(sample, submission_format(competition))} == set(copies.ids)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"images": {"train": "train/{id}.png", "test": "test/test00.png", "id": "only"}},
            "has no field that differs from image to image",
        ),
        ({"test_tables": [{"file": "test.json"}]}, "COCO documents, gzip and Parquet files, of several"),
        ({"test_tables": [{"file": "a{part}.csv"}]}, "of several files, and ids that are taken out of a cell cannot"),
        ({"test_tables": [{"file": "a1.csv", "id": "test{n}", "parts": {"id": "test{n}"}}]}, "use --copies 0"),
    ],
)
def test_what_cannot_be_copied_is_said(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data", test=1)
    (tmp_path / "data/test.json").write_text('{"images": [{"id": "test00"}]}')
    (tmp_path / "data/a1.csv").write_text("id\ntest00\n")
    with pytest.raises(ValueError, match=words):
        duplicate_images(rle_contract(**change), tmp_path / "data", tmp_path / "more", number=2, sources=1)


def test_images_that_are_folders_are_copied_whole(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    volume_masks(tmp_path / "data")
    competition = load_competition(write_first_contract(tmp_path / "data", out=tmp_path / "host.yaml"))
    origins = duplicate_images(competition, tmp_path / "data", tmp_path / "more", number=5, sources=2)
    assert len(origins) == 5 and len(set(origins.values())) == 2
    for copy, original in origins.items():
        copied, first = (sorted((tmp_path / place).iterdir())
                         for place in (f"more/test_images/{copy}", f"data/test_images/{original}"))  # fmt: skip
        assert [one.read_bytes() for one in copied] == [one.read_bytes() for one in first] and len(first) == 9
