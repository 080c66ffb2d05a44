"""What every entry point takes before it does anything: the time and memory of its --help.

    python benchmarks/start_up.py [--against REVISION] [--rounds 5] [--only segpipe]

Each figure is the best of several fresh processes, the revisions in turn; the processor's time says what an idle core
takes where this one is shared. What the older revision does not have is left blank there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from revisions import environment_of, tree_at

from pipeline.__main__ import WORDS
from pipeline.sequence import ALL_STAGES

MODULES = {
    "pipeline": tuple(WORDS),
    "submissions": ("lint", "score", "show", "ledger"),
    "inference": ("run", "dry-run"),
}
ENTRIES: dict[str, list[str]] = {
    **{f"pipeline/{name}.py --help": [f"pipeline/{name}.py", "--help"] for name in ALL_STAGES},
    "segpipe --help": ["-c", "from pipeline.__main__ import command; command()", "--help"],
    **{
        f"python -m {module} {word} --help".replace("  ", " "): ["-m", module, *([word] if word else []), "--help"]
        for module, words in MODULES.items()
        for word in ("", *words)
    },
    "python -m inference.models --help": ["-m", "inference.models", "--help"],
    **{
        f"import {name}": ["-c", f"import {name}"] for name in ("folds.splitters", "folds.audit", "submissions.metrics")
    },
}


class Cost(NamedTuple):
    """One start: seconds on the clock, seconds of a processor, peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def start(words: Sequence[str], tree: Path) -> Cost | None:
    """Start Python in `tree` with these words and wait for its end; None where it ends with an error."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=tree,
        env=environment_of(tree),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cost = Cost(time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
    return None if process.returncode else cost


def best(words: Sequence[str], trees: Sequence[Path], rounds: int) -> list[Cost | None]:
    """The least of each figure by tree, after a start that writes what Python compiles."""
    found: list[list[Cost]] = [[] for _ in trees]
    for turn in range(rounds + 1):
        for tree, costs in zip(trees, found, strict=True):
            cost = start(words, tree)
            if turn and cost is not None:
                costs.append(cost)
    return [Cost(*map(min, zip(*costs, strict=True))) if costs else None for costs in found]


def row(name: str, costs: Sequence[Cost | None]) -> str:
    """A line of the table."""
    cells = ["" if cost is None else f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f}" for cost in costs]
    return f"| `{name}` | " + " | ".join(cell or " |  | " for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REVISION", help="a commit that is measured beside this checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="part of the entry points' names")
    arguments = parser.parse_args()
    with tree_at(arguments.against) as before, tree_at(None) as now:
        trees = [now] if arguments.against is None else [before, now]
        heads = [f"s {when} | processor s | MB" for when in ("before", "now")][-len(trees) :]
        print(f"| | {' | '.join(heads)} |\n|---{'|---' * 3 * len(trees)}|")
        for name, words in ENTRIES.items():
            if arguments.only in name:
                print(row(name, best(words, trees, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
