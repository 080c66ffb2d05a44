"""python -m inference run BUNDLE --data DIR --out submission.csv: test images to a submission, with no network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from inference.bars import image_bar


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    words = parser.add_subparsers(dest="word", required=True)
    run = words.add_parser("run", help="predict the test images with a bundle")
    run.add_argument("bundle", type=Path)
    run.add_argument("--data", type=Path, required=True, help="the host's files")
    run.add_argument("--out", type=Path, default=Path("submission.csv"))
    run.add_argument("--device", help="cpu, cuda, or several as in cuda:0,cuda:1 (default: a GPU where there is one)")
    run.add_argument("--time-budget", metavar="8h", help="give up views, then models, to end in this time")
    run.add_argument("--on-error", choices=["stop", "empty"], default="stop")
    arguments = parser.parse_args(argv)

    from inference.budget import parse_budget
    from inference.bundle import run as run_bundle

    try:
        with image_bar() as progress:
            summary = run_bundle(
                arguments.bundle, arguments.data, arguments.out,
                device=arguments.device, on_error=arguments.on_error, report=tqdm.write, progress=progress,
                seconds=parse_budget(arguments.time_budget) if arguments.time_budget else None,
            )  # fmt: skip
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    print(f"{summary.images} images, {len(summary.failures)} unreadable, {len(summary.table)} rows -> {summary.path}")


if __name__ == "__main__":
    main()
