"""What was measured: rows of a part, and the table and JSON that are written again after every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from submissions.host.atomic import write_atomic


@dataclass(frozen=True)
class Row:
    """One figure: what it is of, the value, its unit, the bar it is held against (at least; at most with `below`)."""

    what: str
    value: float | str
    unit: str = ""
    bar: float | None = None
    below: bool = False

    @property
    def verdict(self) -> str:
        """What the bar says of it; '' where there is none."""
        if self.bar is None or isinstance(self.value, str):
            return ""
        kept = self.value <= self.bar if self.below else self.value >= self.bar
        return f"{'at most' if self.below else 'at least'} {self.bar:g}: {'yes' if kept else 'NO'}"


@dataclass
class Part:
    """One part of the run: its share of the time, what became of it, its rows."""

    name: str
    state: str = "waiting"  # running, done, failed, cut off
    seconds: float = 0.0
    error: str = ""
    rows: list[Row] = field(default_factory=list)


def write_results(folder: Path, facts: dict[str, Any], parts: Sequence[Part]) -> None:
    """`gpu.json` and `gpu.md` in a folder, each whole or not at all."""
    document = {**facts, "parts": [asdict(part) for part in parts]}
    write_atomic(folder / "gpu.json", json.dumps(document, indent=1) + "\n")
    write_atomic(folder / "gpu.md", as_table(facts, parts))


def as_table(facts: dict[str, Any], parts: Sequence[Part]) -> str:
    """The same as Markdown."""
    lines = [", ".join(f"{key} {value}" for key, value in facts.items()), ""]
    lines += ["| part | what | | bar |", "|---|---|---|---|"]
    for part in parts:
        note = f"{part.state} after {part.seconds:.0f} s" if part.seconds else part.state
        lines.append(f"| **{part.name}** | {note} {_cell(part.error)} | | |")
        lines += [f"| | {_cell(row.what)} | {_figure(row)} | {row.verdict} |" for row in part.rows]
    return "\n".join(lines) + "\n"


def _figure(row: Row) -> str:
    value = row.value if isinstance(row.value, str) else f"{row.value:.4g}"
    return f"{_cell(value)} {row.unit}".strip()


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]
