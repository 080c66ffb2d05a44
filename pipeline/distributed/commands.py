"""Entry of the stages whose work can be shared out: `--shard`, `--ray`, and printed jobs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path

from pipeline.distributed.ray_cluster import Cluster, run_on_ray
from pipeline.distributed.units import BY_IMAGES, job_lines
from pipeline.sequence import STAGES
from pipeline.workspace import Workspace, open_workspace, run_stage

JOBS = 8


def add_ray(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The arguments that send work to a Ray cluster."""
    parser.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster: local, auto or host:port")
    parser.add_argument(
        "--units", type=int, metavar="N", help="number of parts that the images of a stage are divided into (default: "
        f"four per CPU of the cluster; for printed jobs {JOBS})",
    )  # fmt: skip
    parser.add_argument("--working-dir", type=Path, help="folder to copy to the nodes, with code and small data")
    return parser


def split_ray(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What concerns the cluster, and the arguments that are left, which every stage takes."""
    return add_ray(argparse.ArgumentParser(add_help=False, allow_abbrev=False)).parse_known_args(list(argv))


def cluster_of(arguments: argparse.Namespace) -> Cluster:
    """The cluster that was asked for; ValueError for fewer than one unit."""
    if arguments.units is not None and arguments.units < 1:
        raise ValueError(f"--units is {arguments.units}, expected at least 1")
    return Cluster(arguments.ray, arguments.units, arguments.working_dir)


def run_spread_stage(
    number: str,
    work: Callable[[Workspace, argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
) -> None:
    """As `run_stage`, of a stage that also takes a part of its images, or a cluster to share them out on."""
    if number in BY_IMAGES:
        parser.add_argument(
            "--shard", metavar="3/16", help="do only this part of the images; the process that finishes the last part "
            "also finishes the stage",
        )  # fmt: skip
    add_ray(parser).allow_abbrev = False
    given = list(sys.argv[1:] if argv is None else argv)

    @wraps(work)
    def spread(space: Workspace, arguments: argparse.Namespace) -> None:
        if arguments.ray is None:
            return work(space, arguments)
        if space.shard is not None or space.overwrite:
            raise ValueError("--ray runs the whole stage and deletes nothing; leave out --shard and --overwrite")
        run_on_ray(cluster_of(arguments), space, split_ray(given)[1], (number,))

    run_stage(spread, parser, given)


def run_all_on_ray(argv: Sequence[str], parsed: argparse.Namespace) -> None:
    """Stages 01 to 07 with a cluster."""
    plain = split_ray(argv)[1]
    run_on_ray(cluster_of(parsed), open_workspace(parsed), plain, tuple(STAGES))


def print_jobs(argv: Sequence[str], parsed: argparse.Namespace) -> None:
    """Print the units of stages 01 to 07, or of the one that is asked for, as command lines.

    argv: what every stage takes, and perhaps what concerns a cluster.
    """
    stages = tuple(STAGES) if parsed.print_jobs == "all" else (parsed.print_jobs,)
    shards = cluster_of(parsed).shards or JOBS
    print("\n".join(job_lines(open_workspace(parsed), split_ray(argv)[1], stages, shards)))
