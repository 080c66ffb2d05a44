"""The numbered stages in their order."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

STAGES = {
    "01": "01_check_data",
    "02": "02_make_folds",
    "03": "03_prepare_data",
    "04": "04_train",
    "05": "05_predict_oof",
    "06": "06_tune",
    "07": "07_predict_test",
}


def run_stages(argv: Sequence[str], numbers: Sequence[str] = tuple(STAGES)) -> None:
    """Run numbered stages one after another in this process, all with the same arguments."""
    for number in numbers:
        stage = importlib.import_module(f"pipeline.{STAGES[number]}")
        stage.main(list(argv))
