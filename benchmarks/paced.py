"""Processor time of commands on one thread, and how many training steps fit into it; for equal minutes."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

PIPELINE = Path(__file__).resolve().parents[1] / "pipeline"
PROBES = (4, 12)  # steps
ENOUGH, MOST = 10.0, 400  # seconds that the second takes longer, or it is made longer; steps


def processor_seconds() -> float:
    """Processor seconds of this process and of all that it started, alive or ended."""
    own = psutil.Process()
    alive = [child.cpu_times() for child in own.children(recursive=True)]
    times = own.cpu_times()
    ended = times.children_user + times.children_system
    return float(times.user + times.system + ended + sum(one.user + one.system for one in alive))


def run_alone(command: list[str]) -> float:
    """Run to the end; returns the processor seconds of the process and all that it started, or raises SystemExit."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | threads)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_stage(script: str, arguments: list[str]) -> float:
    """Run a numbered stage, such as 04_train; returns its processor seconds."""
    return run_alone([sys.executable, str(PIPELINE / f"{script}.py"), *arguments])


@dataclass(frozen=True)
class Pace:
    """Processor seconds of a training without its steps, and of a step."""

    start: float
    step: float

    def steps_within(self, minutes: float) -> int:
        """Steps that fit into so many minutes, at least one."""
        return max(1, int((60 * minutes - self.start) / self.step))


def pace_of(train: Callable[[int], float]) -> Pace:
    """Pace from two short trainings; `train` takes a number of steps and returns processor seconds.

    Where steps are so quick that the second one hardly took longer, a third one takes more of them. Raises SystemExit
    where the longer one took less time, which says nothing of a step.
    """
    few, more = (train(steps) for steps in PROBES)
    steps = PROBES[1]
    if more - few < ENOUGH:
        share = max(more - few, ENOUGH / MOST) / ENOUGH
        steps = min(MOST, math.ceil(PROBES[0] + (PROBES[1] - PROBES[0]) / share))
        more = train(steps)
    step = (more - few) / (steps - PROBES[0])
    if step <= 0:
        raise SystemExit(f"{PROBES[0]} steps took {few:.1f} s, {steps} steps {more:.1f} s; measure once more")
    return Pace(few - PROBES[0] * step, step)
