"""Runs on Ray clusters: equal to one machine's, and still so where a node, the head or the driver dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_run import stage, write_tiny_experiment

from pipeline.__main__ import main
from pipeline.sequence import run_stages

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'segmentation-pipeline[ray]'")
pytestmark = [pytest.mark.smoke, pytest.mark.timeout(3600)]  # a hang, not a busy machine
SIZES: dict[str, Any] = {"train": 60, "test": 24}
OWN = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # else others go first
QUIET = {**os.environ, **OWN}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one process on one machine."""
    folder = tmp_path_factory.mktemp("whole")
    run_stages(write_tiny_experiment(folder, **SIZES))
    return folder / "runs/drawn"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without CPUs for tasks, and two nodes of one core each, all on this machine."""
    from ray.cluster_utils import Cluster

    for name, value in OWN.items():
        monkeypatch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.nodes = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    yield made
    ray.shutdown()
    made.shutdown()


def run_on(cluster: Any, arguments: list[str], *more: str) -> None:
    main(["run", *arguments, "--ray", cluster.address, "--units", "8", *more])


def equal_results(runs: Path, whole: Path) -> bool:
    names = ["tiny/submission.csv", "tiny/fold_0/weights.safetensors", "tiny/fold_1/weights.safetensors"]
    names += ["inventory/inventory.csv"]
    return all((runs / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_a_cluster_ends_as_one_machine_does_and_says_little(
    tmp_path: Path, whole: Path, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run_on(cluster, write_tiny_experiment(tmp_path, **SIZES))
    assert equal_results(tmp_path / "runs/drawn", whole)
    said = capfd.readouterr()
    lines = [line for line in said.out.splitlines() if line.strip()]
    assert len(lines) < 60 and not any("(pid=" in line or "raylet" in line for line in [*lines, said.err])
    assert "03_prepare_data: already made" in said.out


def kill_node_when(cluster: Any, ready: Callable[[], bool]) -> tuple[threading.Thread, list[float]]:
    """Kill the second node, with all its processes, as soon as `ready`."""
    moments: list[float] = []

    def work() -> None:
        while not ready():
            time.sleep(0.01)
        moments.append(time.time())
        cluster.remove_node(cluster.nodes[1], allow_graceful=False)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, moments


SPLIT = ("inventory", "folds", "tiny/folds.json")
STORED = (*SPLIT, "store")
TRAINED = (*STORED, "tiny/fold_0", "tiny/fold_1")
DECIDED = (*TRAINED, "tiny/oof", "tiny/tuning")


def run_with(whole: Path, folder: Path, names: Sequence[str], *, data: Path | None = None) -> list[str]:
    """Arguments of a run that has these parts of the whole one, and the same settings and data (or `data`)."""
    for name in names:
        place = folder / "runs/drawn" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (whole / name).is_dir() else shutil.copy2
        copy(whole / name, place)
    top = whole.parents[1]
    places = ["--data", str(data or top / "data"), "--runs", str(folder / "runs")]
    return [str(top / "tiny.yaml"), *places, "--device", "cpu"]


def contents(runs: Path, pattern: str) -> dict[Path, bytes]:
    return {path.relative_to(runs): path.read_bytes() for path in runs.glob(pattern)}


@pytest.mark.parametrize(
    ("word", "before", "made", "least", "result"),
    [
        ("03_prepare_data", SPLIT, "store/*/units/train*/unit.json", 8, "store/*/units/*/*"),
        ("04_train", STORED, "tiny/fold_*/last.pt", 1, "tiny/fold_*/weights.safetensors"),
        ("05_predict_oof", TRAINED, "tiny/oof/*.h5", 8, "tiny/oof/*.h5"),
        ("07_predict_test", DECIDED, "tiny/test/*.h5", 4, "tiny/submission.csv"),
    ],
)
def test_a_killed_node_costs_only_what_it_was_working_on(
    tmp_path: Path, whole: Path, cluster: Any, word: str, before: Sequence[str], made: str, least: int, result: str
) -> None:
    runs, arguments = tmp_path / "runs/drawn", run_with(whole, tmp_path, before)
    files: dict[Path, int] = {}

    def ready() -> bool:
        found = list(runs.glob(made))
        if len(found) >= least:
            files.update({path: path.stat().st_mtime_ns for path in found})
        return len(found) >= least

    thread, moments = kill_node_when(cluster, ready)
    stage(word)([*arguments, "--ray", cluster.address, "--units", "8"])
    thread.join(600)
    assert moments, "the stage was over before the kill; give it more images"
    assert contents(whole, result) and contents(runs, result) == contents(whole, result)
    if word != "04_train":
        assert {path: path.stat().st_mtime_ns for path in files} == files, "a finished image was made again"
    assert not list(runs.rglob("*.partial"))


def driver(arguments: list[str], *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", "run", *arguments, *more]
    return subprocess.Popen(command, env=QUIET, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(ready: Callable[[], bool], seconds: float = 1800) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_killed_driver_leaves_nothing_that_writes_and_a_run_that_goes_on(tmp_path: Path, whole: Path) -> None:
    arguments = run_with(whole, tmp_path, TRAINED)
    runs = tmp_path / "runs/drawn"
    process = driver(arguments, "--ray", "local", "--units", "8")
    wait_for(lambda: len(list(runs.glob("tiny/oof/*.h5"))) >= 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(6)
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert not (runs / "tiny/oof/stage.json").exists(), "stage 05 was over before the kill; give it more images"
    time.sleep(4)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before, "something still writes"
    run_stages(arguments)
    assert equal_results(runs, whole)


def test_a_lost_head_ends_with_a_sentence_and_a_run_that_goes_on(tmp_path: Path, whole: Path, cluster: Any) -> None:
    arguments = run_with(whole, tmp_path, TRAINED)
    runs = tmp_path / "runs/drawn"
    process = driver(arguments, "--ray", cluster.address, "--units", "8")
    wait_for(lambda: len(list(runs.glob("tiny/oof/*.h5"))) >= 4)
    cluster.remove_node(cluster.head_node, allow_graceful=False)
    _, errors = process.communicate(timeout=1200)
    assert process.returncode != 0
    assert "was lost" in errors and "run the same command again to continue" in errors
    run_stages(arguments)
    assert equal_results(runs, whole)


def test_a_failure_is_named_by_unit_and_image_after_the_others_are_done(
    tmp_path: Path, whole: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole.parents[1] / "data", tmp_path / "data")
    arguments = run_with(whole, tmp_path, SPLIT, data=tmp_path / "data")
    victim = sorted((tmp_path / "data/train").glob("*.png"))[20]
    victim.unlink()
    with pytest.raises(SystemExit):
        stage("03_prepare_data")([*arguments, "--ray", cluster.address, "--units", "4"])
    said = capsys.readouterr().err
    assert "1 unit(s) failed, the others are done" in said
    assert f"shard 2/4: error: image '{victim.stem}' cannot be prepared" in said
    assert len(list(tmp_path.glob("runs/drawn/store/*/units/*/unit.json"))) >= 45


def test_a_cluster_that_does_not_answer_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    with pytest.raises(SystemExit):
        main(["run", *arguments, "--ray", "127.0.0.1:1"])
    assert "no Ray cluster answers at 127.0.0.1:1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        stage("03_prepare_data")([*arguments, "--ray", "local", "--overwrite"])
    assert "--ray runs the whole stage and deletes nothing" in capsys.readouterr().err
