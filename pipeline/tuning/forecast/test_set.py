"""Stage 07's last lines: what to expect of the test images, from what each of their predictions says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from folds.foldfile import SOURCE
from inference.decide.decision import Decision
from inference.forecast.forecast import FORECAST, Forecast, load_forecast
from inference.forecast.test_images import forecast_facts, forecast_test_images, write_forecast
from inference.forecast.verdict import forecast_lines
from inference.submission import open_test_images
from pipeline.prediction.prediction_stages import decision_path
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
    forecast = load_forecast(decision_path(space).with_name(FORECAST), fingerprint=decision.fingerprint)
    images = open_test_images(space.competition, space.data)
    stacks = {name: str(images.row(name)["stack"]) for name in images.ids}
    models = sum(len(run.folds) for run in runs)
    found = forecast_test_images(forecast, space.competition, sums, stacks, models=models)
    write_forecast(folder, found, sums)
    lines = forecast_lines(found, decision.learned)
    if space.competition.metric.file is not None:
        lines.insert(
            0, f"in {decision.learned['metric']}, which was tuned with; CV by the host's file is in tuning/report.md"
        )
    return forecast_facts(found), [*lines, *source_lines(space, forecast, sums, stacks)]


def source_lines(space: Workspace, forecast: Forecast, sums: pd.DataFrame, stacks: Mapping[str, str]) -> list[str]:
    """How many test images come from sources that no image used in training shows, and the forecast of these and of
    the others.

    Nothing where no source is known, or where training shows all of them.
    """
    table, _ = space.all_images()
    if SOURCE not in table or not forecast.maps:
        return []
    known = set(space.training_images()[0][SOURCE].astype(str)) - {""}
    test = table[table["split"] == "test"]
    sources = dict(zip(test["image_id"].astype(str), test[SOURCE].astype(str), strict=True))
    of_image = sums["image_id"].astype(str).map(lambda name: sources.get(name, ""))
    foreign = ~of_image.isin([*known, ""])
    if not known or not foreign.any():
        return []
    parts = {"of these": sums[foreign], "of the others": sums[~foreign]}
    said = [
        f"{expected.estimate:.4f} ({expected.low:.4f} to {expected.high:.4f}) {what}"
        for what, part in parts.items()
        if len(part)
        for expected in [forecast_test_images(forecast, space.competition, part, stacks, models=forecast.models)]
    ]
    names = ", ".join(f"{name} {number}" for name, number in of_image[foreign].value_counts().items())
    return [
        f"{int(foreign.sum())} of {len(sums)} test images come from sources that training does not show ({names}): "
        f"expect {', '.join(said)}"
    ]
