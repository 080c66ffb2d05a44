"""Stages 03 to 05 on one core without Ray, on a Ray node of one core, and on two such nodes: what nodes gain and cost.

python benchmarks/cluster_speed.py tgs-salt --data ../shared/data/tgs-salt --cores 1 0 --set limit=1000 --set ...

The first core is that of the plain run, of the driver and of the first node, the second that of the second. Another
load on either core shows in the wall times. Where only one core is free, `--cores 1 1` gives it to both nodes: what
both worked at the same stage would have gone on side by side, so the shorter of the two is taken off the wall time
(`side by side`). The weights and the tables of all three runs have to be equal.
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

STAGES = ("03", "04", "05")
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


def processor_seconds(pids: list[int]) -> float:
    """What these processes and their ended children took, in seconds."""
    ticks = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile: its parent counts it
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def start_cluster(cores: list[int]) -> tuple[Any, list[list[int]]]:
    """A Ray cluster with a node of one CPU on each of the cores, and the processes that were started for each node."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.head_node, *(cluster.add_node(num_cpus=1) for _ in cores)]
    roots = [[one.process.pid for started in node.all_processes.values() for one in started] for node in nodes]
    for of_node, core in zip(roots, [cores[0], *cores], strict=True):
        for pid in (each for root in of_node for each in descendants(root)):
            os.sched_setaffinity(pid, {core})
    return cluster, roots[1:]


def spent(roots: list[int]) -> float:
    """Processor seconds of processes and all below them."""
    return processor_seconds([pid for root in roots for pid in descendants(root)])


def timed(words: list[str], cores: list[int] | None) -> tuple[float, float]:
    """Wall seconds of the stages, on a new cluster where cores are given; and what nodes did at the same stage."""
    cluster, nodes = start_cluster(cores) if cores else (None, [])
    wall, together = 0.0, 0.0
    for stage in STAGES:
        before, began = [spent(roots) for roots in nodes], time.monotonic()
        command = [sys.executable, "-c", *((SPREAD, stage, cluster.address) if cluster else (PLAIN, stage)), *words]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        wall += time.monotonic() - began
        did = [spent(roots) - then for roots, then in zip(nodes, before, strict=True)]
        together += min(did) if len(did) > 1 else 0.0
    if cluster is not None:
        cluster.shutdown()
    return wall, together


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
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1])
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    first, second = arguments.cores
    os.sched_setaffinity(0, {first})
    with tempfile.TemporaryDirectory() as name:
        given = [arguments.experiment, "--data", str(arguments.data.resolve()), "--device", "cpu"]
        given += [word for one in arguments.set for word in ("--set", one)]
        base = Path(name) / "base"
        words = [*given, "--runs", str(base)]
        subprocess.run([sys.executable, "-c", PLAIN, "01 02", *words], stdout=subprocess.DEVNULL, check=True)
        print("             wall s  side by side s  load average  result")
        for title, cores in (("plain", None), ("one node", [first]), ("two nodes", [first, second])):
            runs = Path(name) / title.replace(" ", "_")
            shutil.copytree(base, runs)
            wall, together = timed([*given, "--runs", str(runs)], cores)
            beside = wall - together if first == second else wall
            print(f"{title:10s} {wall:8.1f} {beside:15.1f} {os.getloadavg()[0]:13.1f}  {made(runs)}", flush=True)


if __name__ == "__main__":
    main()
