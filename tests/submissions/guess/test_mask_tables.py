from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_listed_objects import LABELS, open_images, panoptic

from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader


def guess(folder: Path) -> tuple[Competition, str]:
    path = write_first_contract(folder, out=folder.with_suffix(".yaml"))
    return load_competition(path), path.read_text()


def test_segments_of_coco_have_classes(tmp_path: Path) -> None:
    drawn = panoptic(tmp_path / "coco")
    (tmp_path / "coco/annotations/captions_train2017.json").write_text('{"note": "segments_info", "annotations": []}')
    (tmp_path / "coco/annotations/empty.json").touch()
    contract, text = guess(tmp_path / "coco")
    assert contract.classes == ["cat", "grass", "sky-other-merged"] and contract.exclusive
    assert contract.masks.values == {0: "void"} and not contract.masks.instances
    assert "# guess: 1 classes of things: cat" in text and "2 classes of stuff: grass, sky-other-merged" in text
    listing, problems = list_images(contract, tmp_path / "coco", "train")
    assert len(listing) == len(drawn) == 12 and problems == []
    row = listing.iloc[-1].to_dict()
    ids, kinds = drawn[row["image_id"]]
    truth = MaskReader(contract, tmp_path / "coco").read(row, (1, *ids.shape))
    assert int(truth.planes.sum()) == int((ids != 0).sum()) and len(kinds) > 2


@pytest.mark.parametrize("damage", ["{", '"segments_info"', "[]"])
def test_documents_of_other_kinds_leave_ids_as_objects(damage: str, tmp_path: Path) -> None:
    panoptic(tmp_path / "coco")
    for path in (tmp_path / "coco/annotations").glob("*.json"):
        path.write_text(damage)
    contract, _ = guess(tmp_path / "coco")
    assert contract.masks.instances and contract.masks.table is None


def test_images_may_be_named_by_their_id(tmp_path: Path) -> None:
    """Cityscapes' panoptic documents: the image's file is another one than that which is handed out."""
    panoptic(tmp_path / "coco")
    for path in (tmp_path / "coco/annotations").glob("*.json"):
        document = json.loads(path.read_text())
        for image in document["images"]:
            image["id"], image["file_name"] = image["file_name"][:-4], image["file_name"][:-4] + "_gtFine.png"
        for one in document["annotations"]:
            one["image_id"] = one["file_name"][:-4]
        path.write_text(json.dumps(document))
    contract, _ = guess(tmp_path / "coco")
    assert contract.masks.table is not None and contract.masks.table.id == "{id}"
    assert contract.classes == ["cat", "grass", "sky-other-merged"]


@pytest.mark.parametrize("header", [False, True])
def test_masks_of_open_images_have_classes(header: bool, tmp_path: Path) -> None:
    drawn = open_images(tmp_path / "oi", header=header)
    contract, text = guess(tmp_path / "oi")
    assert contract.classes == [*LABELS.values()] and not contract.masks.instances and contract.tables == []
    assert contract.masks.column_classes == {"LabelName": {"/m/01yrx": "Cat", "/m/0bt9lr": "Dog"}}
    assert "where the host scores objects, add `instances: true`" in text
    listing, problems = list_images(contract, tmp_path / "oi", "train")
    assert listing["image_id"].tolist() == sorted(drawn) and problems == []


def test_without_their_descriptions_classes_are_codes(tmp_path: Path) -> None:
    open_images(tmp_path / "oi")
    (tmp_path / "oi/class-descriptions-boxable.csv").write_bytes(b"\xff\xfe/m/01yrx,\xd8\n")
    assert guess(tmp_path / "oi")[0].classes == ["/m/01yrx", "/m/0bt9lr"]


def test_of_one_class_objects_stay_apart(tmp_path: Path) -> None:
    open_images(tmp_path / "oi")
    table = tmp_path / "oi/train-annotations-object-segmentation.csv"
    table.write_text(table.read_text().replace("/m/0bt9lr", "/m/01yrx"))
    contract, _ = guess(tmp_path / "oi")
    assert contract.classes == ["Cat"] and contract.masks.instances


def test_a_table_of_other_files_is_none_of_objects(tmp_path: Path) -> None:
    open_images(tmp_path / "oi")
    table = tmp_path / "oi/train-annotations-object-segmentation.csv"
    table.write_text(table.read_text().replace(".png,", "_other.png,"))
    contract, _ = guess(tmp_path / "oi")
    assert contract.classes == ["thing"] and contract.masks.instances and contract.masks.table is None
