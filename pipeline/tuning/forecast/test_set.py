"""Stage 07's last lines: what to expect of the test images, from what each of their predictions says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from inference.decide.decision import Decision
from inference.forecast.forecast import load_forecast
from inference.forecast.test_images import forecast_facts, forecast_test_images, write_forecast
from inference.forecast.verdict import forecast_lines
from inference.submission import open_test_images
from pipeline.prediction.prediction import decision_path
from pipeline.runs import Run
from pipeline.workspace import Workspace


def forecast_of_test(
    space: Workspace, runs: Sequence[Run], decision: Decision, folder: Path, sums: pd.DataFrame
) -> tuple[dict[str, Any], list[str]]:
    """Write the forecast of the test images into stage 07's folder; returns its numbers and the lines to print.

    sums: a row an image, as `predict_test` returns them. Raises FileNotFoundError where stage 06 left no forecast.
    """
    if not len(sums):
        return {}, []
    forecast = load_forecast(decision_path(space).with_name("forecast.json"), fingerprint=decision.fingerprint)
    images = open_test_images(space.competition, space.data)
    stacks = {name: str(images.row(name)["stack"]) for name in images.ids}
    models = sum(len(run.folds) for run in runs)
    found = forecast_test_images(forecast, space.competition, sums, stacks, models=models)
    write_forecast(folder, found, sums)
    return forecast_facts(found), forecast_lines(found, decision.learned)
