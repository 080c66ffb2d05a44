"""Stage 07: predict the test images, decide, write the submission in the sample's order, and lint it.

Reads:   runs/<competition>/<experiment>/fold_k/ (weights) and tuning/decision.json, the host's test images
Writes:  runs/<competition>/<experiment>/test/  a prediction file an image, and .../submission.csv

Example: python pipeline/07_predict_test.py tgs-salt --time-budget 8h --on-error empty
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tqdm import tqdm

try:
    from pipeline.prediction import lint_own, predict_test, test_stage
    from pipeline.workspace import Workspace, already, finish, run_stage, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def predict_submission(space: Workspace, arguments: argparse.Namespace) -> None:
    """Predict what is not predicted yet; the submission is only left where the linter finds no error."""
    if space.competition.submission is None:
        print(f"07_predict_test: the contract of {space.competition.name} has no test images; nothing to submit")
        return
    stage = test_stage(space)
    if not stage.begin(overwrite=space.overwrite):
        return already(stage)
    with tqdm(desc="images", unit="image") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        summary = predict_test(space, stage.folder, on_error=arguments.on_error, report=tqdm.write, progress=progress)
    warnings = lint_own(space, summary.path)
    for warning in warnings:
        print(f"lint: {warning}")
    failed = f", {len(summary.failures)} of them empty because unreadable" if summary.failures else ""
    said = f"{summary.images} images{failed}, {len(summary.table)} rows, {len(warnings)} lint warning(s)"
    finish(stage, f"{said} -> {summary.path}", submission=str(summary.path.name))


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--on-error", choices=["stop", "empty"], default="stop",
                        help="what to do with a test image that cannot be read (default: stop)")  # fmt: skip
    run_stage(predict_submission, parser, argv)


if __name__ == "__main__":
    main()
