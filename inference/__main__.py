"""A bundle on the command line.

python -m inference run BUNDLE --data DIR --out submission.csv      test images to a submission, with no network
python -m inference dry-run BUNDLE --data DIR --copies 500          does it fit the host's machine and hours?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from inference.progress import image_bar
from submissions.command_exit import run_command
from submissions.host.atomic import DiskFull


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = parser.add_subparsers(dest="word", required=True)
    run = words.add_parser("run", help="predict the test images with a bundle")
    run.add_argument("--out", type=Path, default=Path("submission.csv"), help="file to write (default: submission.csv)")
    run.add_argument("--device", help="cpu, cuda, or several as in cuda:0,cuda:1 (default: every GPU, else the CPU)")
    run.add_argument(
        "--time-budget", metavar="8h", help="give up TTA views, then models, then images (with --on-error empty)"
    )
    run.add_argument(
        "--memory-cap", type=float, metavar="GB", help="memory for buffers, in GB (default: as in the experiment)"
    )
    run.add_argument(
        "--on-error",
        choices=["stop", "empty"],
        default="stop",
        help="what to do with an image that cannot be predicted",
    )
    trial = words.add_parser("dry-run", help="try out a bundle in a fresh environment, with no network, and measure it")
    trial.add_argument(
        "--copies", type=int, default=500, help="number of images of the hidden test set; 0: only the images at hand"
    )
    trial.add_argument("--limit", default="9h", help="time that the host allows (default: 9h)")
    trial.add_argument("--sources", type=int, default=12, help="number of images to predict and time (default: 12)")
    trial.add_argument("--work", type=Path, help="folder for temporary files (default: a temporary one)")
    for word in (run, trial):
        word.add_argument("bundle", type=Path, help="folder that stage 08 wrote")
        word.add_argument("--data", type=Path, required=True, help="the host's files")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from inference.bundle.bundle import run
    from inference.predict.time_budget import parse_budget

    with image_bar() as progress:
        summary = run(
            arguments.bundle, arguments.data, arguments.out,
            device=arguments.device, on_error=arguments.on_error, report=tqdm.write, progress=progress,
            memory_cap_gb=arguments.memory_cap,
            seconds=parse_budget(arguments.time_budget) if arguments.time_budget else None,
        )  # fmt: skip
    print(summary)


def _dry_run(arguments: argparse.Namespace) -> None:
    from inference.bundle.dry_run import dry_run
    from inference.predict.time_budget import parse_budget

    found = dry_run(
        arguments.bundle, arguments.data, copies=arguments.copies, seconds=parse_budget(arguments.limit),
        sources=arguments.sources, work=arguments.work,
    )  # fmt: skip
    print(found)
    if not found.fits:
        raise ValueError("it does not fit: use fewer TTA views, folds or models, or less overlap of tiles")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    try:
        {"run": _run, "dry-run": _dry_run}[arguments.word](arguments)
    except (ValueError, FileNotFoundError, DiskFull) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    run_command(main)
