"""Ensembles of experiments: what is skipped, mixed, weighed and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from finished_page import page_of
from tiny_run import EXPERIMENT, space_of, stage, write_tiny_experiment

from inference.bundle.bundle import run
from inference.decide.decision import load_decision, save_decision
from inference.predict.store import open_prediction, write_prediction
from pipeline.runs import open_runs
from pipeline.sequence import run_stages
from pipeline.tuning.measurements import out_of_fold


def write_experiment(folder: Path, arguments: list[str], name: str, **change: Any) -> list[str]:
    """Another experiment beside the tiny one; returns its arguments."""
    document = {"competition": str(folder / "drawn.yaml"), **EXPERIMENT, **change}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return [str(folder / f"{name}.yaml"), *arguments[1:]]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """Two runs that differ by the seed, one predicted otherwise, and an ensemble of both: (folder, a's, both's)."""
    folder = tmp_path_factory.mktemp("members")
    own = write_tiny_experiment(folder)
    run_stages(own, ("01", "02", "03", "04", "05", "06"))
    other = write_experiment(folder, own, "other", seed=1, predict={"mode": "tiles", "tile": [32, 32]})
    (frozen,) = (folder / "runs/drawn/folds").glob("*/folds.csv")
    stage("02_make_folds")([*other, "--folds", str(frozen)])
    run_stages(other, ("03", "04", "05"))
    return folder, own, write_experiment(folder, own, "both", members=["tiny", "other"])


def test_an_ensemble_goes_through_all_stages(
    members: tuple[Path, list[str], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, both = members
    run_stages(both)
    said = capsys.readouterr().out
    assert said.count("is an ensemble of tiny, other; nothing to do") == 4
    assert "weights: tiny 0.500, other 0.500" in said
    own = folder / "runs/drawn/both"
    noted = {"checked.txt", "competition.yaml", "experiment.yaml", "origin.json"}
    assert {path.name for path in own.iterdir()} - noted == {"submission.csv", "test", "tuning"}
    page = page_of(folder, "both")
    assert "the mean of tiny, other" in page and "gain of the ensemble" in page and "not tuned alone" in page
    assert page.count("<canvas") == 6
    path = own / "tuning/decision.json"
    assert load_decision(path).weights == {"tiny": 0.5, "other": 0.5}
    for weights in ({"tiny": 0.25, "other": 0.75}, {"tiny": 0.0, "other": 1.0}):
        save_decision(path, load_decision(path).model_copy(update={"weights": weights}))
        stage("07_predict_test")([*both, "--overwrite"])
        stage("08_bundle")([*both, "--overwrite", "--no-wheels"])
        summary = run(own / "bundle", folder / "data", tmp_path / str(weights["tiny"]) / "s.csv", device="cpu")
        assert summary.path.read_bytes() == (own / "submission.csv").read_bytes()
        with open_prediction(own / "test/test00.h5") as prediction:
            assert prediction.attrs["members"] == (4 if weights["tiny"] else 2)
    save_decision(path, load_decision(path).model_copy(update={"weights": {"tiny": 1.0}}))
    with pytest.raises(SystemExit):
        stage("07_predict_test")([*both, "--overwrite"])
    assert "but the members are ['other', 'tiny']" in capsys.readouterr().err


def test_several_names_are_the_ensemble_that_was_tuned_for_them(
    members: tuple[Path, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, own, both = members
    run_stages(both, ("06",))
    stage("08_bundle")([str(folder / "other.yaml"), own[0], *own[1:], "--overwrite", "--no-wheels"])
    bundle = folder / "runs/drawn/both/bundle"
    assert "4 model(s), " in capsys.readouterr().out
    manifest = json.loads((bundle / "MANIFEST.json").read_text())
    assert list(manifest["experiments"]) == ["tiny", "other"]
    assert json.loads((bundle / "experiments/other.json").read_text())["seed"] == 1
    assert sorted(path.name for path in (bundle / "experiments").iterdir()) == ["both.json", "other.json", "tiny.json"]


def test_members_are_predicted_as_their_oof_was(members: tuple[Path, list[str], list[str]]) -> None:
    one, other = open_runs(space_of(members[2], "--set", "predict.memory_cap_gb=1"))
    assert (one.predict.mode, other.predict.mode) == ("whole", "tiles")
    assert other.predict.memory_cap_gb == 1 and one.folds_hash == other.folds_hash


def test_the_mean_of_the_members_is_what_is_tuned_on(members: tuple[Path, list[str], list[str]]) -> None:
    space = space_of(members[2])
    found = out_of_fold(space, open_runs(space))
    assert len(found.items) == 12 and found.criteria.channels == ["thing"]
    parts = []
    for name in ("tiny", "other"):
        with open_prediction(space.shared / name / f"oof/{found.items[0].image_id}.h5") as prediction:
            parts.append(prediction.read().astype(float))
    assert np.abs(found.items[0].probs() - (parts[0] + parts[1]) / 2).max() <= 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("members=[tiny, tiny]", "expected other experiments, each once"),
        ("members=[both]", "expected other experiments, each once"),
        ("members=[nobody]", "run 05_predict_oof.py nobody first"),
        ("tune.sample=5", r"leave out tune\.sample"),
    ],
)
def test_what_is_no_ensemble_is_refused(members: tuple[Path, list[str], list[str]], setting: str, words: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        open_runs(space_of(members[2], "--set", setting))


def test_members_of_other_images_splits_or_channels_are_refused(members: tuple[Path, list[str], list[str]]) -> None:
    folder, _, both = members
    path = folder / "runs/drawn/other/oof/stage.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"inventory": "0123"}))
    with pytest.raises(ValueError, match="'other' predicted the images of inventory 0123"):
        open_runs(space_of(both))
    path.write_text(before.replace('"merge": "probs"', '"merge": "logits"'))
    with pytest.raises(ValueError, match=r"'other' was predicted with predict\.merge=logits"):
        open_runs(space_of(both))
    path.write_text(before)
    space = space_of(both)
    items = out_of_fold(space, open_runs(space)).items
    first = space.shared / "other/oof" / f"{items[0].image_id}.h5"
    kept = first.read_bytes()
    write_prediction(first, np.zeros((2, 40, 56), np.uint8), ["thing", "border"])
    with pytest.raises(ValueError, match="members need the same channels"):
        out_of_fold(space, open_runs(space))
    first.write_bytes(kept)
