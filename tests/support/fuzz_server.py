"""Runs commands in forks of one warm process; memory and time are held down, and root has no rights.

As a program: a line of JSON in, with the commands, each [module, argument, ...], the folder and the seconds they may
take; one of an `Ending` out.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

MEMORY = 3 * 2**30
SECONDS = 200  # of the clock, beside others on the machine
CPU_SECONDS = 60
ROOMS = ("submissions", "folds", "inference", "pipeline")
ROOT = Path(__file__).parents[2]
_CAPABILITIES = 0x20080522  # version 3 of the system call: twice 32 bits of each of three sets


@dataclass(frozen=True)
class Ending:
    """How commands ended: the status (negative: the signal that ended them), what was printed, bytes of memory."""

    status: int
    said: str
    peak: int

    @property
    def hung(self) -> bool:
        """Whether it took longer than it may."""
        return self.status in (-signal.SIGALRM, -signal.SIGXCPU)


class Server:
    """The process that runs commands one after the other, until one fails."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run(self, commands: list[list[str]], folder: Path, *, seconds: int = SECONDS) -> Ending:
        """Run commands in `folder`, where what they print stays as `said.txt`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"commands": commands, "folder": str(folder), "seconds": seconds}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Ending(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve(answers: TextIO) -> None:
    """Answer every line of standard input."""
    warm_up()
    for line in sys.stdin:
        asked = json.loads(line)
        folder = Path(asked["folder"])
        child = os.fork()
        if not child:
            _run(asked["commands"], folder, asked["seconds"])
        _, status, used = os.wait4(child, 0)
        said = (folder / "said.txt").read_text(errors="replace")
        ending = Ending(os.waitstatus_to_exitcode(status), said, used.ru_maxrss * 1024)
        print(json.dumps(asdict(ending)), file=answers, flush=True)


def warm_up() -> None:
    """Import every module of the rooms and run a sound competition: a fork then begins where all have been."""
    import cv2
    from malformed import commands_of, sound_case, write_sound

    cv2.setNumThreads(1)  # a fork has none of its parent's threads
    for room in map(importlib.import_module, ROOMS):
        for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(found.name)
    with tempfile.TemporaryDirectory() as folder, _printing_to(Path(os.devnull)):
        write_sound(Path(folder))
        for module, *arguments in commands_of(sound_case(), Path(folder)):
            importlib.import_module(module).main(arguments)
    gc.collect()
    gc.freeze()
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"the server has {threads} threads, which its forks would miss"


def _run(commands: list[list[str]], folder: Path, seconds: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    _obey_rights()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    os.chdir(folder)
    status = 0
    with _printing_to(Path("said.txt")):
        try:
            for module, *arguments in commands:
                importlib.import_module(module).main(arguments)
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
            if isinstance(ending.code, str):
                print(ending.code)
        except BaseException:
            status = 70
            traceback.print_exc()
    os._exit(status)


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    with (
        path.open("w", errors="surrogateescape", buffering=1) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield


def _obey_rights() -> None:
    """Root reads and writes where no right is given: this process gives that up."""
    if os.geteuid():
        return
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "root could not give up its rights")


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    serve(out)
