"""The process that measures: told the parts on standard input, it answers with a line of JSON a row."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module
from typing import Any, TextIO

from benchmarks.gpu.place import Place, describe, take_place
from benchmarks.gpu.rows import Row

PARTS = ("stages", "prediction", "training", "models", "memory", "compiled")


def serve(device: str, pretend: str | None, answers: TextIO) -> None:
    """Do the parts that are named on standard input, a line each."""
    place = take_place(device, pretend)
    for part in PARTS:
        import_module(f"benchmarks.gpu.{part}")  # what it takes to begin counts for no part
    _say(answers, facts=describe(place))
    for line in sys.stdin:
        do_part(line.strip(), place, answers)


def do_part(name: str, place: Place, answers: TextIO) -> None:
    """One part; its error is an answer like its rows."""
    work: Callable[[Place], Iterator[Row]] = import_module(f"benchmarks.gpu.{name}").run
    try:
        with contextlib.redirect_stdout(sys.stderr):
            for row in work(place):
                _say(answers, row=asdict(row))
    except Exception as error:  # whatever it is, the next part goes on
        traceback.print_exc()
        _say(answers, error=f"{type(error).__name__}: {error}")
    gc.collect()
    place.forget_peak()
    _say(answers, done=name)


def _say(answers: TextIO, **what: Any) -> None:
    print(json.dumps(what, default=float), file=answers, flush=True)


if __name__ == "__main__":
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, out)
