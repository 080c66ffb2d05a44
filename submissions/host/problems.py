"""What is wrong with the host's files, and how to correct it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pandas as pd

SHOWN = 50


@dataclass(frozen=True, order=True)
class Problem:
    """One problem: which file or id, what was found, what was expected, what to do."""

    where: str
    found: str
    expected: str
    action: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}; {self.action}"


class ProblemsError(ValueError):
    """All problems at once; nothing is started on data that is known to be wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(set(problems))  # training and test images may be the same files
        lines = [f"{len(self.problems)} problem(s) with the data:"]
        lines += [f"  {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  ... and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(lines))


def problem_table(problems: Sequence[Problem]) -> pd.DataFrame:
    """Problems as a table with the columns where, found, expected, action; sorted."""
    names = [field.name for field in fields(Problem)]
    return pd.DataFrame([astuple(problem) for problem in sorted(problems)], columns=names)


def require_folder(folder: Path, what: str, action: str) -> Path:
    """`folder` if it is one; otherwise FileNotFoundError that says what it should hold and what to do."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected {what}; {action}")
    return folder
