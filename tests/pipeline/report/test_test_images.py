"""The page's section of the test images counts what the run used, and says what it counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

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
