"""Stage 01: look at every file of the host's once and list everything that is wrong, before anything is trained.

Reads:   the host's files under --data, as submissions/competitions/<competition>.yaml describes them
Writes:  runs/<competition>/inventory/  inventory.csv (one row per image: size, type, content hash, mask area, what
         it is like - see submissions/images/measures.py - and which source it comes from), thumbnails.npy,
         alignment.json (are masks and images the same way round?), problems.csv

Example: python pipeline/01_check_data.py tgs-salt --data data/tgs-salt --workers 2
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence

try:
    from pipeline.data.inspection_stage import finish_inventory, inspected
    from pipeline.data.inventory import (
        PARTS,
        describe_names,
        host_digest,
        peak_memory,
        uninspected,
    )
    from pipeline.distributed.commands import run_spread_stage
    from pipeline.preflight.checks import checked
    from pipeline.stage import Stage
    from pipeline.workspace import Workspace, already, finishing, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def check_data(space: Workspace, arguments: argparse.Namespace) -> None:
    """Inspect all images; raise ProblemsError with all problems, if there are any.

    A test image that cannot be read is only a warning: it costs its own mask, not the training.
    """
    competition, shard = space.competition, space.shard
    settings = {
        "contract": competition.model_dump(
            mode="json", include={"images", "tables", "test_tables", "masks", "classes", "exclusive"}
        ),
        "files": host_digest(competition, space.data),
    }
    stage = Stage("01_check_data", space.inventory, settings, format=2)
    if not stage.begin(overwrite=space.overwrite, shared=space.shard is not None):
        return already(stage)
    parts, left = stage.folder / PARTS, 0
    if shard is None:
        print("\n".join(describe_names(competition, space.data)))
        memory = peak_memory(competition, space.data, workers=space.workers)
        print(f"{stage.name}: needs at most {memory:.1f} GB of memory")
    else:
        deque(inspected(space, parts, shard, []), maxlen=0)
        left = len(uninspected(competition, space.data, parts))
    with finishing(stage, shard, left) as mine:
        if mine:
            finish_inventory(space, stage, parts)


def main(argv: Sequence[str] | None = None) -> None:
    run_spread_stage("01", checked("01", check_data), stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
