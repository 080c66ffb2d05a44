"""The numbered stages in their order, and how they are started."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

STAGES = {
    "01": "01_check_data",
    "02": "02_make_folds",
    "03": "03_prepare_data",
    "04": "04_train",
    "05": "05_predict_oof",
    "06": "06_tune",
    "07": "07_predict_test",
}
CONSOLE_SCRIPT = "segpipe"
ALL_STAGES = (*STAGES.values(), "08_bundle", "09_submit")


def started_as(stage: str = "") -> str:
    """How the user writes the command of now, of one stage or without it: through `segpipe` or through Python."""
    if Path(sys.argv[0]).stem == CONSOLE_SCRIPT:
        return f"{CONSOLE_SCRIPT} {stage}".strip()
    return f"python pipeline/{stage}.py" if stage else "python -m pipeline"


def run_stage_named(name: str, argv: Sequence[str]) -> None:
    """Run a numbered stage, such as "04_train", in this process; the same code as its script."""
    importlib.import_module(f"pipeline.{name}").main(list(argv))


def run_stages(argv: Sequence[str], numbers: Sequence[str] = tuple(STAGES)) -> None:
    """Run numbered stages one after another in this process, all with the same arguments."""
    for number in numbers:
        run_stage_named(STAGES[number], argv)


def run_from(first: str, argv: Sequence[str]) -> None:
    """Run the stages from number `first` on, each told to delete what it made before.

    Not stage 07 after 06: test images are predicted once and decided many times. Where the new decision wants other
    predictions, 07 refuses.
    """
    for number in STAGES:
        if number >= first:
            keeps = (first, number) == ("06", "07")
            run_stages(argv if keeps else [*argv, "--overwrite"], (number,))
