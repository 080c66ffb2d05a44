"""Done or not at all: files are written beside their final name and renamed; a full disk, or a file larger than the
system allows, is reported with file and size.
"""

from __future__ import annotations

import errno
import math
import os
import re
import resource
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFull(OSError):
    """The disk is too full for a file, or the file larger than the system allows."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOSPC, message)

    def __str__(self) -> str:
        return str(self.args[1])


def partial_path(path: Path) -> Path:
    """Where this process builds the file or folder `path`; no other process, on any machine, writes there.

    Two processes that make the same thing at once both finish, and the later result is kept.
    """
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")


def finite(value: Any) -> Any:
    """A value for JSON, which knows no NaN and no infinity: None in their place, inside of mappings and lists too."""
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's numbers too, without importing it
        return float(value) if math.isfinite(value) else None
    return value


def write_atomic(path: Path, text: str) -> None:
    """Write text beside its final name and rename: a reader sees the old file or the new one, whole.

    Raises DiskFull where there is no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    with room_for(path, len(text.encode()), partial):
        partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)


@contextmanager
def room_for(path: Path, size: int, partial: Path | None = None) -> Iterator[None]:
    """Context for writing `path`, a file or folder of about `size` bytes: on a full disk, DiskFull names path and
    bytes.

    What was written so far at `partial` is then removed; any other error is passed on.
    """
    try:
        yield
    except Exception as error:  # torch, HDF5 and safetensors hide the system's word in their own
        if not says_full(error):
            raise
        if partial is not None:
            with suppress(OSError):
                remove(partial)
        raise _full(path, size) from error


def check_room(path: Path, size: int) -> None:
    """Raise DiskFull if `path` of at most `size` bytes may not fit; HDF5 and mapped files crash on a full disk."""
    if min(shutil.disk_usage(path.parent).free, _largest_file()) < size:
        raise _full(path, size)


def _largest_file() -> float:
    """Bytes that a file of this process may have (`ulimit -f`)."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _full(path: Path, size: int) -> DiskFull:
    free, largest = shutil.disk_usage(path.parent).free, _largest_file()
    why = f"the disk is full: {size:,} bytes are needed, {free:,} are free; free some space"
    if largest < free:
        why = f"files may have {largest:,} bytes at most (ulimit -f), about {size:,} are needed; raise the limit"
    return DiskFull(f"{path}: {why} and start again, finished work is kept")


def says_full(error: BaseException | None) -> bool:
    """Whether an error, or its cause, says that a disk is full, a quota used up or a file too large."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if re.search(rf"(os error|errno =) ({'|'.join(map(str, FULL))})\b", str(error)):  # as Rust and HDF5 write it
            return True
        error = error.__cause__ or error.__context__
    return False


def put_in_place(made: Path, path: Path) -> None:
    """Give the finished file or folder `made` the name `path`.

    What bore that name loses it before it is deleted, so that a kill leaves no half of it: of a file there is the
    old or the new one at every moment, of a folder for a moment neither.
    """
    if not (path.is_dir() or (made.is_dir() and path.exists())):
        made.replace(path)
        return
    before = partial_path(path.with_name(f"{path.name}.before"))
    remove(before)
    path.replace(before)
    made.replace(path)
    remove(before)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
