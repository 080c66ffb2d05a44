"""Stage 06: learn the decision - thresholds, post-processing - from out-of-fold predictions and nothing else.

Reads:   runs/<competition>/<experiment>/oof/, the host's masks; loads no model
Writes:  runs/<competition>/<experiment>/tuning/  decision.json, report.md (what was chosen, why, what it is worth),
         scores.csv (a row an image), folds.csv, curves.csv

Example: python pipeline/06_tune.py tgs-salt --set tune.rule=global
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd
from tqdm import tqdm

try:
    from pipeline.oof import oof_channels, oof_items, test_groups, tune_stage
    from pipeline.tuning.report import write_tuning
    from pipeline.tuning.search import tune, tuning_metric
    from pipeline.tuning.submission import score_through_submission
    from pipeline.workspace import Workspace, already, finish, run_stage, stage_parser
    from submissions.table import write_atomic
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def learn_decision(space: Workspace, arguments: argparse.Namespace) -> None:
    """Tune, then score once more the whole way - mask, rows, text, rows, mask - which has to give the same number."""
    stage = tune_stage(space)
    if not stage.begin(overwrite=space.overwrite):
        return already(stage)
    competition, settings = space.competition, space.experiment.tune
    items, metric = oof_items(space), tuning_metric(competition, settings)
    workers = max(1, space.workers)
    result = tune(
        competition, space.experiment, items, metric=metric, settings=settings, workers=workers,
        fingerprint=stage.inputs["oof"], channels=oof_channels(items), test_groups=test_groups(space), progress=tqdm,
    )  # fmt: skip
    _, score = score_through_submission(competition, items, result.decision, metric, workers=workers, progress=tqdm)
    if score != result.cv:
        raise ValueError(f"CV is {result.cv}, but {score} through the submission table; a mask is lost on the way")
    write_tuning(stage.folder, result)
    folds = pd.DataFrame(sorted(result.fold_scores.items()), columns=["fold", "score"])
    write_atomic(stage.folder / "folds.csv", folds.to_csv(index=False, lineterminator="\n"))
    interval = [result.interval.low, result.interval.high]
    prediction = None if result.prediction is None else [result.prediction.low, result.prediction.high]
    print("\n".join(result.reasons))
    print(f"CV {result.cv:.4f} ({interval[0]:.4f} to {interval[1]:.4f}), nested {result.nested:.4f}")
    if prediction is not None:
        print(f"prediction interval of the leaderboard: {prediction[0]:.4f} to {prediction[1]:.4f}")
    facts = {"score": result.cv, "interval": interval, "nested": result.nested, "prediction": prediction}
    finish(stage, f"{metric.name} {result.cv:.4f}", **facts, metric=metric.name, folds=result.fold_scores)


def main(argv: Sequence[str] | None = None) -> None:
    run_stage(learn_decision, stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
