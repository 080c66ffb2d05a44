"""Stage 08: everything inference needs in one folder, to be uploaded as a data set and run with no network.

Reads:   runs/<competition>/<experiment>/fold_k/ (weights; its members'), tuning/decision.json; from the package index
         wheels of what the host's image may lack
Writes:  runs/<competition>/<experiment>/bundle/  code/, weights/, wheels/, experiments/, competition.yaml,
         decision.json, MANIFEST.json, submit.ipynb, dataset-metadata.json; and kernel/, the notebook to push

Several experiments are one bundle where a decision was learned from them together (`members: [a, b]`).

Example: python pipeline/08_bundle.py tgs-salt --user me --python 3.11
         python -m inference run runs/tgs-salt/tgs-salt/bundle --data data/tgs-salt --out submission.csv
         python -m inference dry-run runs/tgs-salt/tgs-salt/bundle --data data/tgs-salt --copies 500
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

try:
    from inference.bundle.wheels import PYTHONS
    from inference.decide.decision import load_decision
    from pipeline.prediction.image_gate import asked_classifier
    from pipeline.prediction.prediction_stages import decision_path
    from pipeline.runs import check_weights, open_runs, runs_fingerprint
    from pipeline.workspace import Workspace, run_stage, stage_parser
    from submissions.host.listing import formats_used
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def bundle(space: Workspace, arguments: argparse.Namespace) -> None:
    """Write the bundle of all used folds, say how large it is and how to upload it."""
    from inference.bundle.assembly import write_bundle
    from pipeline.delivery.bundling import (
        bundle_facts,
        dataset_slug,
        experiment_documents,
        parse_size,
        size_table,
        template_notebook,
        together,
        write_upload_files,
    )

    started = time.monotonic()
    space = together(space, arguments.others) if arguments.others else space
    slug, max_bytes = dataset_slug(space, arguments.slug), parse_size(arguments.max_size)
    runs, folder = open_runs(space), space.own / "bundle"
    used = [*runs, *asked_classifier(space, load_decision(decision_path(space)))]
    check_weights(used)
    manifest = write_bundle(
        folder, space.competition, {run.name: [run.folder / f"fold_{fold}" for fold in run.folds] for run in used},
        decision_path(space), taught_by=runs_fingerprint(runs), configs={run.name: run.predict for run in used},
        facts=bundle_facts(space, runs), documents=experiment_documents(space, used), notebook=template_notebook(),
        formats=formats_used(space.competition, space.data), half=arguments.fp16,
        python=None if arguments.no_wheels else arguments.python, max_bytes=max_bytes,
        overwrite=space.overwrite,
    )  # fmt: skip
    print("\n".join(write_upload_files(space, folder, arguments.user, slug)))
    size = sum(one["bytes"] for one in manifest["files"].values())
    said = f"{sum(len(run.folds) for run in used)} model(s), {size / 1e6:.1f} MB ({size_table(manifest)})"
    print(f"08_bundle: {said} -> {folder} ({time.monotonic() - started:.1f} s)")


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage_parser(__doc__ or "")
    here = ".".join(map(str, sys.version_info[:2]))
    parser.add_argument("others", nargs="*", metavar="EXPERIMENT", help="further experiments of the same ensemble")
    parser.add_argument("--fp16", action="store_true", help="half the size: weights are stored in half precision")
    parser.add_argument("--python", choices=PYTHONS, default=here if here in PYTHONS else PYTHONS[-1],
                        help="Python version of the host, to fetch wheels for (default: %(default)s)")  # fmt: skip
    parser.add_argument("--no-wheels", action="store_true", help="fetch no wheels: the host's image has all packages")
    parser.add_argument("--max-size", default="20GB", metavar="20GB", help="refuse a larger bundle (default: 20GB)")
    parser.add_argument("--user", help="your user name on the host, for the metadata files")
    parser.add_argument("--slug", help="name of the data set (default: <competition>-<experiment>)")
    run_stage(bundle, parser, argv)


if __name__ == "__main__":
    main()
