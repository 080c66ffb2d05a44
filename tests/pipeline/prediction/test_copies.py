"""Shifted copies: planned within the budget, predicted once by the fold that held the image out, and learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_run import space_of, stage, write_tiny_experiment

from inference.bundle.bundle import run
from inference.forecast.forecast import load_forecast
from pipeline.experiment import load_experiment
from pipeline.prediction.copies import EACH, copies_folder, copy_plan, finished_copies
from pipeline.report.finished_run import open_finished
from pipeline.report.test_images import nearest_training
from pipeline.report.test_images import test_images as section_of
from pipeline.tuning.forecast.test_set import source_lines

COPIES = 60


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    # enough images that there is a forecast in any number format and with any number of threads
    given = write_tiny_experiment(tmp_path_factory.mktemp("copies"), train=40, tune={"rounds": 100, "copies": COPIES})
    for name in ("01_check_data", "02_make_folds", "03_prepare_data", "04_train", "05_predict_oof", "06_tune"):
        stage(name)(given)
    return given


def test_the_plan_keeps_to_its_budget(arguments: list[str]) -> None:
    plan = copy_plan(space_of(arguments))
    number = sum(map(len, plan.values()))
    assert number == COPIES
    each = pd.Series([name for names in plan.values() for name in names]).value_counts()
    assert (each == EACH).all() and max(map(len, plan.values())) - min(map(len, plan.values())) <= 1
    assert copy_plan(space_of(arguments, "--set", "tune.copies=0")) == {}


def test_copies_lie_where_stage_06_looks(arguments: list[str]) -> None:
    space = space_of(arguments)
    plan, fingerprint = finished_copies(space.own)
    assert plan == copy_plan(space) and fingerprint
    for shift, names in plan.items():
        assert sorted(path.stem for path in copies_folder(space.own, shift).glob("*.h5")) == sorted(names)
    assert finished_copies(space.own / "none") == ({}, "")


def test_stage_07_says_what_to_expect(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    stage("07_predict_test")(arguments)
    space, said = space_of(arguments), capsys.readouterr().out
    forecast = load_forecast(space.own / "tuning" / "forecast.json")
    assert {one.kind for one in forecast.episodes} >= {"within", "shift"}
    assert "images like the training images" in said and "verdict: " in said and "lowest forecasts: " in said
    assert "a mean of 2, which is less extreme" in said
    table = pd.read_csv(space.own / "test" / "forecast.csv")
    assert list(table) == ["unit", "forecast", "low", "high", "strange"] and len(table) == 6
    assert table["forecast"].is_monotonic_increasing
    made = json.loads((space.own / "test" / "stage.json").read_text())
    assert made["forecast_low"] <= made["forecast"] <= made["forecast_high"]
    sums = pd.read_csv(space.own / "test" / "prediction_sums.csv")
    assert len(sums) == 6 and (space.own / "tuning" / "prediction_sums.csv").is_file()


def test_sources_that_training_does_not_show_are_named(arguments: list[str]) -> None:
    space = space_of(arguments)
    forecast = load_forecast(space.own / "tuning" / "forecast.json")
    sums = pd.read_csv(space.own / "test" / "prediction_sums.csv", dtype={"image_id": str})
    stacks = dict.fromkeys(sums["image_id"], "")
    path = space.inventory / "inventory.csv"
    before = path.read_text()
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    try:
        table["source"] = np.where(table["split"] == "train", "s1", np.where(np.arange(len(table)) % 3, "s1", "s2"))
        table.to_csv(path, index=False)
        number = int((table.loc[table["split"] == "test", "source"] == "s2").sum())
        (line,) = source_lines(space, forecast, sums, stacks)
        said = f"{number} of 6 test images come from sources that training does not show (s2 {number}): expect "
        assert line.startswith(said) and line.endswith("of the others") and " of these, " in line
        table.assign(source="s1").to_csv(path, index=False)
        assert source_lines(space, forecast, sums, stacks) == []
    finally:
        path.write_text(before)


def test_the_bundle_says_the_same(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = space_of(arguments)
    stage("07_predict_test")([*arguments, "--overwrite"])
    printed = capsys.readouterr().out
    stage("08_bundle")([*arguments, "--no-wheels"])
    said: list[str] = []
    run(space.own / "bundle", space.data, tmp_path / "submission.csv", device="cpu", report=said.append)
    begins = ("CV ", "forecast ", "verdict: ", "lowest forecasts: ", "the forecast: ")
    lines = [line for line in printed.splitlines() if line.startswith(begins)]
    assert len(lines) >= 5 and [line for line in said if line.startswith(begins)] == lines


def test_the_page_shows_the_test_images_worst_first(arguments: list[str]) -> None:
    space = space_of(arguments)
    contract = load_experiment(arguments[0]).competition
    finished = open_finished(space.own, data=space.data, competition=contract)
    found = section_of(finished)
    table = pd.read_csv(space.own / "test" / "forecast.csv")
    places = [found.index(f">{name}<") for name in table["unit"]]
    assert places == sorted(places) and found.count("data:image/jpeg") == 2 * len(table)
    assert "Expected of these test images: " in found and "Drift of the predictions" in found
    assert f"by cross-validation, {finished.decision.learned['cv']:.4f}. " in found
    assert nearest_training(finished, [], pd.DataFrame()) == {}


def test_several_processes_measure_the_same(arguments: list[str]) -> None:
    space = space_of(arguments)
    before = (space.own / "tuning" / "forecast.json").read_text()
    stage("06_tune")([*arguments, "--workers", "2", "--overwrite"])
    assert (space.own / "tuning" / "forecast.json").read_text() == before
