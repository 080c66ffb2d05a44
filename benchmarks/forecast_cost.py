"""What the forecast adds to stages 06 and 07: processor seconds within them and without, and the ratio.

    python benchmarks/forecast_cost.py EXPERIMENT [--data DIR --runs DIR --set ...]      (stages 01 to 05 are done)

Both stages are run again (--overwrite), with clocks around what the forecast alone needs: in 06 the copies' units,
learning and writing; in 07 the features of each prediction and the forecast of the set. A line a stage. What starting
Python and importing the stage takes counts with the stage, once each.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

PARTS = {
    "06_tune": (("pipeline.06_tune", "taught_forecast"), ("pipeline.06_tune", "save_forecast"),
                ("pipeline.tuning.search", "image_sums")),
    "07_predict_test": (("pipeline.prediction.prediction", "image_sums"),
                        ("pipeline.delivery.decided_submission", "forecast_of_test")),
}  # fmt: skip


@dataclass
class Clock:
    """Processor seconds spent in some functions; where one calls another, once."""

    spent: float = 0.0
    running: bool = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its seconds counted."""

        def timed(*given: Any, **named: Any) -> Any:
            if self.running:
                return function(*given, **named)
            began, self.running = time.process_time(), True
            try:
                return function(*given, **named)
            finally:
                self.spent, self.running = self.spent + time.process_time() - began, False

        return timed


def measured(stage: str, argv: Sequence[str]) -> tuple[float, float]:
    """Processor seconds of a stage, its imports too, and of the forecast's parts in it; one worker, so all are seen."""
    clock = Clock()
    began = time.process_time()
    main = importlib.import_module(f"pipeline.{stage}").main
    with ExitStack() as patched:
        for module, name in PARTS[stage]:
            owner = importlib.import_module(module)
            patched.enter_context(mock.patch.object(owner, name, clock.around(getattr(owner, name))))
        main([*argv, "--overwrite", "--workers", "1"])
        return time.process_time() - began, clock.spent


def main(argv: Sequence[str]) -> None:
    lines = []
    for stage in PARTS:
        whole, part = measured(stage, argv)
        rest = whole - part
        lines.append(f"{stage}: {rest:.2f} s without the forecast, {part:.2f} s for it: {whole / rest - 1:+.1%}")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
