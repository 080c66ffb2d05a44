"""Stage 07: predict the test images, decide, write the submission in the sample's order, and lint it.

Reads:   runs/<competition>/<experiment>/fold_k/ (weights; of an ensemble its members') and tuning/, the test images
Writes:  runs/<competition>/<experiment>/test/  one prediction file per image, drift.md (do they look like the training
         images?), forecast.csv (what to expect of each, worst first), and .../submission.csv, or
         submission.refused.csv where the linter finds errors; with --keep-folds test_folds/fold_k/

Example: python pipeline/07_predict_test.py tgs-salt --time-budget 8h --on-error empty --device cuda:0,cuda:1
         python pipeline/07_predict_test.py tgs-salt --keep-folds       (what train.pseudo_labels learns from)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

try:
    from inference.decide.decision import load_decision
    from inference.predict.time_budget import parse_budget
    from inference.progress import show
    from pipeline.distributed.commands import run_spread_stage
    from pipeline.prediction.image_gate import asked_classifier, only_a_gate
    from pipeline.prediction.prediction_stages import decision_path, fold_stages, is_decided, test_stage, written_by
    from pipeline.preflight.checks import checked
    from pipeline.runs import check_weights, open_runs
    from pipeline.workspace import Workspace, already, finish, finishing, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def predict_submission(space: Workspace, arguments: argparse.Namespace) -> None:
    """Predict what is not predicted yet; a submission in which the linter finds errors is kept under another name."""
    from pipeline.delivery.decided_submission import write_decided
    from pipeline.prediction.prediction import left_of_test, predict_folds, predict_test_shard

    if space.competition.submission is None:
        print(f"07_predict_test: nothing to submit, the contract of {space.competition.name} has no test images")
        return
    if only_a_gate(space, "07_predict_test"):
        return
    if arguments.keep_folds and arguments.time_budget:
        raise ValueError(
            "--keep-folds predicts every image once more, which a time budget does not allow; leave out "
            "--keep-folds or --time-budget"
        )
    if space.shard is not None and arguments.time_budget:
        raise ValueError("--time-budget needs one process that predicts all images; leave out --time-budget or --shard")
    seconds = parse_budget(arguments.time_budget) if arguments.time_budget else None
    runs = open_runs(space)
    by, decision = written_by(space), load_decision(decision_path(space))
    check_weights([*runs, *asked_classifier(space, decision)])
    stage = test_stage(space, runs, decision)
    if arguments.keep_folds:
        predict_folds(space, runs, decision, on_error=arguments.on_error)
    if not stage.begin(overwrite=space.overwrite, shared=space.shard is not None) and is_decided(
        space, stage, budget=seconds is not None
    ):
        return already(stage)
    left = 0
    if space.shard is not None:
        show(predict_test_shard(space, runs, decision, folder=stage.folder, on_error=arguments.on_error), "images")
        left = left_of_test(
            space, decision, stage.folder, fold_stages(space, runs, decision) if arguments.keep_folds else {}
        )
    with finishing(stage, space.shard, left, lambda: is_decided(space, stage, budget=False)) as mine:
        if mine:
            facts = write_decided(space, arguments, stage, runs=runs, seconds=seconds)
            finish(stage, facts.pop("said"), **by, **facts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--on-error", choices=["stop", "empty"], default="stop",
                        help="what to do with a test image that cannot be predicted (default: stop)")  # fmt: skip
    parser.add_argument("--time-budget", metavar="8h", help="stay within this time: give up TTA views, then "
                                                            "models, and with --on-error empty the last images; "
                                                            "without it, images predicted with fewer views are "
                                                            "predicted again",)  # fmt: skip
    parser.add_argument("--keep-folds", action="store_true", help="also predict and keep each fold by itself")
    run_spread_stage("07", checked("07", predict_submission), parser, argv)


if __name__ == "__main__":
    main()
