"""Stage 09: write the submission into the ledger, score it where there is a solution, hand it in where asked to.

Reads:   runs/<competition>/<experiment>/submission.csv, which is linted once more, tuning/stage.json and decision.json;
         with --upload in a code competition bundle/ and kernel/ with their metadata files
Writes:  a row in submissions/ledger.csv, without a CV where tune.metric is not the metric of the contract; the same
         submission again only renews its row, and is not handed in twice

Example: python pipeline/09_submit.py tgs-salt --upload --message "EfficientNet-b3, five folds"
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

try:
    from pipeline.delivery.submission_lint import lint_submission
    from pipeline.delivery.submitting import code_folders, host_name, promised, scored_locally, submission_path, upload
    from pipeline.workspace import Workspace, run_stage, stage_parser
    from submissions.kaggle.client import connect
    from submissions.kaggle.ledger import LEDGER, record
    from submissions.kaggle.upload import Patience
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def submit(space: Workspace, arguments: argparse.Namespace) -> None:
    """Write the row if the linter finds no error, before the upload: a failed upload leaves a row without a score."""
    entry = replace(promised(space), description=arguments.message)
    if entry.cv is None:
        print("09_submit: the row has no CV, because stage 06 did not score with the contract's metric")
    for warning in lint_submission(space, submission_path(space)):
        print(f"lint: {warning}")
    if arguments.solution is not None:
        entry, lines = scored_locally(space, entry, arguments.solution)
        print("\n".join(lines))
    record(arguments.ledger, entry)
    print(f"09_submit: {space.experiment.name}, submission {entry.submission} -> {arguments.ledger}")
    if not arguments.upload:
        return
    name = arguments.host_name or host_name(space.competition)
    found = upload(
        space, connect(), name, arguments.message, code=code_folders(space, arguments.dataset, arguments.kernel),
        patience=Patience(timeout=60 * arguments.timeout),
    )  # fmt: skip
    record(arguments.ledger, replace(entry, public=found.public, private=found.private))
    print(f"09_submit: {name} {found.ref}: public {found.public}, private {found.private} -> {arguments.ledger}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__ or "")
    parser.add_argument(
        "--solution", type=Path, help="the true masks of the test images, as a submission table: score against them"
    )
    parser.add_argument("--ledger", type=Path, default=LEDGER, help=f"table of submissions (default: {LEDGER})")
    parser.add_argument("--upload", action="store_true", help="upload it through the package `kaggle`")
    parser.add_argument("--message", default="", help="message that is sent with the submission")
    parser.add_argument("--host-name", help="the competition's name at the host (default: from the contract's url)")
    parser.add_argument("--dataset", type=Path, help="code competition: folder of the data set (default: bundle/)")
    parser.add_argument("--kernel", type=Path, help="code competition: folder of the notebook (default: kernel/)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        help="minutes to wait for the score, and in a code competition for the notebook's run (default: 60)",
    )
    run_stage(submit, parser, argv)


if __name__ == "__main__":
    main()
