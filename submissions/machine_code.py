"""Functions compiled by numba, which keeps what it made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, keep the machine code on disk where a folder for it can be written to.

    Raises ImportError where numba is not installed.
    """
    import numba

    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither beside the function's file nor in the user's cache folder
        return numba.njit(nogil=True)(function)
