"""Repeated splits: several fold files of one experiment, trained and decided as one ensemble."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_page import page_of
from tiny_run import EXPERIMENT, space_of, write_tiny_experiment

from folds.foldfile import read_folds
from inference.bundle.bundle import run
from inference.decide.decision import load_decision
from inference.predict.predictor import predict_image
from inference.predict.store import open_prediction
from inference.weights import load_model
from pipeline.data.fold_tables import fold_table
from pipeline.experiment import Experiment
from pipeline.prediction.prediction import predict_folds
from pipeline.runs import open_runs, read_run, runs_fingerprint, trained_inputs, trained_spaces
from pipeline.sequence import run_stages
from pipeline.tuning.measurements import measure, out_of_fold, repeated_shift
from submissions.images.opening import open_image


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """Two splits of two folds each through stages 01 to 07: (folder, arguments, the report of stage 06)."""
    folder = tmp_path_factory.mktemp("repeated")
    arguments = write_tiny_experiment(folder, folds=EXPERIMENT["folds"] | {"repeats": 2})
    arguments += ["--set", "train.epochs=1"]
    run_stages(arguments)
    return folder, arguments, (folder / "runs/drawn/tiny/tuning/report.md").read_text()


def test_every_split_is_trained_and_all_are_one_ensemble(
    repeated: tuple[Path, list[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, arguments, report = repeated
    runs = open_runs(space_of(arguments))
    hashes = [each.folds_hash for each in runs]
    assert [each.name for each in runs] == ["tiny-split0", "tiny-split1"] and len(set(hashes)) == 2
    assert "## Splits" in report and f"(tiny-split0 {hashes[0]}, tiny-split1 {hashes[1]}); folds" in report
    assert "are those of tiny-split0" in report and "## Mean of models" in report
    page = page_of(folder, "tiny")
    assert "the mean of tiny-split0, tiny-split1" in page and "A mean of two models gains" in page
    assert "tiny-split1, fold 1" in page and page.count("<canvas") == 6
    decision = load_decision(folder / "runs/drawn/tiny/tuning/decision.json", fingerprint=runs_fingerprint(runs))
    assert decision.learned["ensemble_shift"]["moved"] is not None and len(decision.learned["splits"]) == 1
    inputs = json.loads((folder / "runs/drawn/tiny/test/stage.json").read_text())["identity"]["inputs"]
    assert [inputs[f"tiny-split{k} folds"] for k in range(2)] == hashes
    importlib.import_module("pipeline.08_bundle").main([*arguments, "--no-wheels"])
    summary = run(folder / "runs/drawn/tiny/bundle", folder / "data", tmp_path / "s.csv", device="cpu")
    assert summary.path.read_bytes() == (folder / "runs/drawn/tiny/submission.csv").read_bytes()
    capsys.readouterr()
    run_stages(arguments)
    assert capsys.readouterr().out.count("already made") == 2 + 2 + 4 + 2 + 2  # 01 03, 02, 04, 05, 06 07


def test_each_prediction_is_by_a_model_that_never_saw_the_image(repeated: tuple[Path, list[str], str]) -> None:
    folder, arguments, _ = repeated
    space = space_of(arguments)
    found = out_of_fold(space, open_runs(space))
    for item in found.items[:3]:
        parts, folds = [], []
        for each in open_runs(space):
            table = read_folds(space.shared / "folds" / each.folds_hash / "folds.csv").set_index("image_id")
            folds.append(int(table.loc[item.image_id, "fold"]))
            model = load_model(each.folder / f"fold_{folds[-1]}")
            source = open_image(folder / f"data/train/{item.image_id}.png")
            predict_image([model], source, [0], each.predict, folder / "again.h5", device="cpu")
            with open_prediction(folder / "again.h5") as prediction:
                parts.append(prediction.read().astype(float))
        assert np.abs(item.probs() - (parts[0] + parts[1]) / 2).max() <= 1
        assert item.fold == folds[0]


def test_images_that_a_member_did_not_predict_are_left_out(repeated: tuple[Path, list[str], str]) -> None:
    _, arguments, _ = repeated
    space = space_of(arguments)
    one, other = open_runs(space)
    tables = [set(each.table(space)["image_id"]) for each in (replace(one, folds=[0]), replace(other, folds=[1]))]
    found = out_of_fold(space, [replace(one, folds=[0]), replace(other, folds=[1])])
    assert {item.image_id for item in found.items} == tables[0] & tables[1]
    left, total = len(tables[0] ^ tables[1]), len(tables[0] | tables[1])
    assert found.notes[1] == f"{left} of {total} images are left out, because not every member predicted them"
    apart = [replace(one, folds=[0]), replace(one, name="tiny-split1", folds=[1])]
    with pytest.raises(ValueError, match=r"no out-of-fold image in common \(tiny-split0 \d+, tiny-split1 \d+\)"):
        out_of_fold(space, apart)


def test_only_members_that_are_alike_show_the_shift_of_a_mean(repeated: tuple[Path, list[str], str]) -> None:
    _, arguments, _ = repeated
    space = space_of(arguments)
    runs = open_runs(space)
    found = out_of_fold(space, runs)
    shift = repeated_shift(space, runs, found.criteria)
    assert shift is not None and measure(space, runs, found).ensemble == shift
    other = replace(runs[1], predict=runs[1].predict.model_copy(update={"views": ["identity"]}))
    assert repeated_shift(space, [runs[0], other], found.criteria) is None
    assert measure(space, [runs[0], other], found).ensemble is None


def test_fingerprints_depend_on_every_fold_file(repeated: tuple[Path, list[str], str]) -> None:
    _, arguments, _ = repeated
    space = space_of(arguments)
    runs = open_runs(space)
    for place in range(2):
        path = runs[place].folder / "oof/stage.json"
        before = path.read_text()
        document = json.loads(before)
        document["fingerprint"] = "other"  # what another fold hash among its inputs leads to
        path.write_text(json.dumps(document))
        changed = [read_run(space, each.name) for each in runs]
        path.write_text(before)
        assert runs_fingerprint(changed) != runs_fingerprint(runs)
        assert "folds" in json.loads(before)["identity"]["inputs"]
    assert trained_inputs(runs[:1])["folds"] == runs[0].folds_hash


def test_what_does_not_go_with_repeats_is_refused(repeated: tuple[Path, list[str], str]) -> None:
    folder, arguments, _ = repeated
    for other in ({"members": ["a"]}, {"folds": {"repeats": 2, "split": 1}}):
        document = {"name": "x", "competition": "c", "folds": {"repeats": 2}} | other
        with pytest.raises(ValueError, match=r"does not go with (members|folds\.split); leave one"):
            Experiment.model_validate(document)
    with pytest.raises(ValueError, match=r"leave out tune\.sample"):
        trained_spaces(space_of(arguments, "--set", "tune.sample=5"), "02_make_folds")
    with pytest.raises(ValueError, match=r"set predict\.merge=probs"):
        trained_spaces(space_of(arguments, "--set", "predict.merge=logits"), "02_make_folds")
    space = space_of(arguments)
    decision = load_decision(folder / "runs/drawn/tiny/tuning/decision.json")
    with pytest.raises(ValueError, match="their folds cannot be predicted one by one"):
        predict_folds(space, open_runs(space), decision, on_error="stop")
    second = trained_spaces(space, "02_make_folds")[1]
    with pytest.raises(ValueError, match=r"folds\.repeats asks for several"):
        fold_table(second, folder / "team.csv")


def test_the_first_split_is_the_one_without_repeats(repeated: tuple[Path, list[str], str]) -> None:
    _, arguments, _ = repeated
    alone = space_of(arguments, "--set", "folds.repeats=1")
    first, second = trained_spaces(space_of(arguments), "02_make_folds")
    pd.testing.assert_frame_equal(fold_table(alone, None), fold_table(first, None))
    assert (fold_table(first, None)["fold"] != fold_table(second, None)["fold"]).any()
