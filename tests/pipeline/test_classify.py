"""Classifiers through the stages: a table of classes to a submission, and a gate for another experiment's masks."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_hosts import SHAPE, rle_contract
from finished_page import page_of, run_cells
from tiny_run import EXPERIMENT, stage, write_tiny_experiment

from inference.bundle.bundle import run
from inference.config import ModelConfig
from inference.decide.decision import load_decision
from inference.predict.store import open_prediction
from inference.weights import load_model
from pipeline.contract_fit import resolve
from pipeline.experiment import Experiment
from pipeline.prediction.classification_results import classification_scores
from pipeline.report.finished_run import learning_curves, open_finished
from pipeline.sequence import run_stages
from pipeline.training import trainer
from pipeline.training.classification_dataset import ImageSet, image_target
from pipeline.training.fold_training import training_set
from submissions.host.competition import Competition, load_competition

spec = importlib.util.spec_from_file_location(
    "drawn_training", Path(__file__).parents[1] / "support" / "drawn_training.py"
)
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)

LENET = {"model": {"architecture": "lenet"}, "task": "classify"}


def draw_kind(kind: int, seed: int) -> np.ndarray:
    """uint8 (H, W, 3) of unequal width: stripes across, stripes down, or none, with noise."""
    height, width = SHAPE[0], SHAPE[1] + seed % 5
    row, col = np.mgrid[:height, :width]
    pattern = [(row // 5) % 2, (col // 5) % 2, np.zeros((height, width), int)][kind]
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    return (pattern[..., None] * 150 + noise).astype(np.uint8)


def write_labels(folder: Path, *, train: int = 45, test: int = 9) -> list[str]:
    """Images of three kinds, a table of their labels, contract and experiment; returns every stage's arguments."""
    sample = []
    for split, count in (("train", train), ("test", test)):
        (folder / "data" / split).mkdir(parents=True)
        names = [f"{split}{n:02d}" for n in range(count)]
        for n, name in enumerate(names):
            cv2.imwrite(str(folder / f"data/{split}/{name}.png"), draw_kind(n % 3, n))
        sample = [{"image_id": f"{name}.png", "label": "a"} for name in names]
        if split == "train":
            rows = [{"image_id": row["image_id"], "label": "abc"[n % 3]} for n, row in enumerate(sample)]
            pd.DataFrame(rows).to_csv(folder / "data/train.csv", index=False)
    pd.DataFrame(sample).to_csv(folder / "data/sample_submission.csv", index=False)
    document = load_competition("cassava-2021").model_dump(mode="json", exclude_unset=True)
    document |= {"name": "kinds", "classes": ["a", "b", "c"]}
    document["images"] = {"train": "train/{id}.png", "test": "test/{id}.png"}
    for table in (document["tables"][0], document["masks"]["table"]):
        table["strip"] = ".png"
    document["submission"] |= {"id_template": "{id}.png", "code_competition": False}
    (folder / "kinds.yaml").write_text(yaml.safe_dump(document))
    train_ = {"epochs": 2, "steps_per_epoch": 25, "batch_size": 8, "patch": [32, 32], "lr": 0.005, "validate_every": 1}
    experiment: dict[str, Any] = {**EXPERIMENT, **LENET, "competition": str(folder / "kinds.yaml"), "train": train_}
    experiment["folds"] = {"method": "stratified", "n": 2}
    (folder / "lenet.yaml").write_text(yaml.safe_dump(experiment))
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs"), "--device", "cpu"]
    return [str(folder / "lenet.yaml"), *places]


def log_of(fold: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (fold / "log.jsonl").read_text().splitlines()]


def test_a_table_of_classes_becomes_a_submission(tmp_path: Path) -> None:
    run_stages(write_labels(tmp_path))
    own = tmp_path / "runs/kinds/lenet"
    made = json.loads((own / "oof/stage.json").read_text())
    assert made["accuracy"] > 0.8
    answers = pd.read_csv(own / "oof/answers.csv")
    assert len(answers) == 45 and sorted(set(answers["fold"])) == [0, 1]
    assert classification_scores(answers, ["a", "b", "c"], exclusive=True)["accuracy"] == made["accuracy"]
    assert (own / "pictures/answers.png").is_file()
    log = log_of(own / "fold_0")
    assert [set(row["validation"]) for row in log] == [{"accuracy", "loss"}] * 2
    tuned = json.loads((own / "tuning/stage.json").read_text())
    assert tuned["score"] == pytest.approx(made["accuracy"]) and tuned["interval"][0] <= tuned["score"]
    said = pd.read_csv(own / "submission.csv")
    assert list(said.columns) == ["image_id", "label"]
    right = [label == "abc"[n % 3] for n, label in enumerate(said["label"])]
    assert np.mean(right) > 0.75
    assert json.loads((own / "fold_0/stage.json").read_text())["identity"]["settings"]["task"] == "classify"
    page = page_of(tmp_path, "lenet")
    assert "lenet predicts whole images and has no masks" in page and "<canvas" not in page
    assert "share of validation images classified correctly" in page and 'id="class-scores-figure"' in page
    assert 'id="confusion-figure"' in page and "Expected calibration error 0." in page and 'href="#answers"' in page
    finished = open_finished(own, data=tmp_path / "data", competition=tmp_path / "kinds.yaml")
    curves = learning_curves(finished)
    assert curves["score"].tolist() == [row["validation"]["accuracy"] for row in (*log, *log_of(own / "fold_1"))]
    assert [unit.items[0].truth().planes.shape for unit in finished.units[:2]] == [(3, 1, 1, 1)] * 2
    shown = run_cells("02_thresholds", run=finished)
    assert shown["found"] is None and not shown["looks"] and len(shown["alone"]) == 3


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """A network for masks and a classifier of the same folds, both predicted: (folder, arguments of each)."""
    folder = tmp_path_factory.mktemp("gated")
    own = write_tiny_experiment(folder)
    run_stages(own, ("01", "02", "03", "04", "05"))
    document = {"competition": str(folder / "drawn.yaml"), **EXPERIMENT, **LENET, "predict": {"views": ["hflip"]}}
    (folder / "lenet.yaml").write_text(yaml.safe_dump(document))
    classifier = [str(folder / "lenet.yaml"), *own[1:]]
    run_stages(classifier)
    return folder, own, classifier


def test_a_classifier_gates_the_masks_of_another_experiment(
    gated: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, own, classifier = gated
    stage("06_tune")(classifier)
    assert "nothing to do here. Another experiment can use it as its gate: tune.gate=lenet" in capsys.readouterr().out
    with_rule = [*own, "--set", "tune.gate=lenet", "--set", "tune.rule=gated_classifier"]
    run_stages(with_rule, ("06", "07"))
    made = folder / "runs/drawn/tiny"
    page = page_of(folder, "tiny")
    assert "rule: gated_classifier" in page and page.count("<canvas") == 6
    decision = load_decision(made / "tuning/decision.json")
    assert "classifier:thing" in decision.channels or decision.classifier is None
    asked = decision.model_copy(
        update={
            "classifier": "lenet", "channels": ["thing", "classifier:thing"],
            "gate": decision.gate or {"channel": "classifier:{class}", "top": [1], "area": [1]},
        }
    )  # fmt: skip
    (made / "tuning/decision.json").write_text(asked.model_dump_json())
    stage("07_predict_test")([*with_rule, "--overwrite"])
    answers = sorted((made / "test/classified").glob("*.h5"))
    assert len(answers) == 6
    with open_prediction(answers[0]) as prediction:
        assert prediction.shape == (1, 1, 1)
    identity = json.loads((made / "test/stage.json").read_text())["identity"]
    assert "answers of lenet" in identity["inputs"]
    stage("08_bundle")([*with_rule, "--no-wheels"])
    run(made / "bundle", folder / "data", folder / "again/submission.csv", device="cpu")
    assert (folder / "again/submission.csv").read_bytes() == (made / "submission.csv").read_bytes()
    assert len(list((folder / "again/predictions/classified").glob("*.h5"))) == 6


def test_a_gate_that_is_not_out_of_fold_or_no_classifier_is_refused(
    gated: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, own, classifier = gated
    with pytest.raises(SystemExit):
        stage("06_tune")([*own, "--set", "tune.gate=lenet", "--set", "name=again"])
    assert "run 05_predict_oof.py again" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        stage("06_tune")([*own, "--set", "tune.gate=tiny", "--overwrite"])
    assert "'tiny' is a unet, which predicts pixels" in capsys.readouterr().err
    other = [*classifier, "--set", "name=other", "--set", "seed=5", "--set", "folds.use=[0]"]
    run_stages(other, ("02", "04", "05"))
    with pytest.raises(SystemExit):
        stage("06_tune")([*own, "--set", "tune.gate=other", "--overwrite"])
    assert "its predictions would not be out of fold" in capsys.readouterr().err


def lenet() -> Experiment:
    plain = drawn.drawn_experiment()
    given = {"task": "classify", "model": ModelConfig(architecture="lenet")}
    return resolve(plain.model_copy(update=given), rle_contract())


def test_a_training_that_is_stopped_ends_as_an_undisturbed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = drawn.draw_store(tmp_path / "store")
    drawn.train_drawn(store, tmp_path / "whole", lenet())
    step, left = trainer.Trainer.step, iter(range(3))

    def dying(self: trainer.Trainer, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Trainer, "step", dying)
        drawn.train_drawn(store, tmp_path / "broken", lenet())
    drawn.train_drawn(store, tmp_path / "broken", lenet())
    whole, broken = (load_model(tmp_path / name).model.state_dict() for name in ("whole", "broken"))
    assert all(bool((whole[name] == broken[name]).all()) for name in whole)


def test_samples_are_whole_images_with_what_they_show(tmp_path: Path) -> None:
    store, (inventory, folds) = drawn.draw_store(tmp_path), drawn.tables()
    experiment = lenet()
    source = training_set(experiment, 0, store=store, folds=folds, inventory=inventory)
    assert isinstance(source, ImageSet)
    taken = [source.sample(0, index) for index in range(30)]
    assert {sample.image.shape for sample in taken} == {(3, 32, 48)}
    assert {sample.name: sample.target.tolist() for sample in taken} == {"im1": [1.0], "im3": [1.0], "im5": [0.0]}
    label = np.array([[0, 2, 255], [0, 0, 2]], np.uint8)
    assert image_target(label, 3, exclusive=False).tolist() == [1, 0, 1]
    assert image_target(np.full((2, 3), 2, np.uint8), 3, exclusive=True) == 2
    assert image_target(np.full((1, 2, 3), 255, np.uint8), 1, exclusive=False).tolist() == [255]


def test_accuracy_and_loss_are_those_of_the_definition() -> None:
    table = pd.DataFrame({"p_a": [0.7, 0.2], "p_b": [0.3, 0.8], "is_a": [True, True], "is_b": [False, False]})
    one = classification_scores(table, ["a", "b"], exclusive=True)
    assert one == {"accuracy": 0.5, "loss": pytest.approx(-(np.log(0.7) + np.log(0.2)) / 2)}
    many = classification_scores(table, ["a", "b"], exclusive=False)
    expected = -np.mean(np.log([[0.7, 0.7], [0.2, 0.2]]))
    assert many == {"accuracy": 0.5, "loss": pytest.approx(expected)}


@pytest.mark.parametrize(
    ("contract", "change", "message"),
    [
        (load_competition("cassava-2021"), {"task": "segment"}, "set task: classify"),
        (rle_contract(), {"augment": {"cutmix": 0.5}}, "augment.cutmix cannot be used with task classify"),
        (rle_contract(), {"loss": {"name": "focal"}}, "but task classify needs 'classify'"),
        (rle_contract(), {"loss": {"name": "classify"}, "task": "segment"}, "is for whole images; set task: classify"),
        (rle_contract(), {"predict": {"mode": "tiles"}}, "predict.mode is 'tiles'"),
        (rle_contract(), {"input": {"scale": 0.5}}, "input.scale cannot be used with task classify"),
        (rle_contract(), {"train": {"axes": ["z", "y"]}}, "train.axes cannot be used with task classify"),
    ],
)
def test_what_a_classifier_cannot_do_is_refused(contract: Competition, change: dict[str, Any], message: str) -> None:
    document = {"name": "x", "competition": "x", "task": "classify", "model": {"architecture": "lenet"}, **change}
    with pytest.raises(ValueError, match=message):
        resolve(Experiment.model_validate(document), contract)


def test_a_network_for_pixels_does_not_classify(tmp_path: Path) -> None:
    experiment = resolve(drawn.drawn_experiment().model_copy(update={"task": "classify"}), rle_contract())
    with pytest.raises(ValueError, match="cannot be used with task: classify"):
        drawn.train_drawn(drawn.draw_store(tmp_path / "store"), tmp_path / "fold", experiment)
