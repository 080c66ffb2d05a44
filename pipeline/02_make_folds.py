"""Stage 02: divide the training images into folds, freeze them in a file, and audit it for leaks.

Reads:   runs/<competition>/inventory/
Writes:  runs/<competition>/folds/<hash>/  folds.csv (image_id, fold, group, stratum, excluded_from, source),
         balance.csv and balance.png, leaks.csv and leaks.png (pairs of images that one should not find on both sides),
         shift.json, shift.png, shift_*.csv (are the test images like training?), sources.png,
         shift_copies.csv and .png (test images that show what a training image shows)

Example: python pipeline/02_make_folds.py tgs-salt --set folds.n=5
         python pipeline/02_make_folds.py tgs-salt --set folds.repeats=3     (three different splits)
         python pipeline/02_make_folds.py tgs-salt --folds team_folds.csv     (a team's frozen file)
         python pipeline/02_make_folds.py tgs-salt --group-duplicates         (near duplicates into one fold)

A table that is frozen stays, however it was made, until one of these flags or --overwrite asks for another.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

try:
    from pipeline.data.fold_tables import SOURCES, fold_table, folds_stage, freeze, frozen_table
    from pipeline.data.leak_report import audit_and_report
    from pipeline.preflight.checks import checked
    from pipeline.runs import trained_spaces
    from pipeline.shift.shift_report import report_shift
    from pipeline.workspace import Workspace, already, finish, run_stage, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def make_folds(space: Workspace, arguments: argparse.Namespace) -> None:
    """Split, freeze, audit, once or for each of the repeated splits."""
    for each in trained_spaces(space, "02_make_folds"):
        make_split(each, arguments)


def make_split(space: Workspace, arguments: argparse.Namespace) -> None:
    """Make one split and print the leaks that it leaves, with their remedy. A frozen fold file stays until asked
    otherwise.
    """
    asked = space.overwrite or arguments.group_duplicates or arguments.folds is not None
    kept = None if asked else frozen_table(space)
    if kept is not None:
        table, source = kept
    else:
        table = fold_table(space, arguments.folds, group_duplicates=arguments.group_duplicates)
        source = "file" if arguments.folds is not None else "grouped" if arguments.group_duplicates else ""
    stage = folds_stage(space, table)
    begun = stage.begin(overwrite=space.overwrite)
    if kept is None:
        freeze(space, table, stage, source)
    if not begun:
        return already(stage, SOURCES.get(source, ""))
    summary = audit_and_report(space, table, stage.folder)
    for line in report_shift(space, stage.folder) if not space.experiment.folds.split else ():
        print(f"{stage.name}: {line}")
    finish(stage, summary)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__ or "")
    parser.add_argument("--folds", type=Path, help="a frozen fold file to use instead of splitting")
    parser.add_argument("--group-duplicates", action="store_true", help="keep near-duplicate images in one fold")
    run_stage(checked("02", make_folds), parser, argv)


if __name__ == "__main__":
    main()
