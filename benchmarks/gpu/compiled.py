"""Part 3, the rest: training through torch.compile, with and without CUDA graphs; it takes minutes to begin."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.place import Place
from benchmarks.gpu.rows import Row
from benchmarks.gpu.training import COUNT, ours_of, sizes, write_data

FIRST = 3


def run(place: Place) -> Iterator[Row]:
    """The training of part 3 as it is, compiled, and compiled with CUDA graphs."""
    size, batch, steps, _ = sizes(place)
    modes = {"as it is": None, "torch.compile": "default", "torch.compile with CUDA graphs": "reduce-overhead"}
    if place.small:
        modes.pop("torch.compile with CUDA graphs")
    with tempfile.TemporaryDirectory() as scratch:
        store, names = write_data(Path(scratch), size, 6 if place.small else COUNT)
        for title, mode in modes.items():
            side = ours_of(place, store, names, size=size, batch=batch, steps=steps + FIRST)
            if mode is not None:
                side.trainer.net.compile(mode=mode)
            began = place.seconds(lambda side=side: [side.step() for _ in range(FIRST)])
            yield Row(f"{title}: first {FIRST} steps", began, "s")
            place.forget_peak()
            taken = place.seconds(lambda side=side: [side.step() for _ in range(steps)])
            yield Row(f"{title}: ours", batch * steps / taken, "images/s")
            yield Row(f"{title}: peak memory", place.peak_gb(), "GB")
