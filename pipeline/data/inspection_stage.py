"""Stage 01 when all is inspected: tables, problems, and whether masks lie on their images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from inference.progress import image_bar
from pipeline.data.image_faults import check_masks_aligned, check_masks_shown, check_orientation, fault_lines
from pipeline.data.inspection import Inspection
from pipeline.data.inventory import sample_inspection, take_inventory, write_inventory
from pipeline.distributed.shards import Shard
from pipeline.inventory_table import inventory_digest
from pipeline.stage import Stage
from pipeline.workspace import Workspace, finish
from submissions.host.atomic import write_atomic
from submissions.host.problems import Problem, ProblemsError
from submissions.table.alignment import Measured


def inspected(
    space: Workspace,
    parts: Path,
    shard: Shard | None,
    unreadable: list[Problem],
    measured: dict[str, Measured] | None = None,
) -> Iterator[Inspection]:
    """The inspections one by one, beside a bar; problems of unreadable test images are added to `unreadable`, what
    the alignment test measured to `measured`.
    """
    steps = take_inventory(space.competition, space.data, workers=space.workers, parts=parts, shard=shard)
    with image_bar() as progress:
        for done, total, found in steps:
            progress(done, total)
            for inspection in found:
                unreadable += inspection.unreadable
                if measured is not None and inspection.alignment is not None:
                    measured[str(inspection.row["image_id"])] = inspection.alignment
                yield inspection


def finish_inventory(space: Workspace, stage: Stage, parts: Path) -> None:
    """Write the tables of all inspections, those in `parts` and others; raise ProblemsError where there is a problem.

    Then everything is inspected again the next time: nobody knows which files are mended by then.
    """
    competition = space.competition
    unreadable: list[Problem] = []
    measured: dict[str, Measured] = {}
    found = inspected(space, parts, None, unreadable, measured)
    inspections = chain([sample_inspection(competition, space.data)], found)
    table, problems = write_inventory(stage.folder, inspections)
    for problem in sorted(unreadable):
        print(f"warning: {problem}")
    for line in fault_lines(competition, table):
        print(f"warning: {line}")
    problems += check_masks_shown(competition, table) if not problems else []
    problems += check_orientation(competition, space.data, table) if not problems else []
    alignment = check_masks_aligned(competition, space.data, table, measured) if not problems else None
    if alignment is not None:
        write_atomic(stage.folder / "alignment.json", json.dumps(asdict(alignment), indent=1) + "\n")
        print(f"masks and images: {alignment.message}")
        if alignment.verdict == "misaligned":
            problems = [
                Problem("all masks", alignment.message, "masks that fit their images",
                        "check masks.dialect.order in the contract")
            ]  # fmt: skip
    if problems:
        shutil.rmtree(parts, ignore_errors=True)
        raise ProblemsError(problems)
    counts = table["split"].value_counts()
    unread = f"{len(unreadable)} unreadable test image(s), see problems.csv" if unreadable else "no problem"
    summary = f"{counts.get('train', 0)} training and {counts.get('test', 0)} test images, {unread}"
    finish(stage, summary, output=inventory_digest(table))
    shutil.rmtree(parts, ignore_errors=True)
