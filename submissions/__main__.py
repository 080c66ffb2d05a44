"""Commands about a submission: python -m submissions WORD ...

lint SUBMISSION --competition NAME             is the file what the host wants? exit status 1 on errors
score SUBMISSION SOLUTION --competition NAME   the host's metric: overall, by group, public and private
show SUBMISSION --competition NAME --id ID     masks over images, as a PNG
ledger                                         every submission with CV and leaderboard: noise or shift?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from submissions.answers import lint_answer
from submissions.answers.scoring import score_parts
from submissions.answers.show import draw_submission
from submissions.command_exit import run_command
from submissions.host.competition import Competition, load_competition
from submissions.kaggle.leaderboard import render
from submissions.kaggle.ledger import LEDGER, enter_scores, read_ledger
from submissions.table.findings import Finding, errors
from submissions.table.lint import summary
from submissions.table.plausible import sample_training


def _parser(word: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m submissions {word}", description=description)
    if word != "ledger":
        parser.add_argument(
            "submission",
            type=Path,
            help="the submission: a CSV file, or the zip, folder or JSON of the contract's submission.kind",
        )
        parser.add_argument("--competition", required=True, help="name of a contract, or the path of a YAML file")
        parser.add_argument("--data", type=Path, help="the host's files (default: data/<competition>)")
    return parser


def _opened(arguments: argparse.Namespace) -> tuple[Competition, Path]:
    competition = load_competition(arguments.competition)
    return competition, arguments.data or Path("data") / competition.name


def lint(argv: Sequence[str]) -> int:
    parser = _parser("lint", "Check a submission against the contract, the sample, the test images and training.")
    parser.add_argument(
        "--training",
        type=Path,
        metavar="CSV",
        help="table with height, width, area_<class>, such as runs/<competition>/inventory/inventory.csv "
        "(default: 200 training masks are read)",
    )
    parser.add_argument("--no-training", action="store_true", help="do not compare the sizes of masks with training")
    arguments = parser.parse_args(argv)
    competition, data = _opened(arguments)
    training, more = None, []
    if arguments.training is not None:
        training = pd.read_csv(arguments.training)
    elif not arguments.no_training:
        try:
            training = sample_training(competition, data)
        except (ValueError, OSError) as error:
            more = [Finding("warning", None, f"sizes are not compared with training: {error}")]
    findings = lint_answer(arguments.submission, competition, data, training=training) + more
    for finding in findings:
        print(finding)
    print(f"{arguments.submission}: {summary(findings)}")
    return 1 if errors(findings) else 0


def score(argv: Sequence[str]) -> int:
    parser = _parser("score", "Score a submission against a solution under the host's metric.")
    parser.add_argument(
        "solution",
        type=Path,
        help="the truth in the same form; a column Usage (Public, Private, Ignored) gives a score for each part",
    )
    parser.add_argument("--units", type=Path, metavar="CSV", help="write the row of every image (or stack) here")
    arguments = parser.parse_args(argv)
    competition, data = _opened(arguments)
    found = score_parts(competition, arguments.submission, arguments.solution, data)
    if arguments.units is not None:
        found.overall.table.to_csv(arguments.units, index=False)
    lines = [("overall", "", len(found.overall.table), found.overall.score)]
    lines += list(found.parts.itertuples(index=False, name=None))
    print(f"{competition.metric.name}, {competition.name}")
    for part, value, units, result in lines:
        print(f"  {f'{part} {value}'.strip():32} {result:.6f}   ({units} {competition.metric.unit}s)")
    return 0


def show(argv: Sequence[str]) -> int:
    parser = _parser("show", "Draw masks over their images.")
    parser.add_argument("--id", action="append", required=True, help="image id; several times for several images")
    parser.add_argument("--out", type=Path, default=Path("submission.png"), help="default: submission.png")
    parser.add_argument(
        "--solution", type=Path, help="the truth in the same form; of one class: green right, blue missed, red too much"
    )
    arguments = parser.parse_args(argv)
    competition, data = _opened(arguments)
    draw_submission(competition, arguments.submission, data, arguments.id, arguments.out, solution=arguments.solution)
    print(f"{len(arguments.id)} image(s) -> {arguments.out}")
    return 0


def ledger(argv: Sequence[str]) -> int:
    parser = _parser("ledger", "Print the ledger, and what the leaderboard says about CV.")
    parser.add_argument("--file", type=Path, default=LEDGER, help=f"default: {LEDGER}")
    parser.add_argument("--submission", metavar="HASH", help="enter scores for this submission (or a beginning of it)")
    parser.add_argument("--public", type=float, help="its public score")
    parser.add_argument("--private", type=float, help="its private score")
    arguments = parser.parse_args(argv)
    scores = {"public": arguments.public, "private": arguments.private}
    if any(value is not None for value in scores.values()) != (arguments.submission is not None):
        parser.error("--submission HASH and --public or --private come together")
    if arguments.submission is not None:
        enter_scores(arguments.file, arguments.submission, **scores)
    print(render(read_ledger(arguments.file)))
    return 0


WORDS: dict[str, Callable[[Sequence[str]], int]] = {"lint": lint, "score": score, "show": show, "ledger": ledger}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status: 1 for errors found or a sentence about what is wrong, 2 for wrong usage."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not given or given[0] not in WORDS:
        found = f"found {given[0]!r}" if given else "a word is missing"
        print(f"{__doc__}\n{found}, expected one of {', '.join(WORDS)}", file=sys.stderr)
        return 2
    try:
        return WORDS[given[0]](given[1:])
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    run_command(main)
