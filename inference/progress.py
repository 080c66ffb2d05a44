"""Progress of the stages and of the bundle's command: a bar on a terminal, elsewhere a line every tenth."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class ProgressLines:
    """What of tqdm's bar the stages use, where a log is written: one line to standard error every tenth of the way."""

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        desc: str = "",
        total: int | None = None,
        initial: int = 0,
        unit: str = "it",
        disable: bool = False,
    ) -> None:
        self.iterable, self.desc, self.total, self.n = iterable, desc, total, initial
        self.unit, self.disable = unit, disable
        if total is None and hasattr(iterable, "__len__"):
            self.total = len(iterable)  # type: ignore[arg-type]
        self.first, self.started = initial, time.monotonic()
        self.said = self._tenth()
        self.facts = ""

    def update(self, n: int = 1) -> None:
        """Count `n` more, and say so where another tenth is reached."""
        self.n += n
        if self._tenth() > self.said:
            self.said = self._tenth()
            self._say()

    def set_postfix(self, ordered: dict[str, Any] | None = None, refresh: bool = True, **facts: Any) -> None:
        """What stands at the end of the next line."""
        self.facts = "".join(f", {name}={value}" for name, value in {**(ordered or {}), **facts}.items())

    def _tenth(self) -> int:
        return 10 * self.n // self.total if self.total else 0

    def _say(self) -> None:
        if not self.disable:
            seconds = time.monotonic() - self.started
            rate = f", {(self.n - self.first) / seconds:.3g} {self.unit}/s" if seconds > 0 else ""
            said = f"{self.desc}: " if self.desc else ""
            print(f"{said}{self.n} of {self.total}, {seconds:.0f} s{rate}{self.facts}", file=sys.stderr, flush=True)

    def __iter__(self) -> Iterator[Any]:
        for item in self.iterable or ():
            yield item
            self.update()

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A bar over an iterable, or one that is told: tqdm on a terminal, else `ProgressLines`, with the same options."""
    return (tqdm if sys.stderr.isatty() else ProgressLines)(iterable, **options)


def show(steps: Iterable[tuple[int, int]], what: str) -> int:
    """Go through steps (done, of how many) beside a bar; returns how many were done."""
    last = 0
    with image_bar(what) as progress:
        for done, total in steps:
            progress(done, total)
            last = done
    return last


@contextmanager
def image_bar(what: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (done, of how many)."""
    with progress_bar(desc=what, unit="image") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
