"""One process at a time on a stage's folder, or several that share its images out; the others wait and say for whom.

The lock is `flock` on a file beside the folder, which the kernel lets go when its process ends, however that comes.
On network file systems (man 2 flock): NFS carries it to the server, for all hosts, unless mounted with `nolock` or
`local_lock`; a host that dies frees it when the server's lease runs out, usually in a minute or two. SMB does since
Linux 5.5, Lustre where mounted with `flock`. Where there are no locks at all, the work goes on with a warning.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
POLL = 0.2  # seconds between two tries

_held: dict[Path, IO[str]] = {}


def lock_path(folder: Path) -> Path:
    """The file that is locked: beside the folder, which may be deleted and made again meanwhile."""
    return folder.with_name(f".{folder.name}.lock")


def try_lock(folder: Path, *, shared: bool = False) -> bool:
    """Lock a folder for this process until `release` or its end; False where another process has it.

    A lock that this process holds already is held on, changed to `shared` or not. Children of the process hold none.
    """
    path = lock_path(folder).absolute()
    stream = _held.get(path) or _open(path)
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            print(
                f"warning: {path.parent}: this file system has no locks; run only one process at a time",
                file=sys.stderr,
            )
        elif error.errno in (errno.EAGAIN, errno.EACCES):
            _forget(path, stream)
            return False
        else:
            raise
    if not _same_file(path, stream):  # whoever held it removed it
        _forget(path, stream)
        return try_lock(folder, shared=shared)
    _forget_in_children()
    _held[path] = stream
    _sign(stream)
    return True


def release(folder: Path) -> None:
    """Let a folder go; nothing where this process does not hold it."""
    path = lock_path(folder).absolute()
    if path in _held:
        _let_go(path)


def release_all() -> None:
    """Let everything go that this process holds."""
    for path in list(_held):
        _let_go(path)


def wait_sentence(folder: Path) -> str:
    """Who works on the folder: process, host and since when, as far as it says."""
    try:
        holder = json.loads(lock_path(folder).read_text(encoding="utf-8"))
        known = f"process {holder['process']} on {holder['host']} has worked on {folder} since {holder['since']}"
    except (OSError, ValueError, KeyError):  # it is just being written, or gone
        known = f"another process works on {folder}"
    return f"{known}; waiting until it is done (Ctrl-C stops waiting)"


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+", encoding="utf-8")


def _same_file(path: Path, stream: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _sign(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    json.dump({"process": os.getpid(), "host": socket.gethostname(), "since": since}, stream)
    stream.flush()


def _let_go(path: Path) -> None:
    """Remove the file where nobody shares the lock, then unlock by closing."""
    stream = _held[path]
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(path, stream):
            path.unlink()
    except OSError:  # others share it, or there are no locks: the file stays
        pass
    _forget(path, stream)


def _forget(path: Path, stream: IO[str]) -> None:
    _held.pop(path, None)
    stream.close()


@cache
def _forget_in_children() -> None:
    """Have forked children close what they inherit: they would hold their parent's locks beyond the parent's end."""
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    for stream in _held.values():
        stream.close()
    _held.clear()


def pause() -> None:
    """Between two tries."""
    time.sleep(POLL)
