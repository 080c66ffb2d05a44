"""Stages 03 to 05 on one core without Ray, on a Ray node of one core, and on two such nodes: what nodes gain and cost.

python benchmarks/cluster_speed.py tgs-salt --data ../shared/data/tgs-salt --cores 1 0 --set limit=600 --set ...

The first core is that of the plain run, of the driver and of the first node, the second that of the second. Another
load on either core shows in the wall times; processor seconds, of all processes of a run together, say what the same
work cost. The weights and the tables of all three runs have to be equal.
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
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [each for child in task.read_text().split() for each in descendants(int(child))]
    return found


def processor_seconds(pids: list[int]) -> float:
    """What these processes and their ended children took, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def start_cluster(cores: list[int]) -> tuple[Any, list[int]]:
    """A Ray cluster with a node of one CPU on each of the cores, and the processes that were started for it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.head_node, *(cluster.add_node(num_cpus=1) for _ in cores)]
    roots = []
    for node, core in zip(nodes, [cores[0], *cores], strict=True):
        for started in node.all_processes.values():
            for one in started:
                roots.append(one.process.pid)
                for pid in descendants(one.process.pid):
                    os.sched_setaffinity(pid, {core})
    return cluster, roots


def timed(code: str, words: list[str], cores: list[int] | None) -> tuple[float, float]:
    """Wall and processor seconds of Python code with arguments, on a new cluster where cores are given."""
    cluster, roots = start_cluster(cores) if cores else (None, [])
    if cluster is not None:
        words = [words[0], cluster.address, *words[1:]]
    before, began = processor_seconds(roots), time.monotonic()
    done = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(done.pid, 0)
    wall = time.monotonic() - began
    spent = used.ru_utime + used.ru_stime + processor_seconds(roots) - before
    if cluster is not None:
        cluster.shutdown()
    if status != 0:
        raise SystemExit(f"the run failed with status {status}")
    return wall, spent


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
        timed(PLAIN, ["01 02", *given, "--runs", str(base)], None)
        kinds = (("plain", PLAIN, None), ("one node", SPREAD, [first]), ("two nodes", SPREAD, [first, second]))
        print("             wall s  processor s  load average  result")
        for title, code, cores in kinds:
            runs = Path(name) / title.replace(" ", "_")
            shutil.copytree(base, runs)
            wall, spent = timed(code, [" ".join(STAGES), *given, "--runs", str(runs)], cores)
            print(f"{title:10s} {wall:8.1f} {spent:12.1f} {os.getloadavg()[0]:13.1f}  {made(runs)}", flush=True)


if __name__ == "__main__":
    main()
