"""Stage 05: predict every training image whole with the model that did not see it.

Reads:   runs/<competition>/<experiment>/fold_k/ (weights), the fold file, the host's images under --data
Writes:  runs/<competition>/<experiment>/oof/  a prediction file an image, at the host's size

Example: python pipeline/05_predict_oof.py tgs-salt --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tqdm import tqdm

try:
    from pipeline.prediction import oof_stage, predict_oof
    from pipeline.workspace import Workspace, already, finish, run_stage, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def predict_held_out(space: Workspace, arguments: argparse.Namespace) -> None:
    """Predict what is not predicted yet; an interrupted run goes on after the last finished image."""
    stage = oof_stage(space)
    if not stage.begin(overwrite=space.overwrite):
        return already(stage)
    with tqdm(desc="images", unit="image") as bar:
        for done, total in predict_oof(space, stage.folder, report=tqdm.write):
            bar.total = total
            bar.update(done - bar.n)
    finish(stage, f"{bar.n} images predicted, each by the fold that held it out")


def main(argv: Sequence[str] | None = None) -> None:
    run_stage(predict_held_out, stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
