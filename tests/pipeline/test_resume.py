"""A run killed at any moment goes on where it was, and ends with the submission of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from forked_runs import start_run
from tiny_run import write_tiny_experiment

import pipeline
from pipeline.sequence import run_stages


def run(folder: Path, arguments: list[str]) -> None:
    process = start_run(arguments, folder / "log.txt")
    process.join(280)
    assert process.exitcode == 0, (folder / "log.txt").read_text()[-4000:]


def kill_when(folder: Path, arguments: list[str], ready: Callable[[], bool]) -> None:
    """SIGKILL to the whole process group the moment `ready` says so."""
    process = start_run(arguments, folder / "log.txt")
    while not ready():
        assert process.is_alive(), (folder / "log.txt").read_text()[-4000:]
        time.sleep(0.002)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


def test_stage_03_killed_among_200_images_loses_none_that_was_finished(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=200, test=1)
    run_stages(arguments, ("01",))
    script = [sys.executable, str(Path(pipeline.__file__).parent / "03_prepare_data.py"), *arguments]
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(script, stdout=log, stderr=log)
        while count(tmp_path, "runs/drawn/store/*/units/*[0-9]/unit.json") < 60:
            assert process.poll() is None, (tmp_path / "log.txt").read_text()[-4000:]
        process.kill()
        process.wait()
    (store,) = (tmp_path / "runs/drawn/store").glob("[!.]*")
    finished = {path: path.stat().st_mtime_ns for path in store.glob("units/*[0-9]/*")}
    assert 60 <= count(store, "units/*[0-9]") < 200 and not (store / "stage.json").exists()
    run_stages(arguments, ("03",))
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert count(store, "units/*") == 200 and (store / "stage.json").exists()
    for path in sorted((tmp_path / "data/train").glob("*.png"))[::13]:
        assert np.array_equal(np.load(store / "units" / path.stem / "image.npy")[0], cv2.imread(str(path))[..., ::-1])


@pytest.mark.timeout(600)
def test_a_run_killed_in_every_stage_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    run(whole, write_tiny_experiment(whole, train=24, test=12))
    arguments = write_tiny_experiment(broken, train=24, test=12)
    runs = broken / "runs" / "drawn"
    moments: dict[str, tuple[Callable[[], bool], str]] = {
        "03": (lambda: count(runs, "store/*/units/train*") >= 2, "store/*/stage.json"),
        "04": (lambda: (runs / "tiny/fold_0/last.pt").is_file(), "tiny/fold_1/stage.json"),
        "05": (lambda: count(runs, "tiny/oof/*.h5") >= 2, "tiny/oof/stage.json"),
        "07": (lambda: count(runs, "tiny/test/*.h5") >= 2, "tiny/test/stage.json"),
    }
    kept: dict[Path, int] = {}
    for stage, (ready, done) in moments.items():
        kill_when(broken, arguments, ready)
        assert count(runs, done) == 0, f"stage {stage} was over before the kill; give it more images"
        assert not (runs / "tiny/submission.csv").exists()
        if stage in ("05", "07"):
            finished = list(runs.glob("tiny/oof/*.h5") if stage == "05" else runs.glob("tiny/test/*.h5"))
            kept |= {path: path.stat().st_mtime_ns for path in finished}
    run(broken, arguments)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished image was predicted again"
    assert (runs / "tiny/submission.csv").read_bytes() == (whole / "runs/drawn/tiny/submission.csv").read_bytes()
    assert count(runs, "**/*.partial") == 0
    for name in ("fold_0", "fold_1"):
        weights = f"tiny/{name}/weights.safetensors"
        assert (runs / weights).read_bytes() == (whole / "runs/drawn" / weights).read_bytes()
