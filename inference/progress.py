"""Progress bars of the stages and of the bundle's command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


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
    with tqdm(desc=what, unit="image") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
