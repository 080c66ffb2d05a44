"""The units of a run as tasks on a Ray cluster: the commands, folders and results are those of one machine.

Ray decides where a unit runs and runs it again elsewhere where its node dies; it then goes on after the last image, or
the last epoch, that was finished. All nodes see `--runs` (and `--data`) under the same paths.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from inference.progress import progress_bar
from pipeline.distributed.units import SPREAD, Unit, stage_units, unfinished
from pipeline.sequence import run_stages
from pipeline.workspace import Workspace

RETRIES = 5  # nodes that may die under one unit
SHARDS_A_CPU = 4  # so that an unlucky shard keeps few others waiting, and a dead node costs little
POLL = 5.0
ANSWER = 10.0  # seconds that a cluster has to answer
LATE = 60.0  # seconds without a finished unit after which those under way are called late, and again after twice that
NAMED = 4  # late units that are named
PASSED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NO_ALBUMENTATIONS_UPDATE", "CUBLAS_WORKSPACE_CONFIG")
USUAL = (" is done; ", "needs at most", "already made", "planned memory")  # what a unit says that nobody waits for


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and how work goes there.

    address: 'local' starts one on this machine, 'auto' finds one, else host:port. shards: of the images of a stage;
    None: SHARDS_A_CPU a CPU. working_dir: a folder that is sent to every node, for nodes that do not see this one's.
    """

    address: str
    shards: int | None = None
    working_dir: Path | None = None


class Done(NamedTuple):
    """What became of a unit: exit status, what it printed, and its errors."""

    status: int
    said: str
    errors: str


def run_on_ray(cluster: Cluster, space: Workspace, argv: Sequence[str], stages: Sequence[str]) -> None:
    """Run some stages: what can be shared out as tasks, the rest here.

    Raises ValueError that names every unit that failed, with the image, once the others are done, and where the cluster
    is lost: then the same command goes on where it was.
    """
    with connected(cluster) as ray:
        for stage in stages:
            if stage in SPREAD:
                shards = cluster.shards or max(1, SHARDS_A_CPU * int(ray.cluster_resources().get("CPU", 1)))
                units = stage_units(stage, space, sent(cluster, space, argv), shards)
                run_units(ray, cluster, units, resources(ray, space, stage), where=partial(_place, space))
            run_stages(argv, (stage,))


def sent(cluster: Cluster, space: Workspace, argv: Sequence[str]) -> list[str]:
    """The arguments for other nodes: where the folder is sent there, the results still lie in one place."""
    return [*argv, "--runs", str(space.runs.resolve())] if cluster.working_dir else list(argv)


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, connected; a connection that is there already is used and left open.

    Raises ValueError where Ray is not installed, no cluster answers, or it is lost meanwhile.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ValueError("--ray needs Ray: pip install 'segmentation-pipeline[ray]'") from error
    own = not ray.is_initialized()
    _check_address(cluster.address)
    watcher = _watch(f"error: {_lost(cluster)}\n") if own else None
    try:
        if own:
            ray.init(**_options(cluster))
        yield ray
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise ValueError(f"{_lost(cluster)} ({type(error).__name__}: {error})") from error
    finally:
        if watcher is not None:
            ray.shutdown()
            watcher.communicate("this process still lives")


def _lost(cluster: Cluster) -> str:
    return (
        f"the Ray cluster {cluster.address!r} does not answer or was lost; finished work is kept, run the "
        "same command again to continue"
    )


def _watch(sentence: str) -> subprocess.Popen[str]:
    """A process that says the sentence where this one ends without a word, as Ray makes it when the head is lost."""
    script = "import sys\nif not sys.stdin.read(): sys.stderr.write(sys.argv[1])"
    command = [sys.executable, "-c", script, sentence]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)


def _check_address(address: str) -> None:
    """Raises ValueError where nothing listens at host:port, which Ray itself would wait for for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise ValueError(f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`") from error


def _options(cluster: Cluster) -> dict[str, Any]:
    environment: dict[str, Any] = {"env_vars": {name: os.environ[name] for name in PASSED if name in os.environ}}
    if cluster.working_dir is not None:
        environment["working_dir"] = str(cluster.working_dir)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    local = {"include_dashboard": False} if cluster.address == "local" else {}
    return {"address": cluster.address, "runtime_env": environment, **quiet, **local}


def resources(ray: Any, space: Workspace, stage: str) -> dict[str, Any]:
    """What a unit of a stage takes of a node: CPUs, a GPU where the stage uses one, memory where it is known."""
    found: dict[str, Any] = {"num_cpus": max(1, space.workers)}
    on_gpu = (space.device or "cuda").startswith("cuda")
    if stage in ("04", "05", "07", "tune") and on_gpu and ray.cluster_resources().get("GPU", 0) > 0:
        found["num_gpus"] = 1
    if stage in ("01", "03"):
        found["memory"] = int(peak_memory(space, stage) * 1e9)
    return found


def peak_memory(space: Workspace, stage: str) -> float:
    """GB that a unit of stage 01 or 03 needs at most."""
    from pipeline.data import inventory, prepare

    if stage == "01":
        return inventory.peak_memory(space.competition, space.data, workers=space.workers)
    return prepare.peak_memory(space)


def do_unit(unit: Unit, folder: str | None) -> Done:
    """Do a unit in this process, from the `folder` that its relative paths start from; runs on any node."""
    if folder is not None:
        os.chdir(folder)
    said, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(errors):
        try:
            importlib.import_module("pipeline.__main__").main([unit.word, *unit.arguments])
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
    return Done(status, said.getvalue(), errors.getvalue())


def run_units(
    ray: Any,
    cluster: Cluster,
    units: Sequence[Unit],
    needs: dict[str, Any],
    *,
    where: Callable[[Unit], str] = lambda unit: unit.name,
    report: Callable[[str], None] = tqdm.write,
) -> None:
    """Run the units of a stage side by side, beside one bar; raises ValueError that lists those that failed.

    where: name of a unit with the image that it is at, for those that are late or die.
    """
    folder = None if cluster.working_dir is not None else str(Path.cwd())
    task = ray.remote(max_retries=RETRIES, **needs)(do_unit)
    waiting = {task.options(name=f"{unit.stage} {unit.name}").remote(unit, folder): unit for unit in units}
    failed: list[str] = []
    with progress_bar(total=len(units), desc=units[0].word, unit="unit") as bar:
        changed, patience = time.monotonic(), LATE
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=min(POLL, patience))
            for reference in ready:
                failed += _told(ray, reference, waiting.pop(reference), where, report)
                changed, patience = time.monotonic(), LATE
                bar.update()
            if time.monotonic() - changed > patience:
                named = [where(unit) for unit in list(waiting.values())[:NAMED]]  # in the order they were begun
                report(f"no unit has ended for {time.monotonic() - changed:.0f} s; waiting for {'; '.join(named)}")
                patience *= 2
    if failed:
        raise ValueError("\n".join([f"{len(failed)} unit(s) failed, the others are done:", *failed]))


def _place(space: Workspace, unit: Unit) -> str:
    """A unit's name, with the image that it is at where it is a shard that began."""
    left = unfinished(space, unit)
    return f"{unit.name} at image {left[0]!r} ({len(left)} left)" if left else unit.name


def _told(
    ray: Any, reference: Any, unit: Unit, where: Callable[[Unit], str], report: Callable[[str], None]
) -> list[str]:
    """Report what a unit said; the sentence of its failure, if it failed."""
    try:
        done: Done = ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.RayTaskError) as error:
        return [f"  {where(unit)}: {type(error).__name__}: {str(error).strip().splitlines()[-1]}"]
    for line in done.said.splitlines():
        if line.strip() and not any(words in line for words in USUAL):
            report(line)
    if done.status == 0:
        return []
    reasons = done.errors[done.errors.rfind("error:") :].strip()
    return [f"  {unit.name}: {reasons}"]
