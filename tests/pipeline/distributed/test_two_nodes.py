"""One training over two machines, here two process groups over gloo: a worker that dies, and the restart."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_run import write_tiny_experiment

from pipeline.sequence import run_stages
from pipeline.training.training_log import read_log

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(3600)]  # a hang, not a busy machine


def launch(arguments: list[str], node: int, port: int) -> subprocess.Popen[str]:
    """The launcher of one of two nodes with one worker each."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
    place = [f"--node_rank={node}", "--master_addr=127.0.0.1", f"--master_port={port}", "--max_restarts=0"]
    command = [*torchrun, *place, "-m", "pipeline.04_train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_dead_worker_ends_the_group_with_its_rank_named_and_a_restart_goes_on(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=8, folds={"method": "group", "n": 2, "use": [0]})
    arguments = [*arguments[:-2], "--set", "train.epochs=30"]
    run_stages(arguments, ("01", "02", "03"))
    folder, port = tmp_path / "runs/drawn/tiny/fold_0", free_port()
    nodes = [launch(arguments, node, port) for node in (0, 1)]
    end = time.monotonic() + 1200
    while not (folder / "log.jsonl").is_file() or len(read_log(folder / "log.jsonl")) < 3:
        ended = [node.communicate()[1][-2000:] for node in nodes if node.poll() is not None]
        assert time.monotonic() < end and not ended, f"the training did not begin: {ended}"
        time.sleep(0.05)
    os.kill(children(nodes[1].pid)[0], signal.SIGKILL)
    said = [node.communicate(timeout=900)[1] for node in nodes]
    assert all(node.returncode != 0 for node in nodes)
    assert "rank      : 1" in said[1] and "Signal 9 (SIGKILL)" in said[1]
    seen = len(read_log(folder / "log.jsonl"))
    assert 3 <= seen < 30 and not (folder / "stage.json").exists()
    again = [launch(arguments, node, free) for free in [free_port()] for node in (0, 1)]
    said = [node.communicate(timeout=1200)[1] for node in again]
    assert [node.returncode for node in again] == [0, 0], said[0][-2000:]
    assert [row["epoch"] for row in read_log(folder / "log.jsonl")] == list(range(30))
    assert (folder / "stage.json").is_file() and (folder / "weights.safetensors").is_file()
