"""Stage 08: everything inference needs in one folder, to be uploaded as a data set and run with no network.

Reads:   runs/<competition>/<experiment>/fold_k/ (weights; its members'), tuning/decision.json
Writes:  runs/<competition>/<experiment>/bundle/  code/, weights/, competition.yaml, decision.json, MANIFEST.json

Example: python pipeline/08_bundle.py tgs-salt
         python -m inference run runs/tgs-salt/tgs-salt/bundle --data data/tgs-salt --out submission.csv
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence

try:
    from inference.bundle import write_bundle
    from pipeline.prediction import bundle_facts, decision_path
    from pipeline.runs import open_runs
    from pipeline.workspace import Workspace, run_stage, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def bundle(space: Workspace, arguments: argparse.Namespace) -> None:
    """Write the bundle of all used folds, and say how large it is."""
    started = time.monotonic()
    facts = bundle_facts(space)
    folder = space.own / "bundle"
    if space.overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    runs = open_runs(space)
    folds = {run.name: [run.folder / f"fold_{fold}" for fold in run.folds] for run in runs}
    configs = {run.name: run.predict for run in runs}
    write_bundle(folder, space.competition, folds, decision_path(space), configs=configs, facts=facts)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    models, seconds = sum(map(len, folds.values())), time.monotonic() - started
    print(f"08_bundle: {models} model(s), {size / 1e6:.0f} MB -> {folder} ({seconds:.1f} s)")


def main(argv: Sequence[str] | None = None) -> None:
    run_stage(bundle, stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
