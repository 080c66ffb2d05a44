"""Stage 04: train one network per fold, on everything but the fold's own images.

Reads:   runs/<competition>/store/<hash>/, the frozen fold file
Writes:  runs/<competition>/<experiment>/fold_k/  weights.safetensors and model.json (what inference needs),
         last.pt (everything a restart needs), log.jsonl, TensorBoard events

Example: python pipeline/04_train.py tgs-salt --set train.epochs=5 --set 'folds.use=[0]'
         python pipeline/04_train.py tgs-salt --device cuda:0,cuda:1    (two folds at once)
         torchrun --nproc_per_node 2 pipeline/04_train.py tgs-salt      (two GPUs)
         torchrun --nnodes 2 --node_rank 0 --master_addr HOST --max_restarts 0 ...    (two machines that share --runs)
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


def train(space: Workspace, arguments: argparse.Namespace) -> None:
    """Train every used fold, of each of the repeated splits, that is not trained yet; on several devices at once."""
    from inference.predict.devices import split_devices
    from pipeline.training.parallel_folds import train_on_devices
    from pipeline.training.split_training import train_split

    devices, folds = split_devices(space.device or "cpu"), space.experiment.used_folds
    if len(devices) > 1 and (space.experiment.repeated or not space.experiment.members):
        print(f"04_train: folds {folds} are trained on {', '.join(devices)}, one at a time on each device")
        return train_on_devices(arguments, folds, devices)
    for each in trained_spaces(space, "04_train"):
        train_split(each)


def main(argv: Sequence[str] | None = None) -> None:
    run_spread_stage("04", checked("04", train), stage_parser(__doc__ or ""), argv)


if __name__ == "__main__":
    main()
