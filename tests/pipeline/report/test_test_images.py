"""The page's section of the test images counts what the run used, and says what it counts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pipeline.report import test_images as section_of_test
from pipeline.report.test_images import _sentence, _sources


def test_by_source_counts_the_training_images_that_the_run_used(tmp_path: Path) -> None:
    listing = pd.DataFrame({"unit": ["x", "y", "z"], "source": ["s1", "s2", "s1"]})
    units = pd.DataFrame({"unit": ["x", "y", "z"], "forecast": [0.4, 0.7, 0.8], "strange": [True, False, False]})
    training = pd.DataFrame({"image_id": list("abcd"), "source": ["s1", "s1", "s2", "s2"]})
    pd.DataFrame({"image_id": list("ac"), "fold": [0, 1]}).to_csv(tmp_path / "folds.csv", index=False)
    run: Any = SimpleNamespace(training=training, beside_folds=lambda name: tmp_path / name)
    text = "".join(str(part) for part in _sources(run, units, listing))
    assert "s1</td><td>2</td><td>1</td>" in text.replace(' class="number"', "")
    assert _sources(run, units.drop(columns="forecast"), listing) == []


def test_what_is_counted_is_said() -> None:
    units = pd.DataFrame({"unit": ["x", "y"], "strange": [True, False]})
    said = _sentence({"forecast": None}, units, None)
    assert said.startswith("No forecast. By what is predicted, 1 of 2 are unlike all training images.")


def test_an_image_called_na_is_listed_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test").mkdir()
    table = "unit,strange,forecast,low,high\nNA,True,0.4,0.2,0.6\n007,False,0.7,0.5,0.9\n"
    (tmp_path / "test" / "forecast.csv").write_text(table)
    facts = {"forecast": 0.5, "forecast_low": 0.3, "forecast_high": 0.7, "doubts": []}
    (tmp_path / "test" / "forecast.json").write_text(json.dumps(facts))
    (tmp_path / "test" / "stage.json").write_text("{}")
    listing = pd.DataFrame({"unit": ["NA", "007"], "image_id": ["NA", "007"]})
    monkeypatch.setattr(section_of_test, "_listing", lambda run: listing)
    monkeypatch.setattr(section_of_test, "nearest_training", lambda run, units, rows: {})
    run: Any = SimpleNamespace(folder=tmp_path, decision=SimpleNamespace(learned={}), unpictured="no files")
    said = section_of_test.test_images(run)
    assert ">NA<" in said and ">007<" in said
