"""Stage 07 when the test images are predicted: decide, write, lint, and say what to expect."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from inference.decide.decision import load_decision
from inference.progress import image_bar
from pipeline.delivery.submission_lint import lint_new_submission
from pipeline.prediction.prediction import predict_test
from pipeline.prediction.prediction_stages import decision_path
from pipeline.runs import Run
from pipeline.stage import Stage
from pipeline.tuning.comparisons.extras import write_drift
from pipeline.tuning.forecast.test_set import forecast_of_test
from pipeline.workspace import Workspace


def write_decided(
    space: Workspace,
    arguments: argparse.Namespace,
    stage: Stage,
    *,
    runs: Sequence[Run],
    seconds: float | None,
) -> dict[str, Any]:
    """Predict what is left, decide, write and lint the submission; returns what to say and to keep of it."""
    with image_bar() as progress:
        options = {"on_error": arguments.on_error, "seconds": seconds, "report": tqdm.write, "progress": progress}
        summary, found, sums = predict_test(space, runs, stage.folder, **options)
    if found is not None:
        write_drift(stage.folder, found)
    warnings = [f"lint: {warning}" for warning in lint_new_submission(space, summary.path)]
    warnings += [f"drift: {warning}" for warning in (found.warnings if found is not None else [])]
    for said in [*warnings, *(f"time budget: {sentence}" for sentence in summary.given_up)]:
        print(said)
    decision = load_decision(decision_path(space))
    expected, lines = forecast_of_test(space, runs, decision, stage.folder, sums)
    print("\n".join(lines))
    failed = f", {len(summary.failures)} of them empty because they could not be predicted" if summary.failures else ""
    said = f"{summary.images} images{failed}, {summary.written}, {len(warnings)} warning(s)"
    return {"said": f"{said} -> {summary.path}", "given_up": summary.given_up, "colours": summary.colours, **expected}
