"""What a library raises over a damaged file, said with the file's name; JSON that is none among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns whatever a library raises over a file into a ValueError that names it; errors that do so pass as they are.

    Libraries for images raise everything over bytes that lie: ZeroDivisionError, struct.error, IndexError, zlib.error,
    MemoryError for a size that cannot be. Errors of the system (OSError with its file) and of what is not installed
    pass.
    """
    try:
        yield
    except (ModuleNotFoundError, NotImplementedError):
        raise
    except Exception as error:
        named = str(path) in str(error)
        if (isinstance(error, OSError) and error.filename is not None) or (isinstance(error, ValueError) and named):
            raise
        why = "its sizes need more memory than there is" if isinstance(error, MemoryError) else str(error)
        raise ValueError(
            f"{path}: damaged, or not what it says it is ({why or type(error).__name__}); replace the file"
        ) from error


def read_json(path: Path, name: str | None = None, *, cure: str = "copy it again from the host") -> Any:
    """The document of a JSON file; ValueError that names the file (as `name`, if given) where it is not readable."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{name or path}: not readable as JSON ({error}); {cure}") from error


def named(function: Function) -> Function:
    """A method of a source with a `path`, whose errors name it."""

    @wraps(function)
    def inside(self: Any, *arguments: Any, **options: Any) -> Any:
        with naming(self.path):
            return function(self, *arguments, **options)

    return inside  # type: ignore[return-value]
