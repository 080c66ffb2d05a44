"""Stages 01 to 09 where the host takes no table: drawn data in, a linted answer of the contract's kind out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from drawn_hosts import SHAPE, draw_mask
from drawn_layouts import LAYOUTS
from drawn_points import MOTOR_COLUMNS, PICKS, write_byu, write_czii
from tiny_run import space_of, stage, write_tiny_experiment

from inference.__main__ import main as bundle
from pipeline.delivery.submission_lint import lint_new_submission
from pipeline.delivery.submitting import submission_path
from pipeline.sequence import run_stages
from submissions.answers import answer_of, answer_path
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images

SIZE = (20, 28)
FORM = {"kind": "images", "files": {"path": "masks/{id}.png", "values": {"thing": 255}}, "size": list(SIZE)}


def changed(arguments: list[str], form: dict[str, object]) -> None:
    """The contract of a tiny experiment with another form of answer."""
    path = Path(arguments[0]).with_name("drawn.yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "submission": form}))


def test_small_mask_images_from_the_hosts_files_to_the_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path, test=3)
    changed(arguments, FORM)
    for name in ("01_check_data", "02_make_folds", "03_prepare_data", "04_train", "05_predict_oof", "06_tune"):
        stage(name)(arguments)
    stage("07_predict_test")(arguments)
    space = space_of(arguments)
    out = submission_path(space)
    assert out.name == "submission.zip"
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist() == [f"masks/test{i:02d}.png" for i in range(3)]
        pixels = cv2.imdecode(np.frombuffer(packed.read("masks/test01.png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == SIZE and set(np.unique(pixels)) <= {0, 255}
    assert "3 images, 3 files" in capsys.readouterr().out
    scores = pd.read_csv(space.own / "tuning/scores.csv")
    assert len(scores) == 12 and scores["score"].between(0, 1).all()
    done = json.loads((space.own / "tuning/stage.json").read_text())
    assert done["identity"]["settings"]["size"] == list(SIZE)
    solution = tmp_path / "solution.zip"
    with zipfile.ZipFile(solution, "w") as packed:
        for i in range(3):
            small = draw_mask(100 + i)[1::2, 1::2].astype(np.uint8) * 255
            packed.writestr(f"masks/test{i:02d}.png", cv2.imencode(".png", small)[1].tobytes())
    stage("09_submit")([*arguments, "--solution", str(solution), "--ledger", str(tmp_path / "ledger.csv")])
    assert 0 <= pd.read_csv(tmp_path / "ledger.csv")["public"][0] <= 1
    stage("07_predict_test")(arguments)
    assert "already made" in capsys.readouterr().out
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("other.png", b"")
    with pytest.raises(ValueError, match="the linter found errors"):
        lint_new_submission(space, out)
    assert (space.own / "submission.refused.zip").is_file() and not out.exists()


SMALL = [
    *("tune.copies=0", "tune.rounds=100", "train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=2"),
    *("train.patch=[32, 32]", "train.validate_images=1", "folds.n=2", "folds.use=[0, 1]", "input.scale=1"),
    *("model.encoder=mobilenetv3_small_050", "model.weights=none", "predict={mode: whole, views: [identity]}"),
]
OF_LAYOUTS: dict[str, list[str]] = {
    "dstl-satellite-2017": [],
    "hpa-single-cell-2021": [],
    "oxford-pets-species": [
        "folds.method=kfold",
        "model.architecture=unet",
        "model.options={}",
        "train.freeze=null",
        "train.freeze_epochs=0",
    ],
    "spacenet-buildings": [],
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", OF_LAYOUTS)
def test_an_experiment_that_comes_along_takes_its_hosts_layout_to_a_linted_answer(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    layout = LAYOUTS[name](tmp_path / "data")
    places = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    changes = [word for change in [*SMALL, *OF_LAYOUTS[name]] for word in ("--set", change)]
    run_stages([name, *places, *changes])  # stage 07 refuses an answer that the linter does
    competition = load_competition(name)
    out = answer_path(competition, tmp_path / "runs" / name / name)
    listing, _ = list_images(competition, tmp_path / "data", "test")
    read = answer_of(competition).open(out, ListedImages(competition, tmp_path / "data", listing))
    assert read.image_ids == list(layout.test)
    assert 0 <= json.loads((out.parent / "tuning/stage.json").read_text())["score"] <= 1


@pytest.mark.smoke
def test_features_from_the_hosts_files_to_a_bundle_that_writes_the_same(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, test=3)
    changed(arguments, {"kind": "geojson", "geojson": {"path": "{id}.geojson"}})
    run_stages(arguments)
    stage("08_bundle")([*arguments, "--no-wheels"])
    own = tmp_path / "runs/drawn/tiny"
    with zipfile.ZipFile(own / "submission.zip") as packed:
        assert packed.namelist() == [f"test{k:02d}.geojson" for k in range(3)]
    again = tmp_path / "again.csv"
    bundle(["run", str(own / "bundle"), "--data", str(tmp_path / "data"), "--out", str(again), "--device", "cpu"])
    assert again.with_suffix(".zip").read_bytes() == (own / "submission.zip").read_bytes()


@pytest.mark.smoke
def test_slices_from_the_hosts_files_to_one_volume(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, test=3, folds={"method": "slab", "n": 2, "buffer": 1})
    changed(arguments, {"kind": "volumes", "files": {"path": "{stack}.tif", "pack": "folder"}})
    path = Path(arguments[0]).with_name("drawn.yaml")
    images = {"train": "train/{part:5}{z:d}.png", "test": "test/{part:4}{z:d}.png", "id": "{part}{z}"}
    document = {**yaml.safe_load(path.read_text()), "images": {**images, "stack": "{part}", "z": "{z}"}, "group": None}
    path.write_text(yaml.safe_dump(document))
    run_stages(arguments)
    volume = tifffile.imread(tmp_path / "runs/drawn/tiny/submission/test.tif")
    assert volume.shape == (3, *SHAPE) and set(np.unique(volume)) <= {0, 1}


POINTS = {
    "czii-cryoet-2024": [
        *("train.patch=[8, 16, 16]", "predict={mode: tiles, tile: [8, 16, 16], views: [identity]}", "tune.rounds=100"),
        "model.options={features: [4, 6], strides: [1, 2], depths: [1, 1], deep_supervision: false}",
    ],
    "byu-motors-2025": [
        *("train.patch=[32, 32]", "predict={mode: whole, views: [identity]}", "input.scale=1", "tune.rounds=100"),
        *("model.encoder=mobilenetv3_small_050", "model.weights=none"),
    ],
}
TINY = ["folds.n=2", "train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=2", "train.validate_images=1"]


@pytest.mark.smoke
@pytest.mark.parametrize("name", POINTS)
def test_points_of_a_hosts_layout_end_in_a_linted_table_and_a_bundle_that_writes_the_same(
    name: str, tmp_path: Path
) -> None:
    data, motor = tmp_path / "data", (1.0, 33.0, 40.0)
    if name == "byu-motors-2025":
        write_byu(data, {"a": motor, "b": None, "c": motor, "d": None}, ["e", "f"])
        said, columns = [("e", *motor, 13.1), ("f", -1, -1, -1, 13.1)], MOTOR_COLUMNS
    else:
        write_czii(data, {f"TS_{k}": PICKS for k in range(4)}, ["TS_8", "TS_9"])
        said = [(k, f"TS_{8 + k}", "ribosome", *PICKS["ribosome"][k][::-1]) for k in range(2)]
        columns = ["id", "experiment", "particle_type", "x", "y", "z"]
    pd.DataFrame(said, columns=columns).to_csv(tmp_path / "solution.csv", index=False)
    places = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    arguments = [name, *places, *(word for change in [*TINY, *POINTS[name]] for word in ("--set", change))]
    run_stages(arguments)  # stage 07 refuses an answer that the linter does
    own = tmp_path / "runs" / name / name
    scores = pd.read_csv(own / "tuning/scores.csv")
    assert len(scores) == 4 and {"tp_0", "fp_0", "fn_0"} <= set(scores)
    stage("08_bundle")([*arguments, "--no-wheels"])
    again = tmp_path / "again.csv"
    bundle(["run", str(own / "bundle"), "--data", str(data), "--out", str(again), "--device", "cpu"])
    assert again.read_bytes() == (own / "submission.csv").read_bytes()
    stage("09_submit")([*arguments, "--solution", str(tmp_path / "solution.csv"), "--ledger", str(tmp_path / "l.csv")])
    assert 0 <= pd.read_csv(tmp_path / "l.csv")["public"][0] <= 1


def test_what_cannot_be_written_is_said_before_stage_01_looks_at_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    changed(arguments, {"kind": "images", "files": {"path": "mask.png"}})
    with pytest.raises(SystemExit):
        stage("01_check_data")(arguments)
    assert "'mask.png' is the file of test00 and of test01" in capsys.readouterr().err


def test_blocks_cannot_be_scored_at_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(
        tmp_path, train=4, test=2, folds={"method": "blocks", "n": 2, "buffer": 2, "options": {"grid": [1, 2]}}
    )
    changed(arguments, {"size": [SHAPE[0] // 2, SHAPE[1] // 2]})
    stage("01_check_data")(arguments)
    with pytest.raises(SystemExit):
        stage("02_make_folds")(arguments)
    assert "no block ends at a pixel" in capsys.readouterr().err
