"""The process in which a host's metric runs: `python -P process.py METRIC.py`, spoken to in lines of JSON.

The first line names the tables and what else `score` takes: {"solution": CSV, "submission": CSV, "row_id": column,
"params": {...}}. Every further line asks for a part of them, {"solution": [rows], "submission": [rows]}, null for all.
Each line is answered by one: {"score": number}, or {"error": the exception's name, "said": its words, "where": line of
the file}. What the file prints goes to the standard error, and it can read nothing from the standard input. Nothing of
this project is imported here.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pandas as pd


def main() -> None:
    """Read lines, write answers, until there are no more."""
    asked = os.fdopen(os.dup(0), encoding="utf-8")
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    file, scorer = sys.argv[1], None
    for line in asked:
        try:
            if scorer is None:
                scorer, answer = _opened(file, json.loads(line)), {}
            else:
                answer = {"score": scorer(json.loads(line))}
        except Exception as error:  # the host's file may raise anything: it is told, not raised
            answer = _told(file, error)
        sys.stdout.flush()
        told.write(json.dumps(answer) + "\n")
        told.flush()


def _opened(file: str, given: dict[str, Any]) -> Callable[[dict[str, list[int] | None]], float]:
    function = runpy.run_path(file, run_name="host_metric").get("score")
    if not callable(function):
        raise LookupError("no function score(solution, submission, row_id_column_name)")
    solution, submission = pd.read_csv(given["solution"]), pd.read_csv(given["submission"])

    def scored(rows: dict[str, list[int] | None]) -> float:
        tables = [_part(solution, rows["solution"]), _part(submission, rows["submission"])]
        return float(function(*tables, given["row_id"], **given["params"]))

    return scored


def _part(table: pd.DataFrame, rows: list[int] | None) -> pd.DataFrame:
    return (table if rows is None else table.iloc[rows]).reset_index(drop=True).copy()


def _told(file: str, error: Exception) -> dict[str, Any]:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    name = error.name if isinstance(error, ModuleNotFoundError) else ""
    return {"error": type(error).__name__, "said": str(error), "where": lines[-1] if lines else None, "module": name}


if __name__ == "__main__":
    main()
