"""A host's metric, a file with `score(solution, submission, row_id_column_name) -> float`, taken as it is.

It runs in a process of its own, on tables read as the host reads them (`pandas.read_csv`). Whatever it does - raise,
exit, crash, hang, print, import what is not here - ends as one sentence; scores are remembered by the file's content
and the rows'.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from submissions.host_metric import process

SHOWN = 300  # characters of what a file prints or says
Rows = np.ndarray | None  # whole numbers: positions in a table, None for all of it


class HostMetricError(ValueError):
    """The host's file gave no score; the sentence says why."""


class HostFile:
    """A running metric over one pair of tables; a context manager, so that no process is left behind.

    Parameters
    ----------
    file : the host's Python file
    solution, submission : tables of text, '' for a blank cell
    row_id : name of the id column, the third argument of `score`; params : further arguments by name
    seconds : longest that one call may take
    known : scores by the content they are of, read and added to
    """

    def __init__(
        self,
        file: Path,
        solution: pd.DataFrame,
        submission: pd.DataFrame,
        *,
        row_id: str,
        params: Mapping[str, Any] | None = None,
        seconds: float = 600.0,
        known: dict[str, float] | None = None,
    ) -> None:
        self.file, self.seconds, self.known = file, seconds, {} if known is None else known
        self.spent = 0.0
        self._given = {"row_id": row_id, "params": dict(params or {})}
        self._tables = (solution, submission)
        self._hashes = tuple(_row_hashes(table) for table in self._tables)
        said = json.dumps([list(map(str, solution)), list(map(str, submission)), self._given], sort_keys=True)
        self._key = hashlib.sha256(file.read_bytes() + said.encode()).digest()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> HostFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        if self._folder is not None:
            self._folder.cleanup()

    def score(self, solution: Rows = None, submission: Rows = None) -> float:
        """The metric over these rows of both tables; raises HostMetricError with a sentence."""
        key = self._content(solution, submission)
        if key not in self.known:
            began = time.monotonic()
            try:
                if self._process is None:
                    self._start()
                asked = [None if rows is None else np.asarray(rows).tolist() for rows in (solution, submission)]
                answer = self._ask({"solution": asked[0], "submission": asked[1]})
            finally:
                self.spent += time.monotonic() - began
            self.known[key] = self._number(answer["score"])
        return self.known[key]

    @property
    def printed(self) -> str:
        """The beginning of what the file has printed so far, on one line; '' where it printed nothing."""
        if self._folder is None:
            return ""
        text = (Path(self._folder.name) / "printed").read_bytes()[: 4 * SHOWN].decode(errors="replace")
        return " ".join(text.split())[:SHOWN]

    def _content(self, solution: Rows, submission: Rows) -> str:
        made = hashlib.sha256(self._key)
        for hashes, rows in zip(self._hashes, (solution, submission), strict=True):
            made.update(b"|" + b"".join(hashes if rows is None else [hashes[row] for row in np.asarray(rows)]))
        return made.hexdigest()[:32]

    def _start(self) -> None:
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="host-metric-")
        folder = Path(self._folder.name)
        paths = [folder / "solution.csv", folder / "submission.csv"]
        for table, path in zip(self._tables, paths, strict=True):
            table.to_csv(path, index=False)
        with (folder / "printed").open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(process.__file__)), str(self.file.resolve())], cwd=folder,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed, start_new_session=True,
            )  # fmt: skip
        self._ask({"solution": str(paths[0]), "submission": str(paths[1]), **self._given})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The process's answer; HostMetricError where it has none, or the file raised."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended: what is read next says how
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        line, until = b"", time.monotonic() + self.seconds
        while not line.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                self._end()
                raise HostMetricError(
                    f"{self.file.name} took more than {self.seconds:g} s for one table and was stopped; give it more "
                    "with metric.seconds, or look what it waits for"
                )
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                raise HostMetricError(self._ended())
            line += part
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise HostMetricError(self._raised(answer))
        return answer

    def _ended(self) -> str:
        assert self._process is not None
        status, printed = self._process.wait(), self.printed
        self._end()
        how = f"ended by signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"exited with {status}"
        return f"{self.file.name} {how} instead of giving a score" + (f"; it printed: {printed}" if printed else "")

    def _raised(self, answer: Mapping[str, Any]) -> str:
        name, said = str(answer["error"]), str(answer["said"])[:SHOWN]
        if name == "ParticipantVisibleError":
            return f"{self.file.name} refuses the table: {said}"
        if name == "ModuleNotFoundError":
            return (
                f"{self.file.name} imports {answer['module']!r}, which is not installed here; install it and try again"
            )
        if name == "LookupError":
            return f"{self.file.name}: {said}"
        where = f" in line {answer['where']}" if answer["where"] else ""
        return f"{self.file.name} failed{where}: {name}: {said}"

    def _number(self, score: Any) -> float:
        if not isinstance(score, int | float) or math.isinf(score):
            raise HostMetricError(f"{self.file.name} gave {score!r}, expected a number")
        return float(score)

    def _end(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            self._process = None


def _row_hashes(table: pd.DataFrame) -> list[bytes]:
    """A hash of each row's cells."""
    rows: Sequence[tuple[Any, ...]] = list(table.itertuples(index=False, name=None))
    return [hashlib.sha256("\x1f".join(map(str, row)).encode()).digest()[:12] for row in rows]
