"""Volumes along several axes: what is drawn for training is what prediction reads."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from finished_page import page_of, run_cells
from tiny_run import EXPERIMENT
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.axes import TurnedReader, turned_shape
from inference.predict.predictor import predict_image
from inference.predict.store import open_prediction
from inference.weights import LoadedModel
from pipeline.data.patch_index import Window, grid_index, window_odds
from pipeline.data.store import Store, create_store
from pipeline.data.volume_axes import along
from pipeline.experiment import Experiment
from pipeline.report.finished_run import open_finished
from pipeline.report.thresholds import candidate_scores, class_scores
from pipeline.sequence import run_stages
from pipeline.settings.training import AugmentSettings, TrainSettings
from pipeline.training.dataset import TrainingSet
from submissions.images.opening import ArrayReader

DEPTH, HEIGHT, WIDTH = 7, 10, 13
TURNED = {"y": (1, 0, 2), "x": (2, 0, 1)}


def drawn_store(folder: Path, kind: Any = "memmap", *, exclusive: bool = False) -> tuple[Store, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    image = rng.integers(0, 60000, (DEPTH, HEIGHT, WIDTH, 1)).astype(np.uint16)
    shape = (DEPTH, HEIGHT, WIDTH) if exclusive else (DEPTH, 2, HEIGHT, WIDTH)
    target = rng.integers(0, 2, shape).astype(np.uint8)
    store = create_store(folder, kind)
    store.write("v", image, target, {"host": [DEPTH, HEIGHT, WIDTH]})
    return store, image, target


@pytest.mark.parametrize("kind", ["memmap", "hdf5"])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("axis", ["y", "x"])
def test_a_plane_is_the_volume_cut_across_the_axis(tmp_path: Path, kind: str, exclusive: bool, axis: str) -> None:
    store, image, target = drawn_store(tmp_path, kind, exclusive=exclusive)
    whole = image.transpose(*TURNED[axis], 3)
    planes = (target[:, None] if exclusive else target).transpose(1, 0, 2, 3)
    expected = np.stack([plane.transpose(TURNED[axis]) for plane in planes], axis=1)
    seen = along(store.image("v"), axis)
    assert seen.shape == whole.shape == turned_shape(image.shape, axis) and seen.dtype == np.uint16
    assert seen.target_shape == (expected[:, 0].shape if exclusive else expected.shape)
    rows, cols = slice(2, 6), slice(1, 5)
    for plane in range(seen.shape[0]):
        assert np.array_equal(seen.read(plane), whole[plane])
        assert np.array_equal(seen.read(plane, rows, cols), whole[plane, rows, cols])
        cut = seen.read_target(plane, rows, cols)
        assert np.array_equal(cut, expected[plane, 0 if exclusive else slice(None), rows, cols])
    assert along(store.image("v"), "z") is store.image("v")
    TurnedReader(ArrayReader(image), axis).close()


def test_the_index_covers_every_voxel_along_every_axis_and_axes_are_drawn_alike(tmp_path: Path) -> None:
    store, _, target = drawn_store(tmp_path)
    parts = {axis: grid_index(store.image("v"), (5, 6), ["a", "b"], axis=axis) for axis in "zyx"}
    for axis, part in parts.items():
        seen = along(store.image("v"), axis)
        covered = np.zeros(seen.shape[:3], int)
        for row in part.itertuples():
            window = (row.z, slice(row.y, row.y + row.height), slice(row.x, row.x + row.width))
            covered[window] += 1
            assert row.foreground_b == pytest.approx(seen.read_target(*window)[1].mean())
        assert covered.min() >= 1
    index = pd.concat(parts.values(), ignore_index=True)
    odds = pd.Series(window_odds(index, foreground=0)).groupby(index["axis"]).sum()
    np.testing.assert_allclose(odds, 1 / 3)
    assert target.any()


class Recorder(nn.Module):
    """Keeps what it, or any copy of it, is shown."""

    seen: ClassVar[list[np.ndarray]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += list(x.numpy().copy())
        return x[:, :1] * 0


def as_asked(window: Window, generator: np.random.Generator) -> Window:
    """A draw that is not left to chance."""
    return window


@pytest.mark.parametrize("boundary", ["clamp", "reflect", "zero"])
@pytest.mark.parametrize("normalisation", ["fixed", "image", "percentile"])
def test_a_training_sample_is_what_the_predictor_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalisation: Any, boundary: Any
) -> None:
    store, image, _ = drawn_store(tmp_path / "store")
    shown = InputConfig(
        channels=1, offsets=[-2, 0, 1], boundary=boundary, normalisation=normalisation, mean=[0.4], std=[0.2]
    )
    inventory = pd.DataFrame({"image_id": ["v"], "stack": ["v"], "z": 0, "empty": 0})
    folds = pd.DataFrame({"image_id": ["v"], "fold": [1], "excluded_from": [""]})
    for axis in "zyx":
        planes, *size = turned_shape(image.shape, axis)[:3]
        Recorder.seen.clear()
        settings = ModelConfig(in_channels=3, classes=["a"])
        config = PredictConfig(axes=[axis], tile=tuple(size), overlap=0, precision="fp32")
        member = LoadedModel(Recorder(), settings, shown, config, tmp_path)
        predict_image([member], ArrayReader(image), range(DEPTH), config, tmp_path / "v.h5")
        seen = [plane for plane in Recorder.seen if plane.shape[1:] == tuple(size)][-planes:]  # after a trial
        source = TrainingSet(store, folds, 0, experiment=drawn(shown, tuple(size), axis), inventory=inventory, seed=3)
        for plane in range(planes):
            window = Window("v", plane, 0, 0, *size, axis)
            monkeypatch.setattr(source, "draw", partial(as_asked, window))
            sample = source.sample(0, plane)
            assert len(seen) == planes and np.array_equal(sample.image, seen[plane]), (axis, plane)
            assert np.array_equal(sample.target, along(store.image("v"), axis).read_target(plane))
            assert sample.name == f"v {'z' if axis == 'z' else f'across {axis}'}={plane} y=0 x=0"


def drawn(shown: InputConfig, patch: tuple[int, int], *axes: Any, recipe: str = "none") -> Experiment:
    return Experiment(
        name="drawn", competition="drawn", input=shown, model=ModelConfig(classes=["a", "b"]),
        train=TrainSettings(patch=patch, axes=list(axes)), augment=AugmentSettings(recipe=recipe),
    )  # fmt: skip


def test_samples_come_from_all_axes(tmp_path: Path) -> None:
    store, *_ = drawn_store(tmp_path)
    inventory = pd.DataFrame({"image_id": ["v"], "stack": ["v"], "z": 0, "empty": 0})
    folds = pd.DataFrame({"image_id": ["v"], "fold": [1], "excluded_from": [""]})
    shown = InputConfig(channels=1, mean=[0.0], std=[1.0])
    every = drawn(shown, (16, 8), "z", "y", "x", recipe="flips")
    source = TrainingSet(store, folds, 0, experiment=every, inventory=inventory, seed=3)
    samples = [source.sample(0, index) for index in range(60)]
    assert {sample.image.shape for sample in samples} == {(1, 16, 8)}
    names = [sample.name.split()[1:3] for sample in samples]
    counts = [sum(name[0].startswith("z=") for name in names)]
    counts += [sum(name[0] == "across" and name[1].startswith(f"{axis}=") for name in names) for axis in "yx"]
    assert sum(counts) == 60 and min(counts) >= 10
    blocks = folds.assign(y0=0, x0=0, y1=HEIGHT, x1=WIDTH, buffer=0)
    with pytest.raises(ValueError, match=r"train\.axes is \['y'\], but folds\.method blocks"):
        TrainingSet(store, blocks, 0, experiment=drawn(shown, (16, 8), "y"), inventory=inventory, seed=3)


def test_what_has_no_other_axes_is_refused(tmp_path: Path) -> None:
    store, image, target = drawn_store(tmp_path)
    store.write("flat", image[:1], target[:1])
    with pytest.raises(ValueError, match="'flat' has one slice"):
        along(store.image("flat"), "y")
    store.write("small", image, target, {"host": [DEPTH, 2 * HEIGHT, 2 * WIDTH]})
    with pytest.raises(ValueError, match=r"leave out input\.scale"):
        along(store.image("small"), "x")
    with pytest.raises(ValueError, match="axis 'w'"):
        along(store.image("v"), "w")
    assert TrainSettings(axes=["x", "z", "x"]).axes == ["z", "x"]


def test_a_volume_goes_through_the_stages_along_three_axes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(4):
        label = np.zeros((11, 9, 6), np.uint8)  # x, y, z
        label[2 : 6 + number, 2:6, 1:5] = 1
        image = (label * 90 + rng.integers(0, 60, label.shape)).astype(np.uint8)
        for folder, array in (("images", image), ("labels", label)):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "data" / folder / f"v{number}.nii.gz")
    contract = {
        "name": "drawn", "images": {"kind": "volumes", "train": "images/{id}.nii.gz"}, "exclusive": True,
        "masks": {"kind": "images", "path": "labels/{id}.nii.gz", "values": {0: "background", 1: "thing"}},
        "classes": ["background", "thing"], "metric": {"name": "dice", "classes": ["thing"]},
    }  # fmt: skip
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump(contract))
    experiment = {
        **EXPERIMENT, "name": "tiny", "competition": str(tmp_path / "drawn.yaml"), "folds": {"n": 2},
        "input": {"channels": 1, "offsets": [-1, 0, 1], "mean": [0.5], "std": [0.5], "normalisation": "percentile"},
        "loss": {"name": "ce_dice"},
        "train": {**EXPERIMENT["train"], "epochs": 1, "axes": ["z", "y", "x"]},
        "predict": {"mode": "whole", "axes": ["z", "y", "x"]},
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    places = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    run_stages([str(tmp_path / "tiny.yaml"), *places], ("01", "02", "03", "04", "05", "06"))
    (index,) = (tmp_path / "runs/drawn/store").glob("*/patches-32x32-zyx.csv")
    assert pd.read_csv(index).groupby(["image_id", "axis"]).size().loc["v0"].to_dict() == {"x": 11, "y": 9, "z": 6}
    own = tmp_path / "runs/drawn/tiny"
    assert json.loads((own / "fold_0/stage.json").read_text())["identity"]["settings"]["train"]["axes"] == [*"zyx"]
    with open_prediction(own / "oof/v3.h5") as prediction:
        assert prediction.read().shape == (2, 6, 9, 11)
    page = page_of(tmp_path, "tiny")
    assert "Classes exclude each other" in page and 'id="class-scores-figure"' in page
    assert 'id="candidate-scores-figure"' in page and ">v3<" in page
    finished = open_finished(own, data=tmp_path / "data", competition=tmp_path / "drawn.yaml")
    (alone,) = class_scores(finished).to_dict("records")
    assert alone == {"class": "thing", "score": pytest.approx(finished.tuned["score"])}
    assert len(candidate_scores(finished)) == len(pd.read_csv(own / "tuning/curves.csv"))
    shown = run_cells("02_thresholds", run=finished)
    assert shown["found"] is None and len(shown["looks"]) == 4
