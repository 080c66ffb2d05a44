"""Done or not at all: files are written beside their final name and renamed."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def partial_path(path: Path) -> Path:
    """Where this process builds the file or folder `path`: no other process, on this machine or another, writes there.

    Two processes that make the same thing at once then both finish it, and the later one's is kept.
    """
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")


def write_atomic(path: Path, text: str) -> None:
    """Write text beside its final name and rename: a reader sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)
