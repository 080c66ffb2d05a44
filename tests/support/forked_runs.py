"""Whole runs in processes of their own, each forked from one that has imported what the stages use."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from pipeline.sequence import run_stages

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pipeline.preflight.names", "pipeline.04_train", "pipeline.07_predict_test", __name__])


def start_run(arguments: list[str], log: Path) -> ForkServerProcess:
    """Start stages 01 to 07 as the leader of a new process group; what they print is added to `log`."""
    process = _CONTEXT.Process(target=_run, args=(arguments, log))
    process.start()
    return process


def _run(arguments: list[str], log: Path) -> None:
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.flush()
    run_stages(arguments)
