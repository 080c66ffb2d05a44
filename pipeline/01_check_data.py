"""Stage 01: look at every file of the host's once and list everything that is wrong, before anything is trained.

Reads:   the host's files under --data, as submissions/competitions/<competition>.yaml describes them
Writes:  runs/<competition>/inventory/  inventory.csv (a row an image: size, type, content hash, mask area, what it is
         like - see submissions/images/measures.py - and which source it comes from), thumbnails.npy, alignment.json
         (are masks and images the same way round?), problems.csv

Example: python pipeline/01_check_data.py tgs-salt --data data/tgs-salt --workers 2
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

try:
    from inference.progress import image_bar
    from pipeline.data.image_faults import check_orientation, fault_lines
    from pipeline.data.inventory import (
        PARTS,
        Inspection,
        check_masks_aligned,
        describe_names,
        host_digest,
        peak_memory,
        sample_inspection,
        take_inventory,
        uninspected,
        write_inventory,
    )
    from pipeline.distributed.commands import run_spread_stage
    from pipeline.distributed.shards import Shard
    from pipeline.inventory_table import inventory_digest
    from pipeline.stage import Stage
    from pipeline.workspace import Workspace, already, finish, finishing, stage_parser
    from submissions.host.atomic import write_atomic
    from submissions.host.problems import Problem, ProblemsError
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def check_data(space: Workspace, arguments: argparse.Namespace) -> None:
    """Inspect all images; raise ProblemsError with the whole list where anything is wrong.

    A test image that cannot be read is a warning: it costs its own mask, not the training.
    """
    competition, shard = space.competition, space.shard
    settings = {
        "contract": competition.model_dump(
            mode="json", include={"images", "tables", "test_tables", "masks", "classes", "exclusive"}
        ),
        "files": host_digest(competition, space.data),
    }
    stage = Stage("01_check_data", space.inventory, settings, format=2)
    if not stage.begin(overwrite=space.overwrite):
        return already(stage)
    parts, left = stage.folder / PARTS, 0
    if shard is None:
        print("\n".join(describe_names(competition, space.data)))
        memory = peak_memory(competition, space.data, workers=space.workers)
        print(f"{stage.name}: needs at most {memory:.1f} GB of memory")
    else:
        deque(inspected(space, parts, shard, []), maxlen=0)
        left = uninspected(competition, space.data, parts)
    with finishing(stage, shard, left) as mine:
        if mine:
            finish_inventory(space, stage, parts)


def inspected(space: Workspace, parts: Path, shard: Shard | None, unreadable: list[Problem]) -> Iterator[Inspection]:
    """The inspections one by one, beside a bar; problems of unreadable test images are added to `unreadable`."""
    steps = take_inventory(space.competition, space.data, workers=space.workers, parts=parts, shard=shard)
    with image_bar() as progress:
        for done, total, found in steps:
            progress(done, total)
            for inspection in found:
                unreadable += inspection.unreadable
                yield inspection


def finish_inventory(space: Workspace, stage: Stage, parts: Path) -> None:
    """Write the tables of all inspections, those in `parts` and others; raise ProblemsError where there is a problem.

    Then everything is inspected again the next time: nobody knows which files are mended by then.
    """
    competition = space.competition
    unreadable: list[Problem] = []
    inspections = chain([sample_inspection(competition, space.data)], inspected(space, parts, None, unreadable))
    table, problems = write_inventory(stage.folder, inspections)
    for problem in sorted(unreadable):
        print(f"warning: {problem}")
    for line in fault_lines(competition, table):
        print(f"warning: {line}")
    problems += check_orientation(competition, space.data, table) if not problems else []
    alignment = check_masks_aligned(competition, space.data, table) if not problems else None
    if alignment is not None:
        write_atomic(stage.folder / "alignment.json", json.dumps(asdict(alignment), indent=1) + "\n")
        print(f"masks against images: {alignment.message}")
        if alignment.verdict == "misaligned":
            problems = [
                Problem("all masks", alignment.message, "masks that lie on their images",
                        "check masks.dialect.order in the contract")
            ]  # fmt: skip
    if problems:
        shutil.rmtree(parts, ignore_errors=True)
        raise ProblemsError(problems)
    counts = table["split"].value_counts()
    found = f"{len(unreadable)} unreadable test image(s), see problems.csv" if unreadable else "no problem"
    summary = f"{counts.get('train', 0)} training and {counts.get('test', 0)} test images, {found}"
    finish(stage, summary, output=inventory_digest(table))
    shutil.rmtree(parts, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> None:
    run_spread_stage("01", check_data, stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
