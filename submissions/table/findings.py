"""What a check of a submission found: errors (the host would refuse it or score it wrongly) and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]
SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One thing found: its level, the row of the table it is about (from 1, the header not counted; None: the
    whole file), and the cause as a sentence.

    doubt: the table is what the host takes, it is the masks in it that look wrong.
    """

    level: Level
    row: int | None
    cause: str
    doubt: bool = False

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}: "
        return f"{self.level}: {place}{self.cause}"


def rows_findings(level: Level, what: str, faults: Iterable[tuple[int, str]], shown: int = SHOWN) -> list[Finding]:
    """One finding per row (index from 0, cause), for the first `shown` rows; the rest as one finding with their number.

    `what` names the kind of fault, e.g. 'masks that do not decode'.
    """
    named: list[Finding] = []
    count = 0
    for index, cause in faults:
        count += 1
        if count <= shown:
            named.append(Finding(level, index + 1, cause))
    if count > shown:
        named.append(Finding(level, None, f"{what}: {count} rows in all, the first {shown} are named"))
    return named


def errors(findings: Sequence[Finding]) -> list[Finding]:
    """The errors, which must be corrected before the file is submitted."""
    return [finding for finding in findings if finding.level == "error"]
