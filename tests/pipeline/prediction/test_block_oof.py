"""Folds that hold out blocks of images: what is scored was predicted by a model that trained nowhere near it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from drawn_hosts import draw_image, draw_mask
from finished_page import page_of
from tiny_run import space_of, stage, write_tiny_experiment
from torch import nn

from folds.blocks import Block
from inference.predict.store import open_prediction, prediction_path, write_prediction
from inference.weights import load_model
from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.prediction import block_oof as held_out
from pipeline.prediction.block_oof import SCRATCH, fold_folder, join_blocks
from pipeline.prediction.oof import StoredItem, image_group, run_items
from pipeline.prediction.prediction import predict_oof
from pipeline.report.finished_run import open_finished
from pipeline.report.image_pictures import look_at
from pipeline.runs import JOINED, Run
from pipeline.seeds import generator_of
from pipeline.sequence import run_stages
from pipeline.training.fold_training import training_set
from pipeline.training.validation import make_validator
from pipeline.tuning.comparisons.two_runs import read_scores
from pipeline.tuning.scores.units import make_units
from pipeline.workspace import Workspace
from submissions.rle.codec import Dialect, encode

SHAPES = {"train00": (96, 160), "train01": (128, 96)}  # whole images are padded to multiples of 32
MASKS = {
    name: np.tile(draw_mask(seed), (4, 3))[: shape[0], : shape[1]] for seed, (name, shape) in enumerate(SHAPES.items())
}
BUFFER = 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two large images, each in four blocks, two a fold, through stages 01 to 04: (folder, arguments)."""
    folder = tmp_path_factory.mktemp("blocks")
    arguments = write_tiny_experiment(
        folder, train=2, test=2,
        folds={"method": "blocks", "n": 2, "buffer": BUFFER, "options": {"grid": [2, 2]}},
        model={"architecture": "plain_unet", "options": {"channels": [8, 16]}},
        tune={"rounds": 100, "sample": 2, "shifts": ["brightness:0.3"]},
    )  # fmt: skip
    rows = []
    for seed, (name, mask) in enumerate(MASKS.items()):
        cv2.imwrite(str(folder / "data/train" / f"{name}.png"), draw_image(mask, seed))
        rows.append({"id": name, "rle": encode(mask, Dialect()), "patient": f"p{seed}"})
    pd.DataFrame(rows).to_csv(folder / "data/train.csv", index=False)
    run_stages(arguments, ("01", "02", "03", "04"))
    return folder, arguments


class Marked(nn.Module):
    """Says the same of every pixel, so that a pixel tells who predicted it."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logit.expand(len(images), 1, *images.shape[2:])


def who(probs: np.ndarray) -> np.ndarray:
    """The fold whose marked model said this; -1 where none did."""
    return np.select([probs == 0, probs < 128], [-1, 0], 1)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 05 predicts by models that say 0.2 (fold 0) and 0.8 (fold 1)."""
    monkeypatch.setattr(
        "pipeline.prediction.prediction.fold_model",
        lambda space, fold: replace(load_model(space.fold(fold)), model=Marked((-1.4, 1.4)[fold])),
    )


def read(path: Path) -> np.ndarray:
    with open_prediction(path) as prediction:
        return prediction.read()


def predicted(space: Workspace, folder: Path, **options: Any) -> list[tuple[int, int]]:
    return list(predict_oof(space, folder, report=lambda text: None, **options))


def run_of(space: Workspace) -> Run:
    """The run whose stage 05 lies elsewhere."""
    folds = space.experiment.used_folds
    return Run("tiny", space.own, folds, open_folds(space)[1], space.experiment.predict, {}, "", format=JOINED)


def trained_on(space: Workspace, fold: int) -> dict[str, np.ndarray]:
    """Where windows that the fold trains on lie, bool (H, W) by image."""
    store, folds = open_prepared(space)[0], open_folds(space)[0]
    samples = training_set(space.experiment, fold, store=store, folds=folds, inventory=space.training_images()[0])
    found = {name: np.zeros(shape, bool) for name, shape in SHAPES.items()}
    for number in range(500):
        window = samples.draw(generator_of("windows", fold, number))
        found[window.image_id][window.y : window.y + window.height, window.x : window.x + window.width] = True
    return found


def covered(items: Sequence[StoredItem]) -> dict[str, np.ndarray]:
    """How often each pixel is in an item, int (H, W) by image."""
    found = {name: np.zeros(shape, int) for name, shape in SHAPES.items()}
    for item in items:
        assert item.block is not None
        found[str(item.fields["image_id"])][item.block.rows, item.block.cols] += 1
    return found


def test_every_scored_pixel_is_predicted_by_a_model_that_never_trained_there(
    trained: tuple[Path, list[str]], marked: None, tmp_path: Path
) -> None:
    space = space_of(trained[1])
    assert predicted(space, tmp_path) == [(done, 4) for done in range(1, 5)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train00.h5", "train01.h5"]
    for fold in (0, 1):
        seen = trained_on(space, fold)
        for name in SHAPES:
            own = who(read(prediction_path(tmp_path, name))[0]) == fold
            assert own.any() and seen[name].any() and not (own & seen[name]).any()
            near = cv2.dilate(own.astype(np.uint8), np.ones((2 * BUFFER + 1, 2 * BUFFER + 1), np.uint8))
            assert not (near.astype(bool) & seen[name]).any()
    items = run_items(space, run_of(space), tmp_path)
    assert len(items) == len({item.image_id for item in items}) == 8
    assert all((part == 1).all() for part in covered(items).values())
    for item in items:
        assert (who(item.probs()) == item.fold).all()
        image_id, block = str(item.fields["image_id"]), item.block
        assert block is not None and item.image_id == block.named(image_id)
        assert item.group == f"p{image_id[-1]}" and item.stack == image_id
        np.testing.assert_array_equal(item.truth().planes[0, 0], MASKS[image_id][block.rows, block.cols])
    units, meta = make_units(items, "image")
    assert Counter(meta["fold"]) == {0: 4, 1: 4} and all(len(unit.items) == 1 for unit in units)


@pytest.mark.parametrize(("said", "group"), [("p1", "p1"), ("", "a"), (np.nan, "a"), (0, "0")])
def test_images_whose_group_is_blank_are_groups_of_their_own(
    trained: tuple[Path, list[str]], said: object, group: str
) -> None:
    space = space_of(trained[1])
    column = space.group_column
    assert column is not None
    assert image_group(space, {"image_id": "a", column: said}) == group
    assert image_group(space, {"image_id": "a"}) == "a"


def test_blocks_of_folds_that_are_not_used_are_predicted_by_nobody(
    trained: tuple[Path, list[str]], marked: None, tmp_path: Path
) -> None:
    space = space_of(trained[1], "--set", "folds.use=[1]")
    assert predicted(space, tmp_path)[-1] == (2, 2)
    items = run_items(space, run_of(space), tmp_path)
    assert len(items) == 4 and {item.fold for item in items} == {1}
    for name, part in covered(items).items():
        np.testing.assert_array_equal(who(read(prediction_path(tmp_path, name))[0]), np.where(part == 1, 1, -1))
    assert len(run_items(space, run_of(space), tmp_path, only=["train01"])) == 2


def test_a_run_that_was_killed_goes_on(
    trained: tuple[Path, list[str]], marked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(trained[1])
    steps = predict_oof(space, tmp_path, report=lambda text: None)
    assert [next(steps) for _ in range(3)] == [(1, 4), (2, 4), (3, 4)]
    steps.close()
    waiting = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.h5")}
    assert len(waiting) == 3 and not list(tmp_path.glob("*.h5"))
    join = held_out._join

    def join_one(path: Path, *parts: Any) -> None:
        if path.stem == "train00":
            assert all(part.stat().st_mtime_ns == when for part, when in waiting.items())
        if path.stem == "train01":
            raise KeyboardInterrupt
        join(path, *parts)

    with monkeypatch.context() as patched:
        patched.setattr(held_out, "_join", join_one)
        with pytest.raises(KeyboardInterrupt):
            predicted(space, tmp_path)
    assert [path.name for path in tmp_path.glob("*.h5")] == ["train00.h5"]
    assert predicted(space, tmp_path) == [(3, 4), (4, 4)]
    assert predicted(space, tmp_path) == [] and not (tmp_path / SCRATCH).exists()
    assert all((who(item.probs()) == item.fold).all() for item in run_items(space, run_of(space), tmp_path))


@pytest.mark.parametrize("depth", [None, 3])
def test_files_are_joined_of_the_blocks(tmp_path: Path, depth: int | None) -> None:
    shape = (700, 530) if depth is None else (depth, 700, 530)
    table = pd.DataFrame(
        {"image_id": "a", "fold": [2, 0, 2], "y0": [0, 300, 600], "x0": [0, 0, 260], "y1": [300, 700, 700],
         "x1": [530, 260, 530], "buffer": 4}
    )  # fmt: skip
    rng = np.random.default_rng(0)
    said = {fold: rng.integers(1, 256, (2, *shape), dtype=np.uint8) for fold in (0, 2)}
    for fold, probs in said.items():
        path = prediction_path(fold_folder(tmp_path, fold), "a")
        path.parent.mkdir(parents=True)
        write_prediction(path, probs, ["thing", "other"], {"views": 2})
    wanted = np.zeros((2, *shape), np.uint8)
    for fold, *box in table[["fold", "y0", "x0", "y1", "x1"]].to_numpy().tolist():
        wanted[..., box[0] : box[2], box[1] : box[3]] = said[fold][..., box[0] : box[2], box[1] : box[3]]
    join_blocks(table, tmp_path)
    with open_prediction(prediction_path(tmp_path, "a")) as prediction:
        assert prediction.channels == ["thing", "other"] and prediction.attrs == {"views": 2}
        np.testing.assert_array_equal(prediction.read(), wanted)
    assert not (tmp_path / SCRATCH).exists()


class LeftHalf(nn.Module):
    """Right in the columns before `split`, and wrong in every pixel of the others."""

    def __init__(self, split: int) -> None:
        super().__init__()
        self.split = split

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grey = images.mean(dim=1, keepdim=True)
        bright = torch.where(grey > 0, 9.0, -9.0)
        left = torch.arange(images.shape[-1]) < self.split
        return torch.where(left, bright, -bright)


def test_validation_scores_the_blocks_that_the_fold_holds_out(trained: tuple[Path, list[str]]) -> None:
    space = space_of(trained[1])
    rows = []
    for name, (height, width) in SHAPES.items():
        for fold, (left, right) in enumerate(((0, 64), (64, width))):
            box = {"y0": 0, "x0": left, "y1": height, "x1": right, "buffer": BUFFER}
            rows.append({"image_id": name, "fold": fold, "excluded_from": "", **box})
    folds = pd.DataFrame(rows)
    scores: dict[int, Mapping[str, Any]] = {
        fold: make_validator(space, folds, fold)(LeftHalf(64)) for fold in (0, 1)
    }  # fmt: skip
    assert scores[0]["score"] == scores[0]["at_0.5"] == 1 and scores[1]["at_0.5"] == 0
    shapes = {scores[0][name].shape[:2] for name in scores[0] if name.startswith("worst")}
    assert shapes == {(height, 64) for height, _ in SHAPES.values()}


def test_the_stages_after_training_take_blocks(
    trained: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, arguments = trained
    own = folder / "runs/drawn/tiny"
    stage("05_predict_oof")(arguments)
    said = capsys.readouterr().out
    assert "2 images predicted, each by the fold that held it out" in said and "2 images predicted view by view" in said
    assert not list(own.rglob(SCRATCH))
    stage("05_predict_oof")(arguments)
    assert capsys.readouterr().out.count("already made") == 4
    run_stages(arguments, ("06", "07"))
    scores = read_scores(own)
    assert len(scores) == 8 and set(scores["group"]) == {"p0", "p1"} and scores["image_id"].str.contains("@y").all()
    assert {"views.csv", "shifts.csv", "nested_scores.csv"} <= {path.name for path in (own / "tuning").iterdir()}
    assert (own / "submission.csv").is_file()
    run = open_finished(own, data=folder / "data", competition=folder / "drawn.yaml")
    for unit in run.units:
        block = unit.items[0].block
        assert block is not None
        assert look_at(run, unit).image.shape[:2] == (block.y1 - block.y0, block.x1 - block.x0)
    assert scores["image_id"].iloc[0] in page_of(folder, "tiny")


def test_shards_of_blocks_are_joined_by_the_last_one(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, arguments = trained
    stage("05_predict_oof")(arguments)
    whole, runs = folder / "runs/drawn/tiny", tmp_path / "runs"
    shutil.copytree(folder / "runs", runs)
    own = runs / "drawn/tiny"
    for name in ("oof", "oof_views", "oof_shifts", "oof_copies"):
        shutil.rmtree(own / name, ignore_errors=True)
    for shard in ("2/2", "1/2"):
        assert not (own / "oof/stage.json").exists()
        stage("05_predict_oof")([*arguments, "--runs", str(runs), "--shard", shard])
    files = [path.relative_to(whole) for path in whole.glob("oof*/**/*.h5")]
    assert len(files) >= 6 and not list(own.rglob(SCRATCH))
    for path in files:
        assert np.array_equal(read(own / path), read(whole / path)), path


def test_predictions_of_whole_images_are_refused(trained: tuple[Path, list[str]]) -> None:
    space = space_of(trained[1])
    with pytest.raises(ValueError, match=r"predicted whole by one fold each.* 05_predict_oof\.py tiny --overwrite"):
        replace(run_of(space), format=1).table(space)
    assert len(run_of(space).table(space)) == 8


def test_a_block_names_its_part() -> None:
    assert Block(0, 48, 72, 104).named("a") == "a@y0-72x48-104"
