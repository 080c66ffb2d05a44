"""Stage 06: learn the decision - thresholds, post-processing - from out-of-fold predictions and nothing else.

Reads:   runs/<competition>/<experiment>/oof/ (an ensemble: those of its members), oof_views/ and oof_shifts/ where
         stage 05 made them, the host's masks; loads no model
Writes:  runs/<competition>/<experiment>/tuning/  decision.json, forecast.json (what to expect of other images),
         report.md (what was chosen, why, what it is worth), scores.csv and prediction_sums.csv (one row per image),
         folds.csv, curves.csv, views.csv, shifts.csv, colours.json (where predict.normalise asks for it)

Example: python pipeline/06_tune.py tgs-salt --set tune.rule=global
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import isnan

try:
    import pandas as pd

    from inference.forecast.forecast import FORECAST, save_forecast
    from inference.progress import progress_bar
    from pipeline.prediction.image_gate import only_a_gate
    from pipeline.prediction.oof import test_groups, tune_stage
    from pipeline.prediction.training_colours import keep_colours
    from pipeline.preflight.checks import checked
    from pipeline.runs import open_runs, runs_fingerprint
    from pipeline.tuning.forecast.known_units import forecast_report, source_of_images, source_report, taught_forecast
    from pipeline.tuning.host_score import KNOWN, host_lines, host_report, host_result
    from pipeline.tuning.measurements import measure, measured_reasons, out_of_fold
    from pipeline.tuning.report import fallen_folds, worth_lines, write_tuning
    from pipeline.tuning.search import tune
    from pipeline.tuning.submission_score import score_through_submission
    from pipeline.workspace import Workspace, already, finish, run_stage, stage_parser
    from submissions.host.atomic import write_atomic
    from submissions.host.contract.metric import HOST
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def learn_decision(space: Workspace, arguments: argparse.Namespace) -> None:
    """Tune, then score once more the whole way - mask, rows, text, rows, mask - which has to give the same number."""
    if only_a_gate(space, "06_tune"):
        return
    runs = open_runs(space)
    stage = tune_stage(space, runs)
    if not stage.begin(overwrite=space.overwrite):
        return already(stage)
    keep_colours(space, runs)
    found = out_of_fold(space, runs, workers=max(1, space.workers), progress=progress_bar)
    result = tune(found.criteria, found.items, fingerprint=runs_fingerprint(runs), test_groups=test_groups(space))
    _, score = score_through_submission(found.criteria, found.items, result.decision)
    if score != result.cv and not (isnan(score) and isnan(result.cv)):
        raise ValueError(
            f"CV is {result.cv}, but {score} through the submission table: a mask is changed on the way; run "
            "`python -m submissions lint` on the submission of stage 07"
        )
    extras = measure(space, runs, found)
    sources = source_of_images(space, runs[0])
    forecast = taught_forecast(space, runs, found, result, sources)
    host = host_result(found.criteria, found.items, result, space.own / KNOWN)
    sections = [*([] if host is None else host_report(host, result)), *source_report(result, sources)]
    write_tuning(stage.folder, result, extras=extras, sections=[*sections, *forecast_report(forecast)])
    save_forecast(stage.folder / FORECAST, forecast)
    worth, metric = (result, result.metric.name) if host is None else (host, HOST)
    folds = pd.DataFrame(sorted(worth.fold_scores.items()), columns=["fold", "score"])
    write_atomic(stage.folder / "folds.csv", folds.to_csv(index=False, lineterminator="\n"))
    interval = [worth.interval.low, worth.interval.high]
    prediction = None if worth.prediction is None else [worth.prediction.low, worth.prediction.high]
    said = [*result.reasons, *measured_reasons(extras), *([] if host is None else host_lines(host, result))]
    print(
        "\n".join([*said, *worth_lines(worth.cv, interval, worth.nested, prediction), *fallen_folds(worth.fold_scores)])
    )
    facts = {"score": worth.cv, "interval": interval, "nested": worth.nested, "prediction": prediction}
    facts |= {} if host is None else {"tuned_with": result.metric.name, "tuned_score": result.cv}
    finish(stage, f"{metric} {worth.cv:.4f}", **facts, metric=metric, folds=worth.fold_scores)


def main(argv: Sequence[str] | None = None) -> None:
    run_stage(checked("06", learn_decision), stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
