"""Stage 05: predict every training image (of one cut into blocks, every block) with the model that did not see it.

Reads:   runs/<competition>/<experiment>/fold_k/ (weights), the fold file, the host's images under --data
Writes:  runs/<competition>/<experiment>/oof/  one prediction file per image, at the host's size; for a sample of
         tune.sample images also oof_views/ (every view apart) and oof_shifts/<shift>/ (under each of tune.shifts);
         oof_copies/<shift>/ shifted copies of a few images (tune.copies) that the forecast learns from;
         of a classifier oof/answers.csv (one row per image) and pictures/answers.png

Example: python pipeline/05_predict_oof.py tgs-salt --device cuda:0,cuda:1
         python pipeline/05_predict_oof.py tgs-salt --set tune.sample=100 --set 'tune.shifts=["blur:1.5"]'
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

try:
    from pipeline.distributed.commands import run_spread_stage
    from pipeline.preflight.checks import checked
    from pipeline.runs import trained_spaces
    from pipeline.workspace import Workspace, stage_parser
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error


def predict_held_out(space: Workspace, arguments: argparse.Namespace) -> None:
    """Predict what is not predicted yet, of each of the repeated splits."""
    from pipeline.prediction.oof_stage import predict_split

    for each in trained_spaces(space, "05_predict_oof"):
        predict_split(each)


def main(argv: Sequence[str] | None = None) -> None:
    run_spread_stage("05", checked("05", predict_held_out), stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
