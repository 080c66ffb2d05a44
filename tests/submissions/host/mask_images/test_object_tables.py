from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_hosts import SHAPE, rle_contract
from drawn_listed_objects import LABELS, draw_segments, open_images, panoptic, write

from submissions.host.competition import Competition
from submissions.host.contract.masks import Masks
from submissions.host.mask_images.object_tables import is_panoptic
from submissions.host.masks import MaskReader, Truth, shared_reader

SEGMENTS = "annotations/panoptic_{subset:train|val}2017.json"
NAMES = {17: "cat", 149: "grass", 187: "sky-other-merged"}
CODES = {f"/m/{label[1:]}": name for label, name in LABELS.items()}


def of_segments(*, exclusive: bool = True, classes: list[str] | None = None, **masks: Any) -> Competition:
    table = {"file": SEGMENTS, "id": "{file_name}", "strip": ".jpg"}
    given = {"table": table, "class_column": "category", "values": {0: "void"}, **masks}
    return rle_contract(
        images={"train": "{subset:train|val}2017/{id}.jpg"}, tables=[], submission=None, group=None,
        classes=classes or [*NAMES.values()], exclusive=exclusive,
        masks={"kind": "images", "path": "annotations/panoptic_{subset}2017/{id}.png", **given},
    )  # fmt: skip


def of_files(**masks: Any) -> Competition:
    table = {"file": "train-annotations-object-segmentation.csv", "id": "{ImageID}"}
    given = {"column": "MaskPath", "class_column": "LabelName", "column_classes": {"LabelName": CODES}, **masks}
    return rle_contract(
        images={"train": "train/{id}.jpg"}, tables=[], submission=None, group=None, classes=[*LABELS.values()],
        masks={"kind": "images", "path": "train-masks/{id}_{object}.png", "table": table, **given},
    )  # fmt: skip


def read(competition: Competition, folder: Path, image_id: str, subset: str = "train") -> Truth:
    row = {"image_id": image_id, "id": image_id, "subset": subset, "path": f"{subset}/{image_id}.jpg", "page": -1}
    return MaskReader(competition, folder).read(row, (1, *SHAPE))


def test_segments_have_the_classes_that_the_document_says(tmp_path: Path) -> None:
    drawn = panoptic(tmp_path)
    assert len(drawn) == 12
    reader = MaskReader(of_segments(), tmp_path)
    for place, (name, (ids, kinds)) in enumerate(drawn.items()):
        subset = "train" if place < 8 else "val"
        row = {"image_id": name, "id": name, "subset": subset, "path": f"{subset}/{name}.jpg", "page": -1}
        truth = reader.read(row, (1, *SHAPE))
        for index, category in enumerate(NAMES):
            expected = np.isin(ids, [one for one, kind in kinds.items() if kind == category])
            np.testing.assert_array_equal(truth.planes[index, 0], expected)
        assert truth.valid is not None and truth.instances is None
        np.testing.assert_array_equal(truth.valid[0], ids != 0)


def test_segments_keep_their_numbers_apart_and_crowds_are_void(tmp_path: Path) -> None:
    name, (ids, kinds) = next(iter(panoptic(tmp_path).items()))
    cats = [one for one, kind in kinds.items() if kind == 17]
    path = tmp_path / "annotations/panoptic_train2017.json"
    document = json.loads(path.read_text())
    for segment in document["annotations"][0]["segments_info"]:
        segment["iscrowd"] = int(segment["id"] == cats[0])
    path.write_text(json.dumps(document))
    merged = {"category": {"cat": "thing", "grass": "void", "sky-other-merged": "thing"}}
    told = of_segments(exclusive=False, instances=True, classes=["thing"], column_classes=merged)
    truth = read(told, tmp_path, name)
    assert truth.instances is not None and truth.valid is not None
    grass = [one for one, kind in kinds.items() if kind == 149]
    np.testing.assert_array_equal(truth.valid[0], ~np.isin(ids, [0, cats[0], *grass]))
    kept = [one for one, kind in kinds.items() if kind != 149 and one != cats[0]]
    assert len(np.unique(truth.instances)) == len(kept) + 1
    for one in kept:
        assert len(np.unique(truth.instances[0][ids == one])) == 1
    several = read(of_segments(exclusive=False, instances=True), tmp_path, name)
    assert several.objects is not None and "grass" in several.objects
    one_mask = read(of_segments(column_classes={"category": dict.fromkeys(NAMES.values(), "cat")}), tmp_path, name)
    np.testing.assert_array_equal(one_mask.planes[0, 0], ids != 0)  # a crowd has its class where objects are joined


def test_files_have_the_classes_that_the_table_says(tmp_path: Path) -> None:
    for name, found in open_images(tmp_path).items():
        joined, told = read(of_files(), tmp_path, name), read(of_files(instances=True), tmp_path, name)
        assert told.objects is not None
        for index, label in enumerate(LABELS.values()):
            np.testing.assert_array_equal(joined.planes[index, 0], found[label])
            np.testing.assert_array_equal(told.objects.get(label, np.zeros((1, *SHAPE)))[0] > 0, found[label])
        assert joined.valid is None


def test_values_that_are_no_object(tmp_path: Path) -> None:
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[3:9, 4:20], pixels[20:30, 5:9] = 7, 9
    write(tmp_path / "masks/a.png", pixels)
    (tmp_path / "objects.csv").write_text("image,number,kind\na,7,Cat\na,9,Dog\n")
    masks: dict[str, Any] = {
        "path": "masks/{id}.png", "table": {"file": "objects.csv", "id": "{image}"}, "column": "number",
        "class_column": "kind", "column_classes": {},
    }  # fmt: skip
    truth = read(of_files(**masks), tmp_path, "a")
    np.testing.assert_array_equal(truth.planes[:, 0], [pixels == 7, pixels == 9])
    assert truth.valid is None
    (tmp_path / "objects.csv").write_text("image,number,kind\na,7,Cat\na,9,Bird\n")
    with pytest.raises(ValueError, match=r"a\.png: objects\.csv says kind 'Bird' of '9', expected one of \['Cat', 'D"):
        read(of_files(**masks), tmp_path, "a")
    (tmp_path / "objects.csv").write_text("image,number,kind\na,7,Cat\nb,9,Dog\n")
    with pytest.raises(ValueError, match=r"a\.png: objects\.csv has no row for '9' of this image, .*masks\.values"):
        read(of_files(**masks), tmp_path, "a")
    known = read(of_files(**masks, values={9: "void"}), tmp_path, "a")
    assert known.valid is not None
    np.testing.assert_array_equal(known.valid[0], pixels != 9)
    (tmp_path / "objects.csv").write_text("image,number,kind\na,7,Cat\na,7,Dog\n")
    with pytest.raises(ValueError, match=r"objects\.csv: id a: '7' is 'Cat' in one row and 'Dog' in another"):
        read(of_files(**masks), tmp_path, "a")
    with pytest.raises(ValueError, match=r"objects\.csv: .*'place'"):
        read(of_files(**{**masks, "column": "place"}), tmp_path, "a")


def test_documents_that_are_no_lists_of_segments(tmp_path: Path) -> None:
    name = next(iter(panoptic(tmp_path)))
    with pytest.raises(ValueError, match=r"masks\.class_column is 'name', expected 'category'"):
        read(of_segments(class_column="name"), tmp_path, name)
    none = {"file": "other_{subset:train|val}.json", "id": "{file_name}"}
    with pytest.raises(FileNotFoundError, match=r"other_.*no such file under .* lists it as masks\.table"):
        read(of_segments(table=none), tmp_path, name)
    path = tmp_path / "annotations/panoptic_train2017.json"
    document = json.loads(path.read_text())
    assert is_panoptic(document) and not is_panoptic({"images": []}) and not is_panoptic([])
    path.write_text(json.dumps({**document, "categories": document["categories"][:1]}))
    with pytest.raises(ValueError, match=r"panoptic_train2017\.json: KeyError.* expected COCO's panoptic JSON"):
        read(of_segments(), tmp_path, name)


def test_a_table_of_objects_needs_its_column_of_classes() -> None:
    with pytest.raises(ValueError, match=r"masks\.table says of which class .*masks\.column and masks\.class_column"):
        Masks(kind="images", path="{id}.png", table={"file": "objects.csv"}, column="number")  # type: ignore[arg-type]


def test_a_changed_document_is_read_again(tmp_path: Path) -> None:
    """The reader that is kept in a process knows the documents that its pattern names."""
    panoptic(tmp_path)
    first = shared_reader(of_segments(), tmp_path)
    assert shared_reader(of_segments(), tmp_path) is first
    path = tmp_path / "annotations/panoptic_val2017.json"
    path.write_text(path.read_text() + " ")
    assert shared_reader(of_segments(), tmp_path) is not first


def test_the_drawn_segments_differ() -> None:
    ids, kinds = draw_segments(1)
    assert {17, 149, 187} == {*kinds.values()} and int(ids.max()) > 1 << 16 and {*np.unique(ids)} == {0, *kinds}
