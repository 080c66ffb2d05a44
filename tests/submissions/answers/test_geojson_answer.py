"""Answers of GeoJSON features: one file for all or one per image, equal to shapely, read back, scored, faults named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_answers import ONE_OBJECT_CLASS, numbered, opened, write_answer
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from inference.bundle.assembly import packages_of_answer
from submissions.answers import answer_of, answer_path, check_answer, lint_answer
from submissions.answers.scoring import score_submission
from submissions.host.competition import Competition
from submissions.table.findings import errors
from submissions.table.scoring import Segmentation

shapely = pytest.importorskip("shapely")


def contract(**form: Any) -> Competition:
    return rle_contract(**ONE_OBJECT_CLASS, submission={"kind": "geojson", "geojson": form})


def label() -> np.ndarray:
    """Three objects, one with a hole, one of parts that touch at a corner."""
    drawn = np.zeros(SHAPE, np.int32)
    drawn[2:9, 3:9], drawn[20:30, 20:40], drawn[31:33, 2:50], drawn[33:36, 50:54] = 1, 2, 3, 3
    drawn[23:26, 24:30] = 0
    return drawn


def said(scores: list[float]) -> Segmentation:
    return numbered(label(), scores)


def area(feature: dict[str, Any]) -> float:
    return float(shapely.from_geojson(json.dumps(feature["geometry"])).area)


@pytest.mark.parametrize("path", [None, "answers/{id}.geojson"])
def test_objects_are_features_in_one_file_or_in_one_an_image(tmp_path: Path, path: str | None) -> None:
    write_rle_host(tmp_path / "data")
    competition = contract(path=path)
    assert check_answer(competition, tmp_path / "data") == []
    out = answer_path(competition, tmp_path)
    assert out.name == ("submission.geojson" if path is None else "submission.zip")
    write_answer(competition, tmp_path / "data", out, {"test01": said([0.9, 0.5, 0.123456789])})
    if path is None:
        document = json.loads(out.read_text())
        assert [one["properties"]["image_id"] for one in document["features"]] == ["test01"] * 3
    else:
        with zipfile.ZipFile(out) as packed:
            assert packed.namelist() == [f"answers/test0{k}.geojson" for k in (1, 0, 2)]
            document = json.loads(packed.read("answers/test01.geojson"))
            assert json.loads(packed.read("answers/test00.geojson"))["features"] == []
    assert document["type"] == "FeatureCollection"
    assert [one["properties"]["score"] for one in document["features"]] == [0.9, 0.5, 0.123457]
    assert [one["properties"]["class"] for one in document["features"]] == ["thing"] * 3
    assert [area(one) for one in document["features"]] == [(label() == value).sum() for value in (1, 2, 3)]
    assert lint_answer(out, competition, tmp_path / "data") == []
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    through = answer_of(competition).through({"image_id": "test01"}, said([0.9, 0.5, 0.2]))
    np.testing.assert_array_equal(through.instances, label()[None])
    assert through.scores == [0.9, 0.5, 0.2]
    assert packages_of_answer(competition) == {"shapely": ">=2.0"}
    assert {*packages_of_answer(rle_contract(submission={"sample": "s.parquet"}))} == {"cramjam", "fastparquet"}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", out.name]


def test_classes_names_of_properties_and_simpler_outlines(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    names = {"image_id": "{id}.png", "image_property": "ImageId", "class_property": "type", "score_property": None}
    competition = rle_contract(
        classes=["background", "a", "b"], submission={"kind": "geojson", "geojson": {**names, "loss": 0.1}}
    )
    planes = np.stack([np.zeros(SHAPE, bool), draw_mask(2), draw_mask(3)])[:, None]
    out = write_answer(competition, tmp_path / "data", tmp_path / "s.geojson", {"test00": Segmentation(planes)}).path
    features = json.loads(out.read_text())["features"]
    assert {tuple(one["properties"].values()) for one in features} == {("test00.png", "a"), ("test00.png", "b")}
    assert set(features[0]["properties"]) == {"ImageId", "type"}
    exact = rle_contract(classes=["background", "a", "b"], submission={"kind": "geojson", "geojson": names})
    whole = write_answer(exact, tmp_path / "data", tmp_path / "exact.geojson", {"test00": Segmentation(planes)}).path
    assert out.stat().st_size < 0.7 * whole.stat().st_size
    through = answer_of(competition).through({"image_id": "test00"}, Segmentation(planes))
    for k in (1, 2):
        assert 0.9 <= (through.planes[k] & planes[k]).sum() / (through.planes[k] | planes[k]).sum() < 1
    np.testing.assert_array_equal(answer_of(exact).through({"image_id": "test00"}, Segmentation(planes)).planes, planes)
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"properties": {"image_id": "other", "class": "thing", "score": 1}}, "image_id 'other' is of no test image"),
        ({"properties": {"image_id": "test01", "class": "cat", "score": 1}}, "category_id 'cat', expected one of"),
        ({"properties": {"image_id": "test01", "class": "thing"}}, "score None, expected a number"),
        ({"geometry": {"type": "Point", "coordinates": [3, 4]}}, "is a Point, expected POLYGON"),
        ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [99, 0], [9, 9], [0, 0]]]}}, "an image of (40, 56)"),
        ({"geometry": {"coordinates": []}}, "feature 2: expected properties and a geometry with its type"),
        ({"geometry": {"type": "Polygon", "coordinates": "x"}}, "is no geojson"),
    ],
)  # fmt: skip
def test_faults_of_features_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_rle_host(tmp_path / "data")
    out = write_answer(contract(), tmp_path / "data", tmp_path / "s.geojson", {"test01": said([1, 1, 1])}).path
    document = json.loads(out.read_text())
    document["features"][1] |= change
    out.write_text(json.dumps(document))
    (found,) = errors(lint_answer(out, contract(), tmp_path / "data"))
    assert words in str(found)


def test_files_that_are_none_and_names_that_are_wrong(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    out, data = tmp_path / "s.geojson", tmp_path / "data"
    with pytest.raises(FileNotFoundError, match="expected GeoJSON"):
        lint_answer(out, contract(), data)
    for text, words in (
        ("{", "not readable as JSON"),
        ("[1]", "expected a FeatureCollection"),
        ('{"features": [1]}', "a list"),
    ):
        out.write_text(text)
        assert words in str(lint_answer(out, contract(), data)[0])
    apart = contract(path="{id}.json", pack="folder")
    folder = write_answer(apart, data, tmp_path / "given", {"test01": said([1, 1, 1])}).path
    (folder / "test00.json").rename(folder / "other.json")
    causes = [one.cause for one in errors(lint_answer(folder, apart, data))]
    assert causes == ["1 of 3 files are missing: test00.json", "'other.json' is the file of no test image"]
    with pytest.raises(ValueError, match=r"'other\.json' is the file of no test image"):
        score_submission(apart, folder, folder, data)
    assert "stands for test00 and for test01" in str(check_answer(contract(path="x.json"), data)[0])
    with pytest.raises(ValueError, match=r"end it in \.geojson or \.json"):
        contract(path="{id}.png")
    with pytest.raises(ValueError, match=r"submission\.geojson says nothing where submission\.kind is 'coco'"):
        rle_contract(**ONE_OBJECT_CLASS, submission={"kind": "coco", "geojson": {"loss": 0.1}})
    with pytest.raises(ValueError, match="'geojson' holds objects of images"):
        rle_contract(
            images={"kind": "volumes", "train": "a/{id}.nii", "test": "b/{id}.nii"}, submission={"kind": "geojson"}
        )


def test_an_answer_that_is_left_by_an_error_leaves_nothing(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    for competition in (contract(), contract(path="{id}.geojson")):
        images = opened(competition, tmp_path / "data")
        with (
            pytest.raises(RuntimeError),
            answer_of(competition).begin(answer_path(competition, tmp_path), images) as writer,
        ):
            writer.add(images.row("test00"), said([1, 1, 1]))
            raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == ["data"]
    assert pd.read_csv(tmp_path / "data/sample_submission.csv").shape[0] == 3


def test_without_the_library_it_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rle_host(tmp_path / "data")
    monkeypatch.setitem(__import__("sys").modules, "shapely", None)
    assert "need shapely, which is not installed" in str(check_answer(contract(), tmp_path / "data")[0])
