"""Stages 03 to 05 on one core without Ray, on a Ray node of one core, and on two such nodes: what nodes gain and cost.

python benchmarks/cluster_speed.py tgs-salt --data ../shared/data/tgs-salt --cores 1 0 --set limit=1000 --set ...

The first core is that of the plain run, of the driver and of the first node, the second that of the second. Another
load on either core shows in the wall times. The weights and the tables of all three runs have to be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

STAGES = "03 04 05"
PLAIN = "import sys; from pipeline.sequence import run_stages; run_stages(sys.argv[2:], sys.argv[1].split())"
SPREAD = """
import sys
from pipeline.distributed.ray_cluster import Cluster, run_on_ray
from pipeline.workspace import open_workspace, stage_parser
argv = sys.argv[3:]
run_on_ray(Cluster(sys.argv[2]), open_workspace(stage_parser("").parse_args(argv)), argv, sys.argv[1].split())
"""


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [each for child in task.read_text().split() for each in descendants(int(child))]
    return found


def start_cluster(cores: list[int]) -> Any:
    """A Ray cluster with a node of one CPU on each of the cores."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.head_node, *(cluster.add_node(num_cpus=1) for _ in cores)]
    roots = [[one.process.pid for started in node.all_processes.values() for one in started] for node in nodes]
    for of_node, core in zip(roots, [cores[0], *cores], strict=True):
        for pid in (each for root in of_node for each in descendants(root)):
            os.sched_setaffinity(pid, {core})
    return cluster


def timed(words: list[str], cores: list[int] | None) -> float:
    """Wall seconds of the stages taken as one command, as by `run`; on a new cluster where there are cores."""
    cluster = start_cluster(cores) if cores else None
    began = time.monotonic()
    command = [sys.executable, "-c", *((SPREAD, STAGES, cluster.address) if cluster else (PLAIN, STAGES)), *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - began
    if cluster is not None:
        cluster.shutdown()
    return wall


def made(runs: Path) -> str:
    """Digest of the weights, tables and names of predictions below `runs`."""
    files = sorted(path for path in runs.rglob("*") if path.suffix in (".safetensors", ".csv", ".h5"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(runs)).encode())
        digest.update(b"" if path.suffix == ".h5" else path.read_bytes())
    return digest.hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cores", type=int, nargs="+", default=[0, 1], help="one: without the run on two nodes")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    first = arguments.cores[0]
    os.sched_setaffinity(0, {first})
    with tempfile.TemporaryDirectory() as name:
        given = [arguments.experiment, "--data", str(arguments.data.resolve()), "--device", "cpu"]
        given += [word for one in arguments.set for word in ("--set", one)]
        base = Path(name) / "base"
        words = [*given, "--runs", str(base)]
        subprocess.run([sys.executable, "-c", PLAIN, "01 02", *words], stdout=subprocess.DEVNULL, check=True)
        print("             wall s  load average  result")
        ways = {"plain": None, "one node": [first], "two nodes": arguments.cores[:2]}
        for title, cores in list(ways.items())[: 1 + len(arguments.cores)]:
            runs = Path(name) / title.replace(" ", "_")
            shutil.copytree(base, runs)
            wall = timed([*given, "--runs", str(runs)], cores)
            print(f"{title:10s} {wall:8.1f} {os.getloadavg()[0]:13.1f}  {made(runs)}", flush=True)


if __name__ == "__main__":
    main()
