"""Stage 07: the decision's views, folds kept apart, drift, time budgets, several devices."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny_run import space_of, stage, write_tiny_experiment

from inference.bundle.bundle import run
from inference.decide.decision import load_decision, save_decision
from inference.predict.store import open_prediction
from pipeline.data.fold_tables import open_folds
from pipeline.prediction.prediction_stages import pick_devices
from pipeline.sequence import run_stages
from pipeline.training.extra_data import check_predictions
from submissions.table.findings import Finding


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Stages 01 to 06: (the experiment's folder, arguments)."""
    folder = tmp_path_factory.mktemp("tuned")
    arguments = write_tiny_experiment(folder, tune={"rounds": 100, "rules": ["global", "fold_mean"]})
    run_stages(arguments, ("01", "02", "03", "04", "05", "06"))
    return folder / "runs/drawn/tiny", arguments


def again(arguments: list[str], *more: str) -> None:
    stage("07_predict_test")([*arguments, "--overwrite", *more])


def attributes(own: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted((own / "test").glob("*.h5")):
        with open_prediction(path) as prediction:
            found[path.stem] = (prediction.attrs["members"], prediction.attrs["views"])
    return found


def decide(own: Path, **update: object) -> None:
    path = own / "tuning/decision.json"
    save_decision(path, load_decision(path).model_copy(update=update))


def test_folds_are_kept_for_other_runs_and_the_bundle_decides_alike(
    tuned: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments, "--keep-folds")
    assert "6 images predicted by fold 1 alone" in capsys.readouterr().out
    for fold in (0, 1):
        assert check_predictions(own, fold, open_folds(space_of(arguments))[1]) == own / f"test_folds/fold_{fold}"
        assert len(list((own / f"test_folds/fold_{fold}").glob("*.h5"))) == 6
    stage("08_bundle")([*arguments, "--overwrite", "--no-wheels"])
    summary = run(own / "bundle", own.parents[2] / "data", tmp_path / "submission.csv", device="cpu")
    assert summary.path.read_bytes() == (own / "submission.csv").read_bytes()


def test_folds_are_kept_beside_the_mean_and_not_made_twice(
    tuned: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments)
    mean = (own / "submission.csv").read_bytes()
    again(arguments, "--keep-folds")
    assert (own / "submission.csv").read_bytes() == mean
    for name in ("test00", "test05"):
        parts = []
        for folder in ("test_folds/fold_0", "test_folds/fold_1", "test"):
            with open_prediction(own / folder / f"{name}.h5") as prediction:
                parts.append(prediction.read().astype(float))
        assert np.abs((parts[0] + parts[1]) / 2 - parts[2]).max() <= 1
    stage("07_predict_test")([*arguments, "--keep-folds"])
    assert capsys.readouterr().out.count("already made") == 3
    with pytest.raises(SystemExit):
        again(arguments, "--keep-folds", "--time-budget", "1h")
    assert "a time budget does not allow" in capsys.readouterr().err


def test_views_that_the_decision_dropped_are_not_used(
    tuned: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments)
    assert set(attributes(own).values()) == {(2, 2)}
    decide(own, views=["identity"])
    again(arguments)
    assert set(attributes(own).values()) == {(2, 1)}
    decide(own, views=["vflip"])
    with pytest.raises(SystemExit):
        again(arguments)
    assert "run stage 06 for these views" in capsys.readouterr().err
    decide(own, fingerprint="another", views=None)
    with pytest.raises(SystemExit):
        again(arguments)
    assert "learned from the predictions 'another'" in capsys.readouterr().err
    decide(own, fingerprint=json.loads((own / "oof/stage.json").read_text())["fingerprint"])


def test_a_time_budget_is_said_and_kept(tuned: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments, "--time-budget", "0.001s")
    said = capsys.readouterr().out
    assert "views reduced from 2 to 1: identity" in said and "models reduced from 2 to 1" in said
    found = list(attributes(own).values())
    assert found.count((2, 2)) == 1 and found.count((1, 1)) == 5
    assert given_up(own)
    again(arguments, "--time-budget", "8h")
    assert set(attributes(own).values()) == {(2, 2)}
    assert "more are needed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        again(arguments, "--time-budget", "soon")
    assert "time budget is 'soon'" in capsys.readouterr().err


def given_up(own: Path) -> list[str]:
    found: list[str] = json.loads((own / "test/stage.json").read_text())["given_up"]
    return found


def test_what_a_time_budget_cost_is_not_kept_without_one(
    tuned: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments)
    whole = (own / "submission.csv").read_bytes()
    again(arguments, "--time-budget", "0.001s")
    capsys.readouterr()
    stage("07_predict_test")([*arguments, "--time-budget", "8h"])
    assert "already made" in capsys.readouterr().out
    (own / "submission.csv").unlink()
    stage("07_predict_test")([*arguments, "--time-budget", "8h"])
    assert given_up(own) == ["5 image(s) keep their earlier prediction, with fewer TTA views or models"]
    stage("07_predict_test")(arguments)
    assert "already made" not in capsys.readouterr().out and given_up(own) == []
    assert set(attributes(own).values()) == {(2, 2)} and (own / "submission.csv").read_bytes() == whole


def test_what_the_linter_refuses_is_no_submission(
    tuned: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments)
    written = (own / "submission.csv").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(
            "pipeline.delivery.submission_lint.lint_answer", lambda *_, **__: [Finding("error", 3, "is no run")]
        )
        with pytest.raises(SystemExit):
            again(arguments)
    said = capsys.readouterr().err
    assert "error: row 3: is no run" in said and f"kept as {own / 'submission.refused.csv'}" in said
    assert (own / "submission.refused.csv").read_bytes() == written and not (own / "submission.csv").exists()
    stage("07_predict_test")(arguments)
    assert (own / "submission.csv").read_bytes() == written and not (own / "submission.refused.csv").exists()


def test_weights_trained_again_need_their_own_decision(
    tuned: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    path = own / "fold_1/stage.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"fingerprint": "of other settings"}))
    for name in ("07_predict_test", "08_bundle"):
        with pytest.raises(SystemExit):
            stage(name)([*arguments, "--overwrite"])
        assert "fold_1: trained again since its out-of-fold images were predicted" in capsys.readouterr().err
    path.write_text(before)


@pytest.mark.parametrize("name", ["06_tune", "07_predict_test", "08_bundle"])
def test_a_decision_is_only_for_images_predicted_alike(
    tuned: tuple[Path, list[str]], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        stage(name)([*tuned[1], "--set", "predict.views=[identity]", "--overwrite"])
    said = capsys.readouterr().err
    assert "predict.views there ['identity', 'hflip'], now ['identity']" in said
    assert "run 05_predict_oof.py tiny --overwrite" in said and (tuned[0] / "tuning/stage.json").is_file()


def test_a_corrected_contract_is_written_anew_and_predicted_once(
    tuned: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments)
    contract, predicted = own.parents[2] / "drawn.yaml", sorted((own / "test").glob("*.h5"))
    before, made = contract.read_text(), [path.stat().st_mtime_ns for path in predicted]
    forms = [json.loads((own / "test/stage.json").read_text())["form"]]
    for text in (before.replace("submission: {}", "submission: {dialect: {order: row}}"), before):
        contract.write_text(text)
        capsys.readouterr()
        stage("07_predict_test")(arguments)
        assert "already made" not in capsys.readouterr().out
        forms.append(json.loads((own / "test/stage.json").read_text())["form"])
    assert forms[0] == forms[2] != forms[1]
    assert [path.stat().st_mtime_ns for path in predicted] == made


def test_two_devices_write_the_same_submission(tuned: tuple[Path, list[str]]) -> None:
    own, arguments = tuned
    decide(own, views=None)
    again(arguments)
    alone = (own / "submission.csv").read_bytes()
    again(arguments, "--device", "cpu,cpu:0")
    assert (own / "submission.csv").read_bytes() == alone
    assert pick_devices(space_of(arguments, "--device", "cpu, cpu:0")) == "cpu,cpu:0"


def test_devices_of_unlike_precision_are_refused(
    tuned: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "inference.predict.precision.resolve_precision", lambda wanted, name: "bf16" if name == "cpu" else "fp16"
    )
    with pytest.raises(ValueError, match=r"set predict\.precision to one of them"):
        pick_devices(space_of(tuned[1], "--device", "cpu,cpu:0"))


def test_test_images_unlike_those_learned_on_are_noticed(
    tuned: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = tuned
    decide(own, views=None)
    features = pd.read_csv(own / "tuning/features.csv")
    kept = (own / "tuning/features.csv").read_bytes()
    for name in features.columns.drop("image_id"):
        features[name] = features[name] * 0 + 5
    features.to_csv(own / "tuning/features.csv", index=False)
    again(arguments)
    (own / "tuning/features.csv").write_bytes(kept)
    assert "drift: share of pixels predicted as thing" in capsys.readouterr().out
    assert "share of pixels predicted as thing" in (own / "test/drift.md").read_text()
    assert (own / "test/drift_histograms.csv").is_file()
    assert cv2.imread(str(own.parents[2] / "data/test/test00.png")) is not None
