"""How a command ends as a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def sentence(error: BaseException) -> str:
    """What a user reads of an error: of one of the system's which file it is about, and why."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Run `main` and leave with its status; a reader that stops early, as `head` does, ends it without a traceback."""
    try:
        try:
            status = main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # the interpreter flushes once more when it leaves, which would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    raise SystemExit(status)
