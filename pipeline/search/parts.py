"""Parts of a search as tasks of a cluster: a run with other settings, or one trial of the study they all share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.distributed.ray_cluster import Cluster, connected, resources, run_units, sent
from pipeline.distributed.units import Unit
from pipeline.search.trials import open_study, process_name, run_trial, take_up
from pipeline.search.variants import run_variant
from pipeline.workspace import Workspace

Part = dict[str, Any]
Ahead = Callable[[Sequence[Part]], None]


def run_part(name: str, settings: dict[str, Any]) -> Part:
    """The experiment with these settings under this name."""
    return {"name": name, "settings": settings}


def trial_parts(space: Workspace, trials: int, until: float | None) -> list[Part]:
    """As many parts as the study lacks trials; one that would begin after `until` (seconds since 1970) does nothing."""
    left = take_up(open_study(space), space.experiment, process_name(), trials)
    return [{"trial": f"{process_name()}/{number}", "until": until} for number in range(left)]


def do_part(space: Workspace, argv: Sequence[str], part: Part) -> None:
    """Do a part, in any process that sees the folder of runs; done again, it goes on where it was."""
    if "name" in part:
        run_variant(space, argv, part["name"], part["settings"])
    elif part["until"] is None or time.time() < part["until"]:
        run_trial(space, argv, part["trial"])


@contextmanager
def side_by_side(cluster: Cluster | None, space: Workspace, argv: Sequence[str]) -> Iterator[Ahead]:
    """What does parts side by side on the cluster, before the search comes to them; without a cluster it does none."""
    if cluster is None:
        yield lambda parts: None
        return
    with connected(cluster) as ray:
        needs, arguments = resources(ray, space, "tune"), sent(cluster, space, argv)

        def ahead(parts: Sequence[Part]) -> None:
            units = [
                Unit("tune", str(part.get("name", f"trial task {number}")), (*arguments, "--part", json.dumps(part)))
                for number, part in enumerate(parts, start=1)
            ]
            if units:
                run_units(ray, cluster, units, needs)

        yield ahead
