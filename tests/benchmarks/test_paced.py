"""How many steps fit into minutes, from short trainings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import paced

    return paced


@pytest.mark.parametrize(("step", "asked"), [(3.0, [4, 12]), (0.1, [4, 12, 104]), (0.001, [4, 12, 400])])
def test_quick_steps_are_measured_by_more_of_them(paced: Any, step: float, asked: list[int]) -> None:
    trained: list[int] = []

    def train(steps: int) -> float:
        trained.append(steps)
        return 30 + step * steps

    pace = paced.pace_of(train)
    assert trained == asked
    assert (pace.start, pace.step) == (pytest.approx(30), pytest.approx(step))
    assert pace.steps_within(10) == pytest.approx(570 / step, abs=1)


def test_a_longer_training_in_less_time_says_nothing(paced: Any) -> None:
    with pytest.raises(SystemExit, match=r"4 steps took 20.0 s, 400 steps 10.0 s; measure once more"):
        paced.pace_of({4: 20.0, 12: 15.0, 400: 10.0}.__getitem__)


def test_processor_time_counts_processes_that_have_ended(paced: Any) -> None:
    before = paced.processor_seconds()
    spent = paced.run_alone([sys.executable, "-c", "sum(range(3_000_000))"])
    assert 0 < spent <= paced.processor_seconds() - before + 0.02  # the clock's steps
