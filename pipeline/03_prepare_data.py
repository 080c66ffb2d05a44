"""Stage 03: decode every training image once, at the working size, with its target; index the patches.

Reads:   runs/<competition>/inventory/ and the host's images and masks under --data
Writes:  runs/<competition>/store/<hash>/  units/ (one folder per image), patches-HxW-AXES.csv (the windows to train on,
         with the foreground of each class); shared by all experiments that prepare alike

Example: python pipeline/03_prepare_data.py tgs-salt --workers 2 --set prepare.store=hdf5
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

try:
    from inference.progress import show
    from pipeline.data.prepare import fill_store, index_patches, peak_memory, prepare_stage, unstored
    from pipeline.distributed.commands import run_spread_stage
    from pipeline.preflight.checks import checked
    from pipeline.runs import trained_spaces
    from pipeline.workspace import Workspace, already, finish, finishing, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def prepare_data(space: Workspace, arguments: argparse.Namespace) -> None:
    """Store the images that are not stored yet; an interrupted run goes on after the last finished image."""
    if not trained_spaces(space, "03_prepare_data"):
        return
    stage = prepare_stage(space)
    if not stage.begin(overwrite=space.overwrite, shared=space.shard is not None):
        index_patches(replace(space, shard=None), stage.folder)
        return already(stage)
    print(f"{stage.name}: needs at most {peak_memory(space):.1f} GB of memory")
    show(fill_store(space, stage.folder), "images")
    everything = replace(space, shard=None)
    if space.shard is not None:
        index_patches(space, stage.folder)
    with finishing(stage, space.shard, len(unstored(everything, stage.folder))) as mine:
        if mine:
            windows = index_patches(everything, stage.folder)
            listing, _ = space.training_images()
            finish(stage, f"{len(listing)} images, {windows} windows in the patch index")


def main(argv: Sequence[str] | None = None) -> None:
    run_spread_stage("03", checked("03", prepare_data), stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
