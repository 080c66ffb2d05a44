"""Which kind of answer a contract wants: the one table of kinds with their lints, and the calls that stages make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from submissions.answers.answer import Answer
from submissions.answers.coco_answer import CocoAnswer
from submissions.answers.coco_lint import lint_objects
from submissions.answers.file_answer import FileAnswer
from submissions.answers.file_lint import lint_files
from submissions.answers.geojson_answer import GeoJsonAnswer
from submissions.answers.point_answer import PointAnswer
from submissions.answers.point_lint import lint_points
from submissions.answers.table_answer import TableAnswer
from submissions.host.competition import Competition
from submissions.host.problems import Problem
from submissions.host.sample import submission_format
from submissions.table.findings import Finding
from submissions.table.lint import lint_submission

Lint = Callable[[Any, Path, Path, pd.DataFrame | None], list[Finding]]


def _lint_table(answer: TableAnswer, path: Path, data: Path, training: pd.DataFrame | None) -> list[Finding]:
    return lint_submission(path, answer.competition, data, training=training)


KINDS: dict[str, tuple[Callable[[Competition], Answer], Lint]] = {
    "table": (TableAnswer, _lint_table), "images": (FileAnswer, lint_files), "volumes": (FileAnswer, lint_files),
    "coco": (CocoAnswer, lint_objects), "geojson": (GeoJsonAnswer, lint_objects), "points": (PointAnswer, lint_points),
}  # fmt: skip


def answer_of(competition: Competition) -> Answer:
    """The kind of answer of a contract; ValueError where the host takes none."""
    kind, _ = KINDS[submission_format(competition).kind]
    return kind(competition)


def answer_path(competition: Competition, folder: Path, name: str = "submission") -> Path:
    """Where an answer lies in a folder: `name` with the ending of its kind; '.csv' where the host takes none."""
    return folder / (name + (answer_of(competition).ending if competition.submission else ".csv"))


def answer_place(competition: Competition, out: Path) -> Path:
    """`out`, a name that ends in .csv with the ending of the contract's kind; another is the user's word."""
    return answer_path(competition, out.parent, out.stem) if out.suffix == ".csv" else out


def lint_answer(
    path: Path, competition: Competition, data: Path, *, training: pd.DataFrame | None = None
) -> list[Finding]:
    """Findings of an answer against the contract, the sample and the test images under `data`; none: nothing was found.

    training: a table with height, width and area_<class> (the inventory, or `plausible.sample_training`), against
    which sizes are compared. Raises FileNotFoundError where there is no such file, ValueError where the contract takes
    no submission; what is wrong with the file itself is a finding.
    """
    _, lint = KINDS[submission_format(competition).kind]
    return lint(answer_of(competition), path, data, training)


def check_answer(competition: Competition, data: Path) -> list[Problem]:
    """What is wrong with the contract's form of the answer against the files at hand; none where it takes no answer."""
    return answer_of(competition).problems(data) if competition.submission else []
