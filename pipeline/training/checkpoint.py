"""`last.pt`: everything that a restart needs, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from submissions.host.atomic import partial_path, room_for

LAST = "last.pt"
FORMAT = 1


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and lists or dicts of them beside `path`, then rename.

    A kill or a full disk while saving leaves the previous file; the error is passed on, a full disk's as DiskFull.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        with room_for(path, _size(state), partial), partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _size(value: Any) -> int:
    """Bytes of the tensors in lists and dicts."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_size, parts))


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, on the CPU; None where there is no such file. Nothing is unpickled but plain
    data.

    Raises ValueError where the file is damaged or of another version.
    """
    for left in path.parent.glob(f"{path.name}.*partial"):  # of processes that were killed
        left.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state.pop("format")
    except Exception as error:  # torch raises whatever the reader met
        raise ValueError(f"{path} cannot be read ({error}); delete it to train this fold from the start") from error
    if found != FORMAT:
        raise ValueError(f"{path} has format {found}, expected {FORMAT}; delete it to train this fold from the start")
    return state
