"""COCO's answer is proposed where the host shows it: a sample of results, or test images in a COCO document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from drawn_hosts import SHAPE, draw_image, draw_mask
from drawn_layouts import slow_runs

from submissions.answers import answer_of, check_answer
from submissions.answers.coco_answer import CocoAnswer
from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images


def write_host(folder: Path, sample: list[dict[str, Any]] | None, place: str | None) -> Competition:
    """Five training images with one object each and two test images; test.json names these, in the folder `place`."""
    images: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for number in range(7):
        split = "train" if number < 5 else "test"
        path = folder / split / f"x_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), draw_image(draw_mask(number), number))
        name = f"{place or ''}{path.name}" if split == "test" else path.name
        images[split].append({"id": 70 + number, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]})
    ring = [2, 3, 12, 3, 12, 9, 2, 9]
    objects = [{"id": k, "image_id": 70 + k, "category_id": 4, "segmentation": [ring], "iscrowd": 0} for k in range(5)]
    known = {"categories": [{"id": 4, "name": "cell"}]}
    (folder / "train.json").write_text(json.dumps({"images": images["train"], "annotations": objects, **known}))
    if place is not None:
        (folder / "test.json").write_text(json.dumps({"images": images["test"], **known}))
    if sample is not None:
        (folder / "sample_submission.json").write_text(json.dumps(sample))
    return load_competition(write_first_contract(folder, out=folder.with_suffix(".yaml")))


def result(image_id: int | str) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 4, "segmentation": {"size": [*SHAPE], "counts": ""}, "score": 1.0}


@pytest.mark.parametrize(
    ("sample", "place", "key"),
    [
        ([result(75)], "", 75), (None, "", 75), (None, "test/", 75), ([result("x_5")], None, "x_5"),
        ([{**result("x_5.png"), "bbox": [0, 0, 1, 1]}], None, "x_5.png"),
    ],
)  # fmt: skip
def test_coco_results_are_proposed(
    sample: list[dict[str, Any]] | None, place: str | None, key: int | str, tmp_path: Path
) -> None:
    contract = write_host(tmp_path / "host", sample, place)
    listing, problems = list_images(contract, tmp_path / "host", "test")
    assert problems == [] == check_answer(contract, tmp_path / "host")
    answer = answer_of(contract)
    assert isinstance(answer, CocoAnswer) and contract.masks.instances
    fields = {str(name): value for name, value in listing.iloc[0].items()}
    assert (answer.image_key(fields), answer.categories) == (key, {"cell": 4})
    assert answer.form.coco.box == (sample is not None and "bbox" in sample[0])


def test_a_table_stays_where_nothing_speaks_for_coco_results(tmp_path: Path) -> None:
    contract = write_host(tmp_path / "host", None, None)
    assert contract.submission is not None and contract.submission.kind == "table"
    assert not contract.masks.instances


@pytest.mark.parametrize(("cells", "empty"), [(("none", "none"), "none"), (("-1", "-1"), "-1"), (("1 2", "1 2"), None)])
def test_the_sample_spells_an_empty_mask(cells: tuple[str, str], empty: str | None, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    text = f"id,mask\nx_5,{cells[0]}\nx_6,{cells[1]}\n"
    (tmp_path / "host/sample_submission.csv").write_text(text)
    contract = write_host(tmp_path / "host", None, None)
    assert contract.submission is not None
    assert (contract.submission.dialect and contract.submission.dialect.empty) == empty


def test_ids_of_a_sample_may_be_paths(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/sample_submission.csv").write_text("file,mask\ntest/x_5.png,\ntest/x_6.png,\n")
    contract = write_host(tmp_path / "host", None, None)
    assert contract.submission is not None and contract.submission.id_template == "test/{id}.png"
    assert check_answer(contract, tmp_path / "host") == []


def test_a_column_a_class_is_no_answer_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/sample_submission.csv").write_text("id,a,b\nx_5,1 1,1 2\nx_6,1 1,1 1\n")
    contract = write_host(tmp_path / "host", None, None)
    (problem,) = check_answer(contract, tmp_path / "host")
    assert problem.found == "columns ['a'], which the contract does not fill"
    assert "columns ['a'] hold masks too" in (tmp_path / "host.yaml").read_text()


def write_classes(folder: Path, sample: pd.DataFrame) -> Competition:
    """Six training images of two classes, one of them twice, with words for attributes; two test images."""
    rows = []
    for number in range(8):
        path = folder / ("train" if number < 6 else "test") / f"x_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), draw_image(draw_mask(number), number))
        texts = [slow_runs(draw_mask(number + 10 * k), "column") for k in range(3)] if number < 6 else []
        rows += [
            {"ImageId": f"x_{number}", "EncodedPixels": text, "ClassId": kind, "AttributesIds": words}
            for text, kind, words in zip(texts, (6, 33, 33), ("115,136", "", "190"), strict=False)
        ]
    pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return load_competition(write_first_contract(folder, out=folder.with_suffix(".yaml")))


def test_a_column_of_classes_that_repeat_is_known_by_its_name_and_answered_by_class(tmp_path: Path) -> None:
    """As iMaterialist's: attributes are said of some masks alone, and the sample has an example of a row an image."""
    sample = pd.DataFrame({"ImageId": ["x_6", "x_7"], "EncodedPixels": "1 1", "ClassId": 0, "AttributesIds": "1,2"})
    contract = write_classes(tmp_path / "host", sample)
    assert contract.masks.class_column == "ClassId" and contract.classes == ["33", "6"]
    form = contract.submission
    assert form is not None and (form.rows, form.class_column, form.sample) == ("image_class", "ClassId", "")
    assert form.extra == {"AttributesIds": "1,2"}
    assert check_answer(contract, tmp_path / "host") == []


def test_a_sample_without_classes_leaves_one_of_several_to_answer(tmp_path: Path) -> None:
    sample = pd.DataFrame({"ImageId": ["x_6", "x_7"], "EncodedPixels": ""})
    contract = write_classes(tmp_path / "host", sample)
    assert contract.scored_classes == [0] and contract.submission is not None and contract.submission.rows == "image"
    assert "so 33 alone is answered" in (tmp_path / "host.yaml").read_text(encoding="utf-8")


def volumes_host(folder: Path, ending: str, classes: tuple[str, ...] = ()) -> Competition:
    """Four volumes with a mask each, or one of each class."""
    for k in range(4):
        label = np.stack([draw_mask(4 * k + z) for z in range(3)]).astype(np.uint8)
        image = label * 90 + np.random.default_rng(k).integers(0, 40, label.shape).astype(np.uint8)
        masks = {f"masks/{name}": label & (np.arange(3)[:, None, None] == n) for n, name in enumerate(classes)}
        for name, array in ({"image": image} | (masks or {"mask": label})).items():
            path = folder / f"case{k}/{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return load_competition(write_first_contract(folder, out=folder.with_suffix(".yaml")))


@pytest.mark.parametrize("ending", [".mhd", ".nrrd", ".nii.gz"])
def test_volumes_of_itk_are_answered_as_nifti(tmp_path: Path, ending: str) -> None:
    form = volumes_host(tmp_path / "host", ending).submission
    assert form is not None and (form.kind, form.files.path, form.files.values) == (
        "volumes", "{id}.nii.gz", {"thing": 1},
    )  # fmt: skip
    said = "NIfTI is written" in (tmp_path / "host.yaml").read_text()
    assert said == (ending != ".nii.gz")


def test_a_volume_a_class_is_answered_by_one(tmp_path: Path) -> None:
    competition = volumes_host(tmp_path / "host", ".nii.gz", ("liver", "lung_left", "rib_1"))
    form = competition.submission
    assert form is not None and form.files.path == "{id}/{class}.nii.gz"
    assert form.files.values == dict.fromkeys(competition.classes, 1) and len(competition.classes) == 3
