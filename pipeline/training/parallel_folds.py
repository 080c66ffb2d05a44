"""Folds trained at once, each by a process of its own on one of several devices."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from inference.predict.devices import share_jobs


def train_on_devices(arguments: argparse.Namespace, folds: Sequence[int], devices: Sequence[str]) -> None:
    """Run stage 04 once a fold, as many at a time as there are devices; each ends as if it had been run alone.

    Raises ValueError where a fold's process failed (the others end what they began), and under `torchrun`, whose
    processes have a device each already.
    """
    if "RANK" in os.environ:
        raise ValueError(f"--device {','.join(devices)}: torchrun gives each process its own device; leave it out")

    def start(device: str) -> Callable[[int], int]:
        return lambda fold: subprocess.run(fold_command(arguments, fold, device), check=False).returncode

    failed = []
    for done in share_jobs(folds, devices, start):
        if done.error is not None:
            raise done.error
        if done.result != 0:
            failed.append(f"fold {done.job} on {done.device} (status {done.result})")
    if failed:
        raise ValueError(f"training failed: {', '.join(sorted(failed))}; the reason is printed above")


def fold_command(arguments: argparse.Namespace, fold: int, device: str) -> list[str]:
    """The command line of stage 04 for one fold on one device, everything else as it was given."""
    command = [sys.executable, "-m", "pipeline.04_train", str(arguments.experiment), "--runs", str(arguments.runs)]
    command += ["--data", str(arguments.data)] if arguments.data is not None else []
    command += ["--overwrite"] if arguments.overwrite else []
    command += ["--workers", str(arguments.workers), "--device", device]
    for assignment in [*arguments.set, f"folds.use=[{fold}]"]:
        command += ["--set", assignment]
    return command
