"""Part 3, the rest: training through torch.compile, with and without CUDA graphs; it takes minutes to begin."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.place import Place
from benchmarks.gpu.rows import Row
from benchmarks.gpu.training import COUNT, MODEL, ours_of, sizes, write_data

FIRST = 3
LIGHT = {"architecture": "plain_unet", "weights": "none", "options": {"channels": [8, 16]}}


def run(place: Place) -> Iterator[Row]:
    """The training of part 3 as it is, compiled, and compiled with CUDA graphs; on a CPU of a network of few layers,
    for which the compiler takes seconds.
    """
    size, batch, steps, _ = sizes(place)
    modes = {"as it is": None, "torch.compile": "default", "torch.compile with CUDA graphs": "reduce-overhead"}
    if place.small:
        modes.pop("torch.compile with CUDA graphs")
    with tempfile.TemporaryDirectory() as scratch:
        store, names = write_data(Path(scratch), size, 6 if place.small else COUNT)
        for title, mode in modes.items():
            model = LIGHT if place.small else MODEL
            side = ours_of(place, store, names, size=size, batch=batch, steps=steps + FIRST, model=model)
            if mode is not None:
                side.trainer.net.compile(mode=mode)
            began = place.seconds(lambda side=side: [side.step() for _ in range(FIRST)])
            yield Row(f"{title}: first {FIRST} steps", began, "s")
            place.forget_peak()
            taken = place.seconds(lambda side=side: [side.step() for _ in range(steps)])
            yield Row(f"{title}: ours", batch * steps / taken, "images/s")
            yield Row(f"{title}: peak memory", place.peak_gb(), "GB")
