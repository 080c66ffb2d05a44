"""Devices share jobs: each job once, errors with their job, nothing left running."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

import pytest
import torch

from inference.predict.devices import fits_memory, share_jobs, split_devices


def squares(device: str) -> Callable[[int], int]:
    def square(job: int) -> int:
        if job == 3:
            raise ValueError("three")
        time.sleep(0.01)
        return job * job

    return square


@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cpu:0"], ["a", "b", "c"]])
def test_every_job_is_done_once(devices: list[str]) -> None:
    done = list(share_jobs(range(12), devices, squares))
    assert sorted(one.job for one in done) == list(range(12))
    assert {one.job: one.result for one in done if one.error is None} == {n: n * n for n in range(12) if n != 3}
    assert [str(one.error) for one in done if one.error] == ["three"]
    assert {one.device for one in done} == set(devices)


def test_an_error_at_the_start_is_raised() -> None:
    def start(device: str) -> Callable[[int], int]:
        if device == "b":
            raise ValueError("no such device")
        return squares(device)

    with pytest.raises(ValueError, match="no such device"):
        list(share_jobs(range(50), ["a", "b"], start))
    with pytest.raises(ValueError, match="no devices were given"):
        list(share_jobs([1], [], squares))


def test_stopping_early_leaves_no_thread() -> None:
    before = threading.active_count()
    shared = share_jobs(range(1000), ["a", "b"], squares)
    next(shared)
    shared.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_device_texts_are_split_and_checked() -> None:
    assert split_devices("cpu") == ["cpu"]
    assert split_devices(torch.device("cuda:1")) == ["cuda:1"]
    assert split_devices("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    with pytest.raises(ValueError, match="expected cpu, cuda"):
        split_devices("cuda:0,gpu")
    with pytest.raises(ValueError, match="expected each once"):
        split_devices("cuda:0,cuda:0")


def test_what_did_not_fit_is_gone_when_that_is_known() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def attempt() -> None:
        activations = torch.zeros(3)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert not fits_memory(attempt) and held[0]() is None
    assert fits_memory(lambda: None)
    with pytest.raises(ZeroDivisionError):
        fits_memory(lambda: 1 // 0)


def test_a_failed_job_holds_nothing() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def start(device: str) -> Callable[[int], None]:
        def fail(job: int) -> None:
            buffer = torch.zeros(3)
            held.append(weakref.ref(buffer))
            raise ValueError("no")

        return fail

    (done,) = share_jobs([1], ["cpu"], start)
    assert str(done.error) == "no" and held[0]() is None
