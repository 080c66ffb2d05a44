"""Commands whose output nobody reads to the end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from submissions.command_exit import sentence

ROOT = Path(__file__).parents[2]
PROGRAM = "from submissions.command_exit import run_command\nimport sys\nrun_command(lambda: {})\n"


@pytest.mark.parametrize(
    "work", ["print('row')", "[print('row') for _ in range(10**5)] and None", "sys.exit(print(1))"]
)
def test_a_reader_that_stops_early_sees_no_traceback(work: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(work)], cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(("work", "status"), [("None", 0), ("2", 2), ("sys.exit(3)", 3)])
def test_a_status_is_passed_on(work: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(work)], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "data/a.png"), "data/a.png: Permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"data/a\xff"), "data/a\udcff: Is a directory"),
        (OSError("truncated"), "truncated"),
        (ValueError("seed is -1"), "seed is -1"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_error_is_said_in_words(error: Exception, said: str) -> None:
    assert sentence(error) == said
