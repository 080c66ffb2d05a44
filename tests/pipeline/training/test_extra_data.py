"""Pseudo-labels come from models that never trained on what is validated; external data is for training only."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_hosts import write_rle_host
from tiny_run import EXPERIMENT, write_tiny_experiment

from inference.predict.store import prediction_path, write_prediction
from pipeline.data.store import create_store
from pipeline.experiment import Experiment
from pipeline.sequence import run_stages
from pipeline.settings.training import TrainSettings
from pipeline.training import extra_data, validation
from pipeline.training.dataset import TrainingSet
from pipeline.training.extra_data import check_predictions, external_data, fill_pseudo_store, pseudo_target
from pipeline.training.loader import Sample
from pipeline.training.mixture import Extra, Mixture
from submissions.host.truth import SOFT_TOP
from submissions.images.opening import ArrayReader


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def sample(self, epoch: int, index: int) -> Sample:
        return Sample(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.uint8), 1.0, self.name)


def experiment(**options: Any) -> Experiment:
    return Experiment(name="ours", competition="drawn", input={"channels": 1, "mean": [0.0], "std": [1.0]}, **options)


def test_a_mixture_keeps_its_shares_and_follows_from_its_seed() -> None:
    mixture = Mixture(Named("own"), [Extra(0.25, Named("pseudo"))], 3)
    names = [mixture.sample(epoch, index).name for epoch in range(4) for index in range(100)]
    assert 70 < names.count("pseudo") < 130
    again = Mixture(Named("own"), [Extra(0.25, Named("pseudo"))], 3)
    assert names == [again.sample(epoch, index).name for epoch in range(4) for index in range(100)]


def test_hard_soft_and_exclusive_targets() -> None:
    probs = np.array([[[255, 0], [240, 20], [128, 100]]], np.uint8)
    hard = pseudo_target(probs, TrainSettings(pseudo_confidence=0.9), exclusive=False)
    assert hard.tolist() == [[[1, 1, 255]], [[0, 0, 255]]]
    soft = pseudo_target(probs, TrainSettings(pseudo_confidence=0.9, pseudo_soft=True), exclusive=False)
    assert soft[0, 0, 0] == SOFT_TOP and soft[0, 0, 1] == round(240 / 255 * SOFT_TOP)
    assert soft[:, 0, 2].tolist() == [255, 255]
    label = pseudo_target(probs, TrainSettings(pseudo_confidence=0.9), exclusive=True)
    assert label.tolist() == [[0, 0, 255]]


def write_stage(folder: Path, fold: int, folds_hash: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    identity = {"settings": {"fold": fold}, "inputs": {"folds": folds_hash}}
    (folder / "stage.json").write_text(json.dumps({"identity": identity, "fingerprint": "x"}))


def test_only_predictions_of_the_same_fold_of_the_same_split_are_taken(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="with --keep-folds"):
        check_predictions(tmp_path, 1, "abc")
    folder = tmp_path / "test_folds" / "fold_1"
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="missing or unfinished"):
        check_predictions(tmp_path, 1, "abc")
    write_stage(folder, 1, "abc")
    assert check_predictions(tmp_path, 1, "abc") == folder
    with pytest.raises(ValueError, match="fold file abc, this one by def"):
        check_predictions(tmp_path, 1, "def")
    write_stage(folder, 0, "abc")
    with pytest.raises(ValueError, match="model of fold 0"):
        check_predictions(tmp_path, 1, "abc")


class DrawnImages:
    """Stands for a listing: every image is 20 x 28 and grey."""

    competition = SimpleNamespace(images=SimpleNamespace(pixel_size_um=None))

    def row(self, image_id: str) -> dict[str, Any]:
        return {"image_id": image_id}

    def open_alone(self, image_id: str) -> ArrayReader:
        return ArrayReader(np.full((1, 20, 28, 1), 7, np.uint8))


def test_predicted_images_become_samples(tmp_path: Path) -> None:
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    probs = np.zeros((1, 20, 28), np.uint8)
    probs[:, :10] = 255
    probs[:, 10] = 128
    write_prediction(prediction_path(predictions, "t1"), probs, ["mask"])
    listing = pd.DataFrame({"image_id": ["t1", "t2"], "stack": ["t1", "t2"], "z": 0})
    store = create_store(tmp_path / "store")
    ours = experiment(model={"classes": ["mask"]}, train={"patch": [20, 28]}, augment={"recipe": "none"})
    images: Any = DrawnImages()
    rows = fill_pseudo_store(store, predictions, images, listing, experiment=ours)
    assert rows["image_id"].tolist() == ["t1"] and rows["empty"].tolist() == [0]
    target = store.image("t1").read_target(0)
    assert target[0, 9].tolist() == [1] * 28 and set(target[0, 10].tolist()) == {255}
    again = fill_pseudo_store(store, predictions, images, listing, experiment=ours)
    assert again.equals(rows)
    other = experiment(model={"classes": ["cell"]})
    with pytest.raises(ValueError, match="expected the classes"):
        fill_pseudo_store(create_store(tmp_path / "other"), predictions, images, listing, experiment=other)
    with pytest.raises(ValueError, match="no prediction of a test image"):
        fill_pseudo_store(create_store(tmp_path / "third"), tmp_path, images, listing, experiment=ours)


def test_soft_labels_become_shares_and_a_trace_of_a_class_is_no_foreground(tmp_path: Path) -> None:
    probs = np.full((1, 20, 28), 1, np.uint8)  # of 255: next to nothing
    write_prediction(prediction_path(tmp_path, "t1"), probs, ["mask"])
    probs[:, :10], probs[:, 10] = 240, 128
    write_prediction(prediction_path(tmp_path, "t2"), probs, ["mask"])
    listing = pd.DataFrame({"image_id": ["t1", "t2"], "stack": ["t1", "t2"], "z": 0})
    store, images = create_store(tmp_path / "store"), cast(Any, DrawnImages())
    train = {"patch": [20, 28], "pseudo_soft": True}
    ours = experiment(model={"classes": ["mask"]}, train=train, augment={"recipe": "none"})
    rows = fill_pseudo_store(store, tmp_path, images, listing, experiment=ours)
    assert rows["empty"].tolist() == [1, 0]
    folds = pd.DataFrame({"image_id": rows["image_id"], "fold": -1, "excluded_from": ""})
    source = TrainingSet(store, folds, 0, experiment=ours, inventory=rows, seed=1)
    shares = source.windows(tissue=False)["foreground_mask"].tolist()
    assert shares == [0.0, pytest.approx(10 / 19)], "of the rows that are sure"
    found = {value for index in range(8) for value in np.unique(source.sample(0, index).target)}
    assert found == {np.float32(1 / 254), np.float32(239 / 254), np.float32(255)}


def test_external_images_that_are_ours_too_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = create_store(tmp_path / "store")
    for name in ("a", "b"):
        store.write(name, np.zeros((1, 20, 28, 1), np.uint8), np.zeros((1, 1, 20, 28), np.uint8))
    theirs = pd.DataFrame(
        {"image_id": ["a", "b"], "stack": ["a", "b"], "z": 0, "empty": 0, "content_hash": ["h1", "h2"]}
    )
    ours = pd.DataFrame({"image_id": ["x"], "content_hash": ["h2"]})
    other = experiment(model={"classes": ["mask"]})
    monkeypatch.setattr(extra_data, "load_experiment", lambda name: other)
    monkeypatch.setattr(extra_data, "load_competition", lambda name: None)
    monkeypatch.setattr(extra_data, "resolve", lambda loaded, contract: loaded)
    monkeypatch.setattr(extra_data, "open_prepared", lambda space: (store, "f"))

    class Space(SimpleNamespace):
        def training_images(self) -> tuple[pd.DataFrame, str]:
            return (ours if self.mine else theirs), "hash"

    monkeypatch.setattr(extra_data, "Workspace", lambda loaded, *rest: Space(experiment=loaded, mine=False))
    wanted = {"experiment": "other", "share": 0.4, "weight": 0.5}
    mine: Any = Space(experiment=experiment(external=[wanted], train={"patch": [20, 28]}), runs=tmp_path, mine=True)
    extra = external_data(mine, 0)
    assert extra.share == 0.4
    samples = [extra.source.sample(0, index) for index in range(8)]
    assert {sample.name.split()[0] for sample in samples} == {"a"} and samples[0].weight == 0.5
    other.model.classes = ["cell"]
    with pytest.raises(ValueError, match=r"has the classes \['cell'\]"):
        external_data(mine, 0)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("model", {"activation": "softmax"}), ("input", {"normalisation": "percentile"}),
        ("input", {"scale": 0.5}), ("input", {"pixel_size_um": 0.25}),
    ]  # fmt: skip
    for section, change in changes:
        unlike = experiment(model={"classes": ["mask"]})
        update = {section: getattr(unlike, section).model_copy(update=change)}
        other = unlike.model_copy(update=update)
        (key,) = change
        with pytest.raises(ValueError, match=rf"'other' has the {section}\.{key}"):
            external_data(mine, 0)
    other = unlike.model_copy(update={"input": unlike.input.model_copy(update={"channels": 3})})
    assert external_data(mine, 0).share == 0.4
    by_image = {"normalisation": "image"}
    mine.experiment = mine.experiment.model_copy(update={"input": mine.experiment.input.model_copy(update=by_image)})
    other = other.model_copy(update={"input": other.input.model_copy(update=by_image)})
    with pytest.raises(ValueError, match=r"'other' has the input.channels 3, expected this experiment's 1"):
        external_data(mine, 0)


def write_external(folder: Path, name: str) -> dict[str, str]:
    """A contract of its own, with images a_0 to a_5 (name a): the first is one of ours, others are darker; stored."""
    competition = write_rle_host(folder / name / "data", train=6, test=0)
    table = pd.read_csv(folder / name / "data/train.csv", keep_default_na=False)
    for number, image_id in enumerate(table["id"]):
        path = folder / name / "data/train" / f"{image_id}.png"
        if number:
            cv2.imwrite(str(path), cv2.imread(str(path)) // 2 + len(name))
        path.rename(path.with_name(f"{name}_{number}.png"))
    table.assign(id=[f"{name}_{number}" for number in range(6)]).to_csv(folder / name / "data/train.csv", index=False)
    contract = {**competition.model_dump(mode="json", exclude_unset=True), "name": name, "submission": None}
    contract["images"] = {"train": "train/{id}.png"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(contract))
    path = folder / name / "prepared.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "name": "prepared", "competition": str(folder / f"{name}.yaml")}))
    run_stages([str(path), "--data", str(folder / name / "data"), "--runs", str(folder / "runs")], ("01", "03"))
    return {"experiment": str(path), "data": str(folder / name / "data")}


def test_two_other_contracts_are_trained_on_and_never_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [
        {**write_external(tmp_path, "a"), "share": 0.25, "weight": 0.5},
        {**write_external(tmp_path, "bb"), "share": 0.5, "weight": 2.0},
    ]
    settings = {**EXPERIMENT["train"], "epochs": 1, "steps_per_epoch": 20, "validate_every": 1, "validate_images": 8}
    arguments = write_tiny_experiment(tmp_path, train=8, test=1, external=wanted)
    document = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**document, "train": settings}))
    taken: list[Sample] = []
    validated: set[str] = set()
    sample, predict = Mixture.sample, validation.predict_listed

    def noting(self: Mixture, epoch: int, index: int) -> Sample:
        taken.append(sample(self, epoch, index))
        return taken[-1]

    def predicting(members: Any, images: Any, image_ids: Any, *rest: Any, **options: Any) -> Any:
        validated.update(image_ids)
        return predict(members, images, image_ids, *rest, **options)

    monkeypatch.setattr(Mixture, "sample", noting)
    monkeypatch.setattr(validation, "predict_listed", predicting)
    run_stages(arguments, ("01", "02", "03", "04", "05"))
    weights = {name: {each.weight for each in taken if each.name.startswith(name)} for name in ("a_", "bb_", "train")}
    assert weights == {"a_": {0.5}, "bb_": {2.0}, "train": {1.0}}
    seen = [each.name.split()[0] for each in taken]
    shares = [sum(name.startswith(start) for name in seen) / len(seen) for start in ("a_", "bb_")]
    assert shares == [pytest.approx(0.25, abs=0.13), pytest.approx(0.5, abs=0.13)]
    assert not {"a_0", "bb_0"} & set(seen)  # also ours, so they could be held out
    ours = {f"train{number:02d}" for number in range(8)}
    own = tmp_path / "runs/drawn/tiny"
    (folds,) = (tmp_path / "runs/drawn/folds").glob("*/folds.csv")
    assert set(pd.read_csv(folds)["image_id"]) == ours == validated
    assert {path.stem for path in (own / "oof").glob("*.h5")} == ours
    identity = json.loads((own / "fold_0/stage.json").read_text())["identity"]
    assert [each["weight"] for each in identity["settings"]["external"]] == [0.5, 2.0]
    assert {"external_0", "external_1"} <= set(identity["inputs"])
    change_external(tmp_path, 1, data=str(tmp_path / "moved"))
    capsys.readouterr()
    run_stages(arguments, ("04",))
    assert capsys.readouterr().out.count("already made") == 2
    change_external(tmp_path, 1, weight=3.0)
    with pytest.raises(SystemExit):
        run_stages(arguments, ("04",))
    assert "external: was" in capsys.readouterr().err


def change_external(folder: Path, number: int, **change: Any) -> None:
    document = yaml.safe_load((folder / "tiny.yaml").read_text())
    document["external"][number] |= change
    (folder / "tiny.yaml").write_text(yaml.safe_dump(document))
