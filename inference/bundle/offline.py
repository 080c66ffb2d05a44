"""Commands with no network: in a network namespace of their own, which holds a loopback device and nothing else.

python -m inference.bundle.offline COMMAND ...
    inside such a namespace: brings the loopback device up, then runs COMMAND
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence

GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP of Linux
APART = ("unshare", "--map-root-user", "--net")


def why_not() -> str | None:
    """None where commands can be cut off the network here, else the reason in the system's words."""
    try:
        done = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def cut_off(command: Sequence[str], python: str = sys.executable) -> list[str]:
    """The command line that runs `command` with no network but its own loopback; `python` has to import this module."""
    return [*APART, python, "-m", "inference.bundle.offline", *command]


def raise_loopback() -> None:
    """Bring up the loopback device of the namespace that this process lives in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, GET_FLAGS, asked))[1]
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH14x", b"lo", flags | UP))


if __name__ == "__main__":
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])
