"""The stages on a GPU: what no CPU can show. Skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import space_of, stage, write_tiny_experiment

from inference.predict.store import open_prediction

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("precision", ["fp16", "auto"])
def test_all_stages_run_on_a_gpu_and_a_cpu_predicts_the_same(tmp_path: Path, precision: str) -> None:
    arguments = [*write_tiny_experiment(tmp_path)[:-1], "cuda:0", "--set", f"train.precision={precision}"]
    for name in ("01_check_data", "02_make_folds", "03_prepare_data", "04_train", "05_predict_oof", "06_tune"):
        stage(name)(arguments)
    stage("07_predict_test")(arguments)
    space = space_of(arguments)
    rows = [json.loads(line) for line in (space.own / "fold_0" / "log.jsonl").read_text().splitlines()]
    assert "validation" in rows[-1] and all(np.isfinite(row["loss"]) for row in rows)
    paths = sorted((space.own / "test").glob("*.h5"))
    before = {path: _read(path) for path in paths}
    stage("07_predict_test")([*arguments[:-3], "cpu", "--overwrite", *arguments[-2:]])
    for path in paths:
        assert np.abs(_read(path) - before[path]).max() <= 8


def _read(path: Path) -> np.ndarray:
    with open_prediction(path) as prediction:
        return prediction.read().astype(int)
