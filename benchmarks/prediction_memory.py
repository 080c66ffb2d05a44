"""Memory of prediction: an image far larger than memory should be, and ensembles that do not add to it.

python benchmarks/prediction_memory.py [--size 30000] [--cap 3.0] [--members 5] [--ensemble-size 4096]

First a square RGB image of --size pixels a side, made window by window and never held, one class, tiles of
512 without overlap, a stand-in model of one convolution: the peak of resident memory above what the process
held with the model loaded. Then one FPN less than --members on EfficientNet-Lite0 against all of them, of one
grid (folds) or of several (mixed: pixel size and tile, the largest among the first), D4 off, on an image of
--ensemble-size: peaks of the whole process, beside the weights of the member that was added. Every measurement
has its own process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models import build_model
from inference.predict.predictor import predict_image, prepare_members
from inference.predict.store import open_prediction
from inference.weights import LoadedModel

GRIDS = {"folds": [(1.0, 512)], "mixed": [(1.0, 512), (1.25, 448), (0.75, 512), (0.5, 512), (1.0, 384)]}


class PatternReader:
    """An image of any size that repeats a drawn pattern of 997 x 991 pixels; only the window asked
    for exists.
    """

    def __init__(self, size: int) -> None:
        self.shape = (1, size, size, 3)
        self.dtype = np.dtype(np.uint8)
        rows, cols = np.mgrid[:997, :991]
        blobs = (np.sin(rows / 30) * np.cos(cols / 40) * 100 + 120)[..., None] + np.array([0, 15, -15])
        self._pattern = blobs.astype(np.uint8)

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of the image, a new array."""
        found = [
            np.arange(*(part or slice(None)).indices(size)) % period
            for part, size, period in zip((rows, cols), self.shape[1:3], (997, 991), strict=True)
        ]
        return self._pattern[found[0]][:, found[1]]

    def close(self) -> None:
        """Nothing is held open."""


def peak_mb() -> float:
    """Peak of resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def members_of(number: int, grids: str) -> list[LoadedModel]:
    """Return `number` networks (0: one stand-in) with the grids of that name in turn."""
    if number == 0:
        torch.manual_seed(0)
        config = PredictConfig(tile=(512, 512), overlap=0, precision="fp32")
        return [LoadedModel(nn.Conv2d(3, 1, 1).eval(), ModelConfig(), InputConfig(), config, Path("stand-in"))]
    made = []
    for scale, tile in [GRIDS[grids][i % len(GRIDS[grids])] for i in range(number)]:
        settings = ModelConfig(architecture="fpn", encoder="tf_efficientnet_lite0")
        config = PredictConfig(tile=(tile, tile), overlap=0)
        made.append(LoadedModel(build_model(settings), settings, InputConfig(scale=scale), config, Path("model")))
    return made


def measure(args: argparse.Namespace) -> None:
    """Predict one image in this process and print a line of JSON."""
    torch.set_num_threads(2)
    members = members_of(args.measure, args.grids)
    weights = sum(tensor.nbytes for member in members[1:] for tensor in member.model.state_dict().values()) / 1e6
    ready = prepare_members(members)
    small, large = PatternReader(600), PatternReader(args.size)
    for member in members:
        member.predict_config.memory_cap_gb = args.cap
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        predict_image(ready[:1], small, [0], None, Path(folder) / "warm.h5")
        before, began = peak_mb(), time.perf_counter()
        report = predict_image(ready, large, [0], None, Path(folder) / "image.h5")
        seconds = time.perf_counter() - began
        with open_prediction(report.path) as prediction:
            assert prediction.shape == (1, args.size, args.size)
    print(json.dumps({"before": before, "peak": peak_mb(), "planned": report.memory.total / 1e6, "seconds": seconds,
                      "tiles": report.tiles, "weights": weights}))  # fmt: skip


def run(args: argparse.Namespace, members: int, size: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, f"--measure={members}", f"--size={size}", f"--cap={args.cap}"]
    command.append(f"--grids={args.grids}")
    if args.folder:
        command.append(f"--folder={args.folder}")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure the large image, then the ensemble."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=30_000, help="pixels a side of the large image; 0: leave it out")
    parser.add_argument("--cap", type=float, default=3.0, help="predict.memory_cap_gb")
    parser.add_argument("--members", type=int, default=5, help="members of the ensemble; 0: leave it out")
    parser.add_argument("--ensemble-size", type=int, default=4096)
    parser.add_argument("--grids", choices=sorted(GRIDS), default="folds", help="pixel size and tile of the members")
    parser.add_argument("--folder", help="where the prediction is written; default: the system's temporary folder")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        measure(args)
        return
    if args.size:
        large = run(args, 0, args.size)
        print(
            f"{args.size} x {args.size} RGB, one class: {large['peak'] - large['before']:.0f} MB above the model's "
            f"{large['before']:.0f} MB; planned {large['planned']:.0f} MB; {large['seconds']:.0f} s"
        )
    if args.members:
        few = run(args, args.members - 1, args.ensemble_size)
        many = run(args, args.members, args.ensemble_size)
        added = (many["weights"] - few["weights"]) if args.members > 1 else 0
        print(
            f"{args.members - 1} members: peak {few['peak']:.0f} MB; {args.members}: {many['peak']:.0f} MB, "
            f"{100 * (many['peak'] - few['peak'] - added) / few['peak']:+.1f} % beside {added:.0f} MB of weights"
        )


if __name__ == "__main__":
    main()
