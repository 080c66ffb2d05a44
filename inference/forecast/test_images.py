"""The forecast of a run's test images: from what was kept of every prediction to lines, and the files beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from inference.forecast.forecast import Forecast, SetForecast, apply_forecast, unit_table
from submissions.host.atomic import finite, write_atomic
from submissions.host.competition import Competition

TABLE, SUMS, SUMMARY = "forecast.csv", "prediction_sums.csv", "forecast.json"


def forecast_test_images(
    forecast: Forecast,
    competition: Competition,
    sums: pd.DataFrame,
    stacks: Mapping[str, str],
    *,
    models: int = 1,
) -> SetForecast:
    """What to expect of the test images.

    sums: a row an image with the columns of `image_sums`; stacks: image -> its stack, where these are scored. models:
    how many models the probabilities are a mean of; where the forecast learned from another number, that is said.
    """
    units = [stacks[str(name)] for name in sums["image_id"]] if competition.metric.unit == "stack" else None
    found = apply_forecast(forecast, unit_table(sums, forecast.classes, units))
    if models <= forecast.models or not forecast.maps:
        return found
    said = (
        f"it learned from predictions of {_models(forecast.models)}, but the test images' are a mean of "
        f"{models}, which is less extreme and mostly better; the forecast does not correct for that (with "
        "folds.repeats it learns from means)"
    )
    return replace(found, doubts=[*found.doubts, said])


def write_forecast(folder: Path, found: SetForecast, sums: pd.DataFrame) -> None:
    """forecast.csv (a row a unit, worst first), prediction_sums.csv and forecast.json (the set's numbers)."""
    write_atomic(folder / TABLE, found.units.to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / SUMS, sums.to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / SUMMARY, json.dumps(forecast_facts(found), indent=1) + "\n")


def forecast_facts(found: SetForecast) -> dict[str, Any]:
    """The set's numbers for JSON: `forecast`, `forecast_low`, `forecast_high`, `strange`, `doubts`; None if unknown."""
    numbers = {"forecast": found.estimate, "forecast_low": found.low, "forecast_high": found.high}
    return {**finite(numbers), "strange": found.strange, "doubts": found.doubts}


def _models(number: int) -> str:
    return "single models" if number == 1 else f"means of {number} models"
