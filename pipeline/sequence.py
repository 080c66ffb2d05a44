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


def run_from(first: str, argv: Sequence[str]) -> None:
    """Run the stages from number `first` on, each told to delete what it made before.

    Not stage 07 after 06: test images are predicted once and decided many times. Where the new decision wants other
    predictions, 07 refuses.
    """
    for number in STAGES:
        if number >= first:
            keeps = (first, number) == ("06", "07")
            run_stages(argv if keeps else [*argv, "--overwrite"], (number,))
