"""Commands that end as no command may, for the test of the test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> None:
    """End as the word says: raise, hang, memory (more than there may be), read (a file without rights)."""
    word = argv[0]
    if word == "hang":
        time.sleep(600)
    elif word == "memory":
        bytearray(4 * 2**30)
    elif word == "read":
        Path("locked").read_text()
    raise KeyError(word)
