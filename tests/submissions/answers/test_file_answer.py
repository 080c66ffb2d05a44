"""Answers of mask files: written, read back, scored, linted; images, slices, classes, objects, a table beside."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_answers import opened, write_answer
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.answers import answer_of, answer_path, answer_place, check_answer, lint_answer
from submissions.answers.packing import PackedFiles
from submissions.answers.scoring import score_submission
from submissions.answers.show import draw_submission
from submissions.host.competition import Competition
from submissions.table.findings import errors
from submissions.table.scoring import Segmentation


def contract(files: dict[str, Any], **change: Any) -> Competition:
    return rle_contract(**{"submission": {"kind": "images", "files": files}, **change})


def write(competition: Competition, data: Path, out: Path, said: dict[str, Segmentation]) -> Path:
    written = write_answer(competition, data, out, said)
    assert set(written.image_ids) == set(opened(competition, data).ids)
    return out


def flat(*planes: np.ndarray, instances: np.ndarray | None = None) -> Segmentation:
    return Segmentation(np.stack(planes)[:, None], None if instances is None else instances[None])


def drawn(data: Path, classes: int = 1) -> dict[str, Segmentation]:
    return {f"test{i:02d}": flat(*(draw_mask(100 + i + 7 * k) for k in range(classes))) for i in range(3)}


def test_masks_of_one_class_are_pngs_in_a_zip_that_scores_1_and_is_linted(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = contract({"path": "masks/{id}.png", "values": {"thing": 255}})
    said = drawn(tmp_path)
    out = write(competition, tmp_path / "data", answer_path(competition, tmp_path), said)
    assert out.name == "submission.zip"
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist() == [f"masks/test{i:02d}.png" for i in range(3)]
        pixels = cv2.imdecode(np.frombuffer(packed.read("masks/test01.png"), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pixels, said["test01"].planes[0, 0] * 255)
    assert lint_answer(out, competition, tmp_path / "data") == []
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    moved = {name: flat(np.roll(one.planes[0, 0], 3, axis=1)) for name, one in said.items()}
    other = write(competition, tmp_path / "data", tmp_path / "other.zip", moved)
    expected = [
        2 * (a.planes & b.planes).sum() / (a.planes.sum() + b.planes.sum())
        for a, b in zip(said.values(), moved.values(), strict=True)
    ]
    assert score_submission(competition, other, out, tmp_path / "data").score == pytest.approx(np.mean(expected))
    again = write(competition, tmp_path / "data", tmp_path / "again.zip", said)
    assert again.read_bytes() == out.read_bytes()
    draw_submission(competition, other, tmp_path / "data", ["test02"], tmp_path / "x.png", solution=out)
    assert cv2.imread(str(tmp_path / "x.png")).shape[1] == 2 * SHAPE[1] + 6


def test_classes_share_an_image_by_value_the_later_on_top(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    values = {"a": 3, "b": 7}
    form = {"kind": "images", "files": {"path": "{id}.tif", "values": values, "dtype": "uint16", "pack": "folder"}}
    competition = rle_contract(classes=["a", "b"], submission=form)
    said = drawn(tmp_path, 2)
    out = write(competition, tmp_path / "data", answer_path(competition, tmp_path), said)
    assert out.is_dir() and out.name == "submission"
    first, second = said["test00"].planes[:, 0]
    stored = tifffile.imread(out / "test00.tif")
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, np.where(second, 7, np.where(first, 3, 0)))
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    through = answer_of(competition).through({"image_id": "test00"}, said["test00"])
    np.testing.assert_array_equal(through.planes[:, 0], np.stack([first & ~second, second]))
    write(competition, tmp_path / "data", out, {})  # in the place of the folder that is there
    assert not tifffile.imread(out / "test00.tif").any()


def test_a_file_a_class_and_a_table_beside_the_files(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    form = {
        "kind": "images", "files": {"path": "{class}/{id}.png", "table": "submission.csv"}, "mask_column": "path",
        "id_template": "{id}_{class}",
    }  # fmt: skip
    competition = rle_contract(classes=["a", "b"], submission=form)
    (tmp_path / "data/sample_submission.csv").unlink()
    said = drawn(tmp_path, 2)
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip", said)
    with zipfile.ZipFile(out) as packed, packed.open("submission.csv") as stream:
        table = pd.read_csv(stream)
        assert len(packed.namelist()) == 7
    assert table["id"].tolist() == sorted(table["id"]) and table["path"][1] == "b/test00.png"
    through = answer_of(competition).through({"image_id": "test00"}, said["test00"])
    np.testing.assert_array_equal(through.planes, said["test00"].planes)
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(out) as packed, zipfile.ZipFile(broken, "w") as target:
        for name in packed.namelist():
            text = packed.read(name)
            target.writestr(name, text.replace(b"b/test00.png", b"b/test99.png") if name.endswith(".csv") else text)
    found = " ".join(map(str, lint_answer(broken, competition, tmp_path / "data")))
    assert "submission.csv, row 2: 'b/test99.png' is no file of the answer" in found
    assert "no row names the file 'b/test00.png'" in found
    with zipfile.ZipFile(tmp_path / "bare.zip", "w") as target:
        target.writestr("submission.csv", "x\n1\n")
    assert "expected a table with ['id', 'path']" in str(
        lint_answer(tmp_path / "bare.zip", competition, tmp_path / "data")
    )


def test_the_table_beside_follows_the_sample(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    names = ["test02", "test00", "test01"]
    pd.DataFrame({"id": names, "rle": "x"}).to_csv(tmp_path / "data/sample_submission.csv", index=False)
    competition = contract({"table": "answer.csv"})
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip", drawn(tmp_path))
    with PackedFiles(out).file("answer.csv") as path:
        assert pd.read_csv(path)["id"].tolist() == names
    pd.DataFrame({"id": ["other"], "rle": "x"}).to_csv(tmp_path / "data/sample_submission.csv", index=False)
    with pytest.raises(ValueError, match="predicted id"):
        write(competition, tmp_path / "data", tmp_path / "second.zip", drawn(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "submission.zip"]
    assert any("ids of the test images" in str(problem) for problem in check_answer(competition, tmp_path / "data"))


def test_objects_are_numbered_and_read_back(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = contract(
        {"objects": True, "dtype": "uint16"},
        masks={"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True},
        metric={"name": "dsb2018_precision"},
    )
    label = np.zeros(SHAPE, np.int32)
    label[2:9, 3:9], label[20:30, 20:40] = 1, 300
    said = flat(label > 0, instances=label)
    read = answer_of(competition).through({"image_id": "test00"}, said)
    assert read.instances is not None
    np.testing.assert_array_equal(read.instances[0], label)
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip", dict.fromkeys(drawn(tmp_path), said))
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    with pytest.raises(ValueError, match="the decision must split the mask"):
        answer_of(competition).through({"image_id": "test00"}, flat(label > 0))
    few = competition.model_copy(update={"submission": contract({"objects": True, "dtype": "uint8"}).submission})
    with pytest.raises(ValueError, match="uint8 holds at most 255, found 300"):
        answer_of(few).through({"image_id": "test00"}, said)


def test_background_of_exclusive_classes_is_what_is_left(tmp_path: Path) -> None:
    competition = contract({}, classes=["background", "thing"], exclusive=True)
    mask = draw_mask(3)
    read = answer_of(competition).through({"image_id": "x"}, flat(~mask, mask))
    np.testing.assert_array_equal(read.planes[:, 0], np.stack([~mask, mask]))


def faulty(folder: Path, change: str) -> Path:
    """A folder of files of which one thing is wrong."""
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"test{i:02d}.png"), draw_mask(100 + i).astype(np.uint8))
    place = folder / "test01.png"
    pixels = draw_mask(101).astype(np.uint8)
    if change == "missing":
        place.unlink()
    elif change == "nested":
        (folder / "out").mkdir()
        place.rename(folder / "out/test01.png")
    elif change == "cut":
        place.write_bytes(place.read_bytes()[:60])
    else:
        wrong = {"size": pixels[:-1], "type": pixels.astype(np.uint16), "value": pixels * 9}[change]
        cv2.imwrite(str(place), wrong)
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "1 of 3 files are missing: test01.png"),
        ("nested", "'test01.png' would be, but it lies in a folder"),
        ("size", r"test01.png: \(1, 39, 56\) \(slices, height, width\), expected \(1, 40, 56\)"),
        ("type", "test01.png: pixels are uint16, expected uint8"),
        ("value", "test01.png: pixel values 9, expected only 0, 1"),
        ("cut", "test01.png"),
    ],
)
def test_faults_of_files_are_named(tmp_path: Path, change: str, words: str) -> None:
    write_rle_host(tmp_path / "data")
    competition = contract({"pack": "folder"})
    found = errors(lint_answer(faulty(tmp_path / "submission", change), competition, tmp_path / "data"))
    assert found and any(re.search(words, str(one)) for one in found), found


def test_what_is_no_zip_too_large_or_twice(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    form = {"kind": "images", "max_bytes": 100}
    competition = rle_contract(submission=form)
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip", drawn(tmp_path))
    assert "the host accepts at most 100" in str(lint_answer(out, competition, tmp_path / "data")[0])
    with zipfile.ZipFile(out, "a") as packed, pytest.warns(UserWarning, match="Duplicate"):
        packed.writestr("test00.png", packed.read("test00.png"))
    assert "'test00.png' comes 2 times" in str(lint_answer(out, competition, tmp_path / "data"))
    (tmp_path / "text.zip").write_text("no zip")
    assert "no readable zip" in str(lint_answer(tmp_path / "text.zip", competition, tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match=r"none\.zip: no such file"):
        lint_answer(tmp_path / "none.zip", competition, tmp_path / "data")


def test_a_damaged_zip_is_a_sentence_and_masks_unlike_training_a_warning(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = contract({})
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip", {})
    training = pd.DataFrame({"height": [40] * 30, "width": [56] * 30, "area_thing": [300] * 30})
    warned = [str(one) for one in lint_answer(out, competition, tmp_path / "data", training=training)]
    assert any("100% of 3 masks are empty" in one for one in warned)
    data = bytearray(out.read_bytes())
    data[60:70] = b"x" * 10
    out.write_bytes(data)
    found = errors(lint_answer(out, competition, tmp_path / "data"))
    assert found and "test00.png" in str(found[0])


def test_scoring_wants_every_file_of_the_solution_and_no_other(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "data")
    competition = contract({"pack": "folder"})
    whole = faulty(tmp_path / "whole", "type")
    with pytest.raises(ValueError, match=r"1 id\(s\) of the solution are missing: \['test01.png'\]"):
        score_submission(competition, faulty(tmp_path / "less", "missing"), whole, tmp_path / "data")
    with pytest.raises(ValueError, match=r"1 file\(s\) of no test image: \['out/test01.png'\]"):
        score_submission(competition, faulty(tmp_path / "nested", "nested"), whole, tmp_path / "data")
    with pytest.raises(ValueError, match=r"test01.png: \(1, 39, 56\)"):
        score_submission(competition, faulty(tmp_path / "size", "size"), whole, tmp_path / "data")


def test_the_contract_is_tried_before_training(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    assert check_answer(contract({}), tmp_path) == []
    (twice,) = check_answer(contract({"path": "mask.png"}), tmp_path)
    assert "'mask.png' is the file of test00 and of test01" in str(twice)
    (unknown,) = check_answer(contract({"path": "{patient}.png"}), tmp_path)
    assert "no field ['patient']" in str(unknown)


def test_an_answer_is_named_by_its_kind(tmp_path: Path) -> None:
    assert answer_path(rle_contract(), tmp_path).name == "submission.csv"
    assert answer_path(rle_contract(submission=None), tmp_path).name == "submission.csv"
    zipped, folder = contract({}), contract({"pack": "folder"})
    assert (
        answer_place(zipped, tmp_path / "a.csv").name == "a.zip"
        and answer_place(folder, tmp_path / "a.csv").name == "a"
    )
    assert answer_place(zipped, tmp_path / "mine.out").name == "mine.out"
