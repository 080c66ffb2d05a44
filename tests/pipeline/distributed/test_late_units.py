"""Units that are late or die, on a cluster that is only played: named with the image that they are at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.distributed import ray_cluster
from pipeline.distributed.ray_cluster import Cluster, Done, run_units
from pipeline.distributed.units import Unit


class WorkerCrashedError(Exception):
    """As Ray's."""


class PlayedRay:
    """Ends one unit a call of `wait`, after as many calls without any as `pauses` says."""

    exceptions = SimpleNamespace(
        WorkerCrashedError=WorkerCrashedError, OutOfMemoryError=MemoryError, RayTaskError=RuntimeError
    )

    def __init__(self, pauses: int, outcomes: dict[str, Any]) -> None:
        self.pauses, self.outcomes = pauses, outcomes

    def remote(self, **options: Any) -> Any:
        return lambda work: SimpleNamespace(options=lambda name: SimpleNamespace(remote=lambda unit, folder: unit.name))

    def wait(self, waiting: list[str], *, num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        self.pauses -= 1
        return ([], waiting) if self.pauses >= 0 else (waiting[:1], waiting[1:])

    def get(self, reference: str) -> Done:
        outcome = self.outcomes.get(reference, Done(0, "", ""))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


UNITS = [Unit("03", f"shard {number}/6", ()) for number in range(1, 7)]


def test_what_is_late_is_named_with_its_image_and_not_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10**6, 25))
    monkeypatch.setattr(ray_cluster.time, "monotonic", lambda: next(now))
    said: list[str] = []
    run_units(
        PlayedRay(4, {}),
        Cluster("local"),
        UNITS,
        {},
        where=lambda unit: f"{unit.name} at image 'a'",
        report=said.append,
    )
    late = [line for line in said if "waiting for" in line]
    assert len(late) == 2
    assert "; ".join(f"shard {number}/6 at image 'a'" for number in (1, 2, 3, 4)) in late[0]
    assert "shard 5/6" not in late[0], "what has not begun is not late"


def test_what_dies_is_named_with_its_image_after_the_others_are_done() -> None:
    outcomes = {
        "shard 2/6": WorkerCrashedError("the worker died\nby SIGSEGV"),
        "shard 4/6": Done(1, "", "error: image 'x' cannot be prepared"),
        "shard 5/6": Done(
            0,
            "03_prepare_data: shard 5/6 is done; 3 left\nwarning: image 'y' is black\n",
            "",
        ),
    }
    said: list[str] = []
    with pytest.raises(ValueError, match=r"2 unit\(s\) failed, the others are done") as caught:
        run_units(
            PlayedRay(0, outcomes), Cluster("local"), UNITS, {}, where=lambda unit: f"{unit.name} at image 'z'",
            report=said.append,
        )  # fmt: skip
    assert "shard 2/6 at image 'z': WorkerCrashedError: by SIGSEGV" in str(caught.value)
    assert "shard 4/6: error: image 'x' cannot be prepared" in str(caught.value)
    assert said == ["warning: image 'y' is black"]
