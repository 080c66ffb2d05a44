"""Work on many units, in one process or several, with a progress bar where a stage passes one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
Progress = Callable[..., Iterable[Any]]


def quiet(items: Iterable[T], **_: Any) -> Iterable[T]:
    """Progress that shows nothing; a stage passes `progress_bar`."""
    return items


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """Processes to work on units, each with one unit in memory; None where `workers` is 1 or less."""
    if workers <= 1:
        yield None
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def over_units(
    function: Callable[[Any], T],
    tasks: Sequence[Any],
    what: str,
    *,
    pool: Executor | None = None,
    progress: Progress = quiet,
) -> Iterator[T]:
    """`function` of every task, in order, in the pool's processes where one is given."""
    if pool is None:
        yield from (function(task) for task in progress(tasks, total=len(tasks), desc=what))
        return
    chunk = max(1, len(tasks) // 16)  # few parts: what items share (a table of masks) travels with each
    yield from progress(pool.map(function, tasks, chunksize=chunk), total=len(tasks), desc=what)
