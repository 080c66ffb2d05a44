from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.host.competition import Competition, list_competitions, load_competition
from submissions.host.masks import VOID, MaskReader, Truth, classes_shown, shared_reader
from submissions.rle.codec import Dialect, encode


def image_masks(**masks: Any) -> dict[str, Any]:
    return {"tables": [], "submission": None, "group": None, "masks": {"kind": "images", **masks}}


def row(image_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "path": f"{image_id}.png", "page": -1, **more}


def test_runs_become_planes(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    reader = MaskReader(competition, tmp_path)
    truth = reader.read(row("train00"), (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes, draw_mask(0)[None, None])
    assert not reader.read(row("train07"), (1, *SHAPE)).planes.any()
    assert reader.listed("train00") and not reader.listed("other")
    with pytest.raises(ValueError, match=r"no row in train\.csv"):
        reader.read(row("other"), (1, *SHAPE))


def test_an_image_that_is_known_to_be_all_data_is_not_opened(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    alpha = np.where(np.arange(SHAPE[1]) < 9, 0, 255).astype(np.uint8) * np.ones(SHAPE, np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), np.dstack([np.zeros((*SHAPE, 3), np.uint8), alpha]))
    reader, one = MaskReader(competition, tmp_path), row("train00", path="x.png")
    for unknown in ({}, {"void": 9 * SHAPE[0]}):
        valid = reader.read({**one, **unknown}, (1, *SHAPE)).valid
        assert valid is not None and (valid[0] == (alpha > 0)).all()
    (tmp_path / "x.png").write_bytes(b"no image")
    np.testing.assert_array_equal(reader.read({**one, "void": 0}, (1, *SHAPE)).planes, draw_mask(0)[None, None])


def test_rows_of_image_and_class_and_rows_that_may_be_missing(tmp_path: Path) -> None:
    first, second = draw_mask(1), draw_mask(2)
    dialect = {"order": "row", "empty": "missing"}
    texts = [encode(mask, Dialect(**dialect)) for mask in (first, second)]
    pd.DataFrame({"id": ["a", "a"], "class": ["x", "y"], "runs": texts}).to_csv(tmp_path / "t.csv", index=False)
    masks = {"kind": "rle", "table": {"file": "t.csv"}, "column": "runs", "class_column": "class", "dialect": dialect}
    competition = rle_contract(masks=masks, classes=["y", "x", "z"], tables=[], submission=None)
    reader = MaskReader(competition, tmp_path)
    truth = reader.read(row("a"), (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[:, 0], np.stack([second, first, np.zeros(SHAPE, bool)]))
    assert not reader.read(row("never listed"), (1, *SHAPE)).planes.any()
    with pytest.raises(ValueError, match="class 'y', expected one of"):
        MaskReader(rle_contract(masks=masks, classes=["x"], tables=[]), tmp_path).read(row("a"), (1, *SHAPE))
    bad = rle_contract(masks={**masks, "column": "none"}, tables=[])
    with pytest.raises(ValueError, match=r"no column \['none'\]"):
        MaskReader(bad, tmp_path).read(row("a"), (1, *SHAPE))


def test_instances_keep_their_numbers(tmp_path: Path) -> None:
    one, two = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[2:9, 3:11], two[20:30, 30:50] = True, True
    table = pd.DataFrame({"id": ["a", "a"], "rle": [encode(mask, Dialect()) for mask in (one, two)]})
    table.to_csv(tmp_path / "t.csv", index=False)
    masks = {"kind": "rle", "table": {"file": "t.csv"}, "instances": True}
    truth = MaskReader(rle_contract(masks=masks, tables=[]), tmp_path).read(row("a"), (1, *SHAPE))
    assert truth.instances is not None
    np.testing.assert_array_equal(truth.instances[0], one + 2 * two)
    np.testing.assert_array_equal(truth.planes[0, 0], one | two)


LEFT, RIGHT = np.s_[5:16, 10:21], np.s_[5:16, 21:31]  # they touch


@pytest.mark.parametrize("kind", ["files", "runs", "polygons"])
def test_objects_of_several_classes_touch_and_stay_apart(kind: str, tmp_path: Path) -> None:
    parts = np.zeros((2, *SHAPE), bool)
    parts[0][LEFT], parts[1][RIGHT] = True, True
    if kind == "files":
        for name in ("x", "y"):
            (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / "x/a.png"), (parts[0] * 300 + parts[1] * 301).astype(np.uint16))
        cv2.imwrite(str(tmp_path / "y/a.png"), (parts[0] * 300).astype(np.uint16))
        masks = image_masks(path="{class}/{id}.png", instances=True, missing="empty")["masks"]
    elif kind == "runs":
        rows = [("a", name, encode(parts[part], Dialect())) for name, part in (("x", 0), ("x", 1), ("y", 0))]
        pd.DataFrame(rows, columns=["id", "class", "rle"]).to_csv(tmp_path / "t.csv", index=False)
        masks = {"kind": "rle", "table": {"file": "t.csv"}, "class_column": "class", "instances": True}
    else:
        rings = {name: [[[c, 5], [c + w, 5], [c + w, 15], [c, 15]]] for name, c, w in (("l", 10, 10), ("r", 21, 9))}
        line = {"id": "a", "annotations": [{"type": one, "coordinates": rings[one]} for one in ("l", "r")]}
        (tmp_path / "p.jsonl").write_text(json.dumps(line))
        names = {"l": ["x", "y"], "r": "x"}
        masks = {"kind": "polygons", "file": "p.jsonl", "polygon_classes": names, "instances": True}
    competition = rle_contract(masks=masks, classes=["y", "z", "x"], tables=[], submission=None, group=None)
    truth = MaskReader(competition, tmp_path).read(row("a"), (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[:, 0], [parts[0], np.zeros(SHAPE, bool), parts[0] | parts[1]])
    assert truth.instances is None and truth.objects is not None and set(truth.objects) == {"x", "y"}
    for name, count in (("x", 2), ("y", 1)):
        label = truth.objects[name][0]
        numbers = [int(label[7, 12]), int(label[7, 25])]
        np.testing.assert_array_equal(label, parts[0] * numbers[0] + parts[1] * numbers[1])
        assert len(np.unique(label)) == count + 1
    part = truth.window(slice(4, 9), slice(20, 40)).objects
    assert part is not None and np.array_equal(part["x"], truth.objects["x"][:, 4:9, 20:40])


def test_of_objects_of_several_classes_the_masks_say_which() -> None:
    for change in ({"exclusive": True}, {"masks": {"kind": "rle", "table": {"file": "t.csv"}, "instances": True}}):
        given = {"masks": {"kind": "polygons", "file": "p.jsonl", "instances": True}, "classes": ["x", "background"]}
        with pytest.raises(ValueError, match="say of which class an object is"):
            rle_contract(**{**given, **change})


def test_value_map_void_and_background(tmp_path: Path) -> None:
    label = np.zeros(SHAPE, np.uint8)
    label[:10], label[10:20, :30], label[30:] = 1, 2, 9
    cv2.imwrite(str(tmp_path / "a.png"), label)
    masks = image_masks(path="{id}.png", values={0: "background", 1: "x", 2: ["x", "y"], 9: "void"})
    competition = rle_contract(**masks, classes=["background", "x", "y"])
    truth = MaskReader(competition, tmp_path).read(row(), (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[1, 0], (label == 1) | (label == 2))
    np.testing.assert_array_equal(truth.planes[2, 0], label == 2)
    assert truth.valid is not None
    np.testing.assert_array_equal(truth.valid[0], label != 9)
    assert set(np.unique(truth.label)) == {0, 1, 2, VOID}
    label[0, 0] = 7
    cv2.imwrite(str(tmp_path / "a.png"), label)
    with pytest.raises(ValueError, match=r"found values \[7\]"):
        MaskReader(competition, tmp_path).read(row(), (1, *SHAPE))


def test_background_of_exclusive_classes_is_what_no_class_claims() -> None:
    planes = np.zeros((2, 1, 2, 3), bool)
    planes[1, 0, 0] = True
    truth = Truth(planes, np.array([[[True, False, True], [True, True, True]]]))
    np.testing.assert_array_equal(truth.label[0], [[1, VOID, 1], [VOID, VOID, VOID]])


def test_a_window_has_the_truth_of_its_pixels() -> None:
    rng = np.random.default_rng(0)
    planes, valid = rng.random((2, 3, 5, 7)) < 0.5, rng.random((3, 5, 7)) < 0.5
    instances = rng.integers(0, 9, (3, 5, 7), dtype=np.int32)
    part = Truth(planes, valid, instances).window(slice(1, 4), slice(2, 7))
    np.testing.assert_array_equal(part.planes, planes[..., 1:4, 2:7])
    assert part.valid is not None and part.instances is not None
    np.testing.assert_array_equal(part.valid, valid[:, 1:4, 2:7])
    np.testing.assert_array_equal(part.instances, instances[:, 1:4, 2:7])
    plain = Truth(planes).window(slice(0, 1), slice(None))
    assert plain.planes.shape == (2, 3, 1, 7) and plain.valid is None and plain.instances is None


def test_a_mask_of_another_size_names_both(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((56, 40), np.uint8))
    competition = rle_contract(**image_masks(path="{id}.png"))
    with pytest.raises(ValueError, match=r"a\.png: mask of size \(56, 40\).*expected \(40, 56\)"):
        MaskReader(competition, tmp_path).read(row(), (1, *SHAPE))
    with pytest.raises(FileNotFoundError):
        MaskReader(competition, tmp_path).read(row("b"), (1, *SHAPE))


def test_one_file_a_class_and_instance_images(tmp_path: Path) -> None:
    for name, seed in (("x", 3), ("y", 4)):
        cv2.imwrite(str(tmp_path / f"a_{name}.png"), draw_mask(seed).astype(np.uint8) * 255)
    competition = rle_contract(**image_masks(path="{id}_{class}.png"), classes=["x", "y"])
    planes = MaskReader(competition, tmp_path).read(row(), (1, *SHAPE)).planes
    np.testing.assert_array_equal(planes[:, 0], np.stack([draw_mask(3), draw_mask(4)]))
    label = np.zeros(SHAPE, np.uint16)
    label[3:9, 3:9], label[20:25, 20:25] = 5, 700
    cv2.imwrite(str(tmp_path / "b.png"), label)
    truth = MaskReader(rle_contract(**image_masks(path="{id}.png", instances=True)), tmp_path).read(
        row("b"), (1, *SHAPE)
    )
    assert truth.instances is not None
    np.testing.assert_array_equal(truth.instances[0], label)


def test_volumes(tmp_path: Path) -> None:
    label = np.zeros((6, 5, 4), np.uint8)
    label[2:4, 1:3, 1:3] = 1
    nibabel.save(nibabel.Nifti1Image(label, np.diag([0.5, 1.5, 3.0, 1.0])), tmp_path / "a.nii.gz")
    competition = rle_contract(
        **{**image_masks(path="{id}.nii.gz", values={0: [], 1: "thing"}),
           "images": {"kind": "volumes", "train": "{id}.nii.gz"}},
    )  # fmt: skip
    truth = MaskReader(competition, tmp_path).read(row(), (4, 5, 6))
    assert truth.planes.shape == (1, 4, 5, 6)
    assert int(truth.planes.sum()) == int(label.sum())
    assert truth.spacing == (3.0, 1.5, 0.5)
    assert truth.window(slice(1, 3), slice(0, 4)).spacing == (3.0, 1.5, 0.5)


@pytest.mark.parametrize("kind", ["values", "colours", "points"])
def test_the_parts_of_a_volume_are_the_slices_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    shape = (7, 6, 9)
    label = np.random.default_rng(1).integers(0, 3, shape, np.uint8)
    masks: dict[str, Any] = {"kind": "images", "path": "{id}.tif", "values": {0: [], 1: "thing", 2: "void"}}
    if kind == "colours":
        masks["values"] = {"0,0,0": [], "255,0,0": "thing", "0,255,0": "void"}
    tifffile.imwrite(
        tmp_path / "a.tif",
        label if kind != "colours" else np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[label],
        photometric="rgb" if kind == "colours" else "minisblack",
    )
    if kind == "points":
        (tmp_path / "p.csv").write_text("id,z,y,x\na,2.5,3,4\na,6,1,1\n")
        masks = {"kind": "points", "table": {"file": "p.csv"}, "points": {"radius": 2}}
    images = {"kind": "volumes", "train": "{id}.tif"}
    competition = rle_contract(images=images, masks=masks, tables=[], group=None, submission=None)
    reader = MaskReader(competition, tmp_path)
    whole = reader.read(row(stack="a"), shape)
    monkeypatch.setattr("submissions.host.masks.PART", 3 * 6 * 9)
    parts = list(reader.parts(row(stack="a"), shape))
    assert [part.planes.shape[1] for part in parts] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([part.planes for part in parts], axis=1), whole.planes)
    assert whole.planes.any()
    if kind != "points":
        assert whole.valid is not None
        np.testing.assert_array_equal(np.concatenate([part.valid for part in parts]), whole.valid)


def test_polygons_of_both_kinds(tmp_path: Path) -> None:
    square = [[10.0, 5.0], [20.0, 5.0], [20.0, 15.0], [10.0, 15.0]]
    line = {"id": "a", "annotations": [{"type": "vessel", "coordinates": [square]}, {"type": "unsure", "coordinates": [
        [[30, 20], [40, 20], [40, 30], [30, 30]]]}]}  # fmt: skip
    (tmp_path / "p.jsonl").write_text(json.dumps(line) + "\n\n")
    masks = {
        "kind": "polygons",
        "file": "p.jsonl",
        "polygon_classes": {"vessel": "thing", "unsure": "void"},
        "instances": True,
    }
    reader = MaskReader(rle_contract(masks=masks, tables=[]), tmp_path)
    truth = reader.read(row("a"), (1, *SHAPE))
    expected = np.zeros(SHAPE, bool)
    expected[5:16, 10:21] = True
    np.testing.assert_array_equal(truth.planes[0, 0], expected)
    assert truth.valid is not None and truth.instances is not None
    assert not truth.valid[0, 25, 35] and truth.instances.max() == 1
    assert reader.listed("a") and not reader.read(row("b"), (1, *SHAPE)).planes.any()

    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 7, "name": "thing"}],
        "annotations": [{"image_id": 1, "category_id": 7, "segmentation": [[v for point in square for v in point]]}],
    }
    (tmp_path / "c.json").write_text(json.dumps(coco))
    plain = rle_contract(masks={"kind": "polygons", "file": "c.json"}, tables=[])
    expected[15], expected[:, 20] = False, False  # COCO counts from the corner of a pixel, not from its centre
    np.testing.assert_array_equal(MaskReader(plain, tmp_path).read(row("a"), (1, *SHAPE)).planes[0, 0], expected)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("p.jsonl", '{"id": "a"}', "line 1"),
        ("p.jsonl", "{", "line 1"),
        ("c.json", '{"images": []}', "expected COCO, labelme"),
        ("p.jsonl", '{"id": "a", "annotations": [{"type": "thing", "coordinates": [[[1, 2], [3, 4]]]}]}', "at least 3"),
    ],
)
def test_broken_polygons_are_named(tmp_path: Path, file: str, text: str, words: str) -> None:
    (tmp_path / file).write_text(text)
    reader = MaskReader(rle_contract(masks={"kind": "polygons", "file": file}, tables=[]), tmp_path)
    with pytest.raises(ValueError, match=words):
        reader.read(row("a"), (1, *SHAPE))


def test_an_image_with_a_label_shows_its_class_everywhere(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,label\na,dog\nb,bird\n")
    masks = {"kind": "none", "table": {"file": "t.csv"}, "column": "label"}
    contract = rle_contract(masks=masks, tables=[], classes=["cat", "dog"], exclusive=True, submission=None)
    truth = MaskReader(contract, tmp_path).read(row("a"), (1, *SHAPE))
    assert truth.planes.shape == (2, 1, *SHAPE)
    assert (truth.label == 1).all() and classes_shown(truth).tolist() == [False, True]
    with pytest.raises(ValueError, match="class 'bird', expected one of"):
        MaskReader(contract, tmp_path).read(row("b"), (1, *SHAPE))
    with pytest.raises(ValueError, match="c: no row in"):
        MaskReader(contract, tmp_path).read(row("c"), (1, *SHAPE))


def test_what_does_not_count_is_not_shown() -> None:
    planes = np.zeros((2, 1, 3, 5), bool)
    planes[:, 0, 1, 2] = True
    valid = np.ones((1, 3, 5), bool)
    valid[0, 1, 2] = False
    assert classes_shown(Truth(planes)).all() and not classes_shown(Truth(planes, valid)).any()


def test_soft_masks_are_cut_and_what_the_host_does_not_score_is_void(tmp_path: Path) -> None:
    votes = np.full(SHAPE, 51, np.uint8)
    votes[5:20, 10:30] = 204
    scored = np.zeros(SHAPE, np.uint8)
    scored[:, :25] = 255
    cv2.imwrite(str(tmp_path / "a.png"), votes)
    cv2.imwrite(str(tmp_path / "a_valid.png"), scored)
    competition = rle_contract(**image_masks(path="{id}.png", threshold=128, valid="{id}_valid.png"))
    truth = MaskReader(competition, tmp_path).read(row(), (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[0, 0], votes > 128)
    assert truth.valid is not None
    np.testing.assert_array_equal(truth.valid[0], scored > 0)
    void = image_masks(path="{id}.png", values={51: [], 204: "void"}, valid="{id}_valid.png")
    both = MaskReader(rle_contract(**void), tmp_path).read(row(), (1, *SHAPE))
    assert both.valid is not None
    np.testing.assert_array_equal(both.valid[0], (scored > 0) & (votes < 128))


def square(left: int, top: int, side: int) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def test_parts_of_a_coco_object_are_joined_and_small_objects_lie_on_top(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "big"}, {"id": 2, "name": "small"}, {"id": 3, "name": "other"}],
        "annotations": [
            {"image_id": 1, "category_id": 2, "segmentation": [square(8, 8, 4)]},
            {"image_id": 1, "category_id": 1, "segmentation": [square(4, 4, 20), square(20, 20, 10)]},
            {"image_id": 1, "category_id": 3, "segmentation": [square(40, 2, 5)]},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    masks = {"kind": "polygons", "file": "coco.json", "polygon_classes": {"other": []}}
    common: dict[str, Any] = {"tables": [], "submission": None, "masks": masks}
    exclusive = rle_contract(**common, classes=["background", "small", "big"], exclusive=True)
    big, small = np.zeros((2, *SHAPE), bool)
    big[4:24, 4:24], big[20:30, 20:30], small[8:12, 8:12] = True, True, True
    truth = MaskReader(exclusive, tmp_path).read(row(), (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[:, 0], np.stack([~big, small, big & ~small]))
    apart = MaskReader(rle_contract(**common, classes=["small", "big"]), tmp_path).read(row(), (1, *SHAPE))
    np.testing.assert_array_equal(apart.planes[:, 0], np.stack([small, big]))
    document["annotations"] = [{"id": 5, "image_id": 1, "category_id": 1, "segmentation": {"counts": [3]}}]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="annotation 5: runs without size"):
        MaskReader(exclusive, tmp_path).read(row(), (1, *SHAPE))


def test_a_process_reads_the_table_once_until_it_changes(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path, train=4)
    reader = shared_reader(competition, tmp_path)
    assert shared_reader(competition, tmp_path) is reader and "train00" in reader.runs
    other = competition.model_copy(update={"classes": ["other"]})
    assert shared_reader(other, tmp_path).competition.classes == ["other"]
    table = pd.read_csv(tmp_path / "train.csv", dtype=str).iloc[1:]
    table.to_csv(tmp_path / "train.csv", index=False)
    again = shared_reader(competition, tmp_path)
    assert again is not reader and "train00" not in again.runs


@pytest.mark.parametrize("name", list_competitions())
def test_every_contract_survives_the_readers_key(name: str) -> None:
    competition = load_competition(name)
    assert Competition.model_validate_json(competition.model_dump_json()) == competition


def test_a_mask_of_another_size_is_brought_to_its_image_where_the_host_says_so(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    small = np.array([[0, 1, 0], [2, 0, 0]], np.uint8)
    cv2.imwrite(str(tmp_path / "m" / "a.png"), small)
    masks = {"path": "m/{id}.png", "values": {0: [], 1: "x", 2: "y"}}
    same, other = (rle_contract(classes=["x", "y"], **image_masks(**masks, size=size)) for size in ("image", "any"))
    with pytest.raises(ValueError, match=r"set masks\.size: any"):
        MaskReader(same, tmp_path).read(row("a"), (1, 4, 9))
    truth = MaskReader(other, tmp_path).read(row("a"), (1, 4, 9))
    np.testing.assert_array_equal(truth.planes[0, 0], np.kron(small == 1, np.ones((2, 3), bool)))
    np.testing.assert_array_equal(truth.planes[1, 0], np.kron(small == 2, np.ones((2, 3), bool)))


@pytest.mark.parametrize(("ending", "cure"), [(".npy", r"images\.axes"), (".png", r"images\.frame")])
def test_a_mask_of_one_slice_beside_an_image_of_several_is_explained(tmp_path: Path, ending: str, cure: str) -> None:
    mask = np.ones((4, 9), np.uint8)
    np.save(tmp_path / "a.npy", mask)
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    contract = rle_contract(**image_masks(path=f"{{id}}{ending}"))
    with pytest.raises(ValueError, match=cure):
        MaskReader(contract, tmp_path).read(row("a"), (6, 4, 9))
