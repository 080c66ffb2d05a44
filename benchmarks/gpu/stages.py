"""Part 1: all stages on the tiny experiment, in half precision on the device, and predicted once more on the CPU."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu.place import ROOT, Place
from benchmarks.gpu.rows import Row
from inference.predict.store import open_prediction

STAGES = ("01_check_data", "02_make_folds", "03_prepare_data", "04_train", "05_predict_oof", "06_tune")
LARGEST = 8  # of 255, that half precision may differ


def run(place: Place) -> Iterator[Row]:
    """Scaled fp16 and bf16 on a GPU (fp16 and auto where it has no bf16), fp32 and bf16 on a CPU."""
    kinds = ("fp32", "bf16") if place.small else ("fp16", "auto" if place.pretend else "bf16")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            yield from _all_stages(place, kind, Path(folder))


def _all_stages(place: Place, kind: str, folder: Path) -> Iterator[Row]:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from tiny_run import space_of, write_tiny_experiment

    arguments = [*write_tiny_experiment(folder)[:-1], str(place.device), "--set", f"train.precision={kind}"]
    began = time.perf_counter()
    for name in STAGES:
        _stage(name, arguments)
    _stage("07_predict_test", arguments)
    yield Row(f"{kind}: stages 01 to 07", time.perf_counter() - began, "s")
    own = space_of(arguments).own
    rows = [json.loads(line) for line in (own / "fold_0" / "log.jsonl").read_text().splitlines()]
    yield Row(f"{kind}: epochs whose loss is a number", np.mean([np.isfinite(row["loss"]) for row in rows]), "", 1.0)
    before = {path.name: _read(path) for path in sorted((own / "test").glob("*.h5"))}
    _stage("07_predict_test", ["cpu" if word == str(place.device) else word for word in arguments] + ["--overwrite"])
    apart = max(int(np.abs(_read(own / "test" / name) - values).max()) for name, values in before.items())
    yield Row(f"{kind}: largest difference from the CPU's probabilities", apart, "of 255", LARGEST, below=True)


def _stage(name: str, arguments: list[str]) -> None:
    """A stage; RuntimeError with its sentence where it ends with one."""
    from tiny_run import stage

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            stage(name)(arguments)
    except SystemExit as ending:
        if ending.code:
            raise RuntimeError(f"{name}: {said.getvalue().strip()[-400:]}") from ending


def _read(path: Path) -> np.ndarray:
    with open_prediction(path) as prediction:
        return prediction.read().astype(int)
