"""Several devices share the images of one job: a worker each, one queue, results as they come."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Done(Generic[Job, Result]):
    """One job: the device that did it, and its result, or the error that it ended with."""

    job: Job
    device: str
    result: Result | None
    error: Exception | None = None


def split_devices(text: torch.device | str) -> list[str]:
    """Devices of a text such as "cuda:0,cuda:1"; raises ValueError for a name twice or one that is no device."""
    names = [name.strip() for name in str(text).split(",")]
    for name in names:
        try:
            torch.device(name)
        except RuntimeError as error:
            raise ValueError(f"device {name!r}: expected cpu, cuda, cuda:1, or several as in cuda:0,cuda:1") from error
    if len(set(names)) < len(names):
        raise ValueError(f"devices are {names}, expected each once")
    return names


def share_jobs(
    jobs: Iterable[Job], devices: Sequence[str], start: Callable[[str], Callable[[Job], Result]]
) -> Iterator[Done[Job, Result]]:
    """Do `jobs` on `devices`; yields each as it is done, in no fixed order where devices are several.

    `start(device)` is called once a device, in its worker, and returns what does a job there (it prepares the
    models). A job that raises is yielded with its error; the other jobs go on. An error in `start` is raised
    here. When the caller stops iterating, running jobs end and no other begins.
    """
    if not devices:
        raise ValueError("no devices were given, expected at least one, as in ['cpu'] or ['cuda:0', 'cuda:1']")
    if len(devices) == 1:
        do = start(devices[0])
        for job in jobs:
            yield _try(do, job, devices[0])
        return
    yield from _share(jobs, devices, start)


def _share(
    jobs: Iterable[Job], devices: Sequence[str], start: Callable[[str], Callable[[Job], Result]]
) -> Iterator[Done[Job, Result]]:
    waiting = iter(jobs)
    lock, stopped = threading.Lock(), threading.Event()
    done: queue.Queue[Done[Job, Result] | BaseException | None] = queue.Queue()

    def work(device: str) -> None:
        try:
            do = start(device)
            while not stopped.is_set():
                with lock:
                    job = next(waiting, done)
                if job is done:
                    break
                done.put(_try(do, job, device))  # type: ignore[arg-type]
            done.put(None)
        except BaseException as error:  # handed over to the thread that waits for results
            done.put(error)

    threads = [threading.Thread(target=work, args=(device,), name=device, daemon=True) for device in devices]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            item = done.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def fits_memory(attempt: Callable[[], object]) -> bool:
    """Whether `attempt` comes to its end; False where a GPU's memory is too small for it, which is then free again."""
    try:
        attempt()
        return True
    except torch.OutOfMemoryError:
        pass  # behind this block the error is gone, and with its traceback the frames that hold what did not fit
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


def _try(do: Callable[[Job], Result], job: Job, device: str) -> Done[Job, Result]:
    try:
        return Done(job, device, do(job))
    except Exception as error:  # the caller decides whether one job's error ends all
        traceback.clear_frames(error.__traceback__)  # else what the job held stays in memory while the next one runs
        return Done(job, device, None, error)


def pick_device(device: str | None) -> torch.device:
    """The device asked for, or a GPU where there is one, or the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
