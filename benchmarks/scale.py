"""Growth of stages 01 to 07: wall and processor time, peak memory, bytes written, with fitted exponents.

python benchmarks/scale.py --images 100 1000 10000    drawn images of 64 x 64, a test image to four others
python benchmarks/scale.py --sides 2048 4096 8192           one large training image, one small, a test image

An exponent of 1 is linear in images, or in pixels. Each stage is a process of its own; what it costs to start Python is
measured as the stage on four images, and taken off before an exponent is fitted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import yaml

from submissions.rle.codec import Dialect, encode

STAGES = (
    "01_check_data",
    "02_make_folds",
    "03_prepare_data",
    "04_train",
    "05_predict_oof",
    "06_tune",
    "07_predict_test",
)
SIDE = 64
EXPERIMENT = {
    "competition": "scale.yaml", "folds": {"method": "kfold", "n": 2}, "input": {"channels": 3},
    "model": {"architecture": "plain_unet", "options": {"channels": [8, 16]}}, "augment": {"recipe": "flips"},
    "train": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "patch": [64, 64], "validate_images": 1, "ema": 0.0},
    "predict": {"mode": "tiles", "tile": [512, 512], "views": ["identity"]},
    "tune": {"rounds": 100, "rules": ["global"]},
}  # fmt: skip
CONTRACT = {
    "name": "scale", "images": {"train": "train/{id}.png", "test": "test/{id}.png"}, "tables": [{"file": "train.csv"}],
    "masks": {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle"}, "classes": ["thing"],
    "metric": {"name": "dice"}, "submission": {},
}  # fmt: skip


class Cost(NamedTuple):
    """What one stage took."""

    size: int
    stage: str
    wall: float
    cpu: float
    memory_mb: float
    written_mb: float


def draw(side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (side, side, 3) with noise, and the bool mask of its discs."""
    mask = np.zeros((side, side), np.uint8)
    for _ in range(3):
        centre = tuple(int(value) for value in rng.integers(0, side, 2))
        cv2.circle(mask, centre, int(rng.integers(side // 12, side // 5)), 1, -1)
    noise = rng.integers(0, 40, (64, 64, 3), np.uint8)
    tiled = np.tile(noise, (-(-side // 64), -(-side // 64), 1))[:side, :side]
    return tiled + mask[..., None] * np.uint8(120) + rng.integers(0, 60, 3, np.uint8), mask.astype(bool)


def write_host(folder: Path, sides: list[int], test: list[int]) -> None:
    """Training and test images of these sides, their masks, sample, contract and experiment."""
    rng = np.random.default_rng(0)
    rows = []
    for split, wanted in (("train", sides), ("test", test)):
        (folder / "data" / split).mkdir(parents=True)
        for index, side in enumerate(wanted):
            image, mask = draw(side, rng)
            name = f"{split}{index:07d}"
            cv2.imwrite(str(folder / "data" / split / f"{name}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            rows.append((split, name, encode(mask, Dialect()) if split == "train" else "1 1"))
    table = pd.DataFrame(rows, columns=["split", "id", "rle"])
    for split, file in (("train", "train.csv"), ("test", "sample_submission.csv")):
        table.loc[table["split"] == split, ["id", "rle"]].to_csv(folder / "data" / file, index=False)
    (folder / "scale.yaml").write_text(yaml.safe_dump(CONTRACT))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))


def run_stage(folder: Path, stage: str, size: int) -> Cost:
    """Run a stage as a process; its resources are those the kernel counted, of its children too."""
    before, began = folder_bytes(folder / "runs"), time.monotonic()
    command = [sys.executable, "-m", f"pipeline.{stage}", "tiny.yaml", "--data", "data", "--device", "cpu"]
    with (folder / f"{stage}.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{stage} of {size} failed:\n{(folder / f'{stage}.txt').read_text()[-3000:]}")
    written = (folder_bytes(folder / "runs") - before) / 1e6
    return Cost(size, stage, time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3, written)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def measure(size: int, *, single: bool) -> list[Cost]:
    """All stages of a size: a number of images, or the side of one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = [size, SIDE * 4, SIDE * 4, SIDE * 4] if single else [SIDE] * size
        write_host(folder, sides, [size] if single else [SIDE] * max(1, size // 4))
        return [run_stage(folder, stage, size**2 if single else size) for stage in STAGES]


def exponents(table: pd.DataFrame, start: dict[str, float]) -> pd.DataFrame:
    """Slopes of log(wall - start) and log(memory) over log(size), from the two largest sizes, a row a stage."""
    rows = []
    for stage, part in table.groupby("stage"):
        small, large = part.sort_values("size").iloc[-2], part.sort_values("size").iloc[-1]
        ratio = np.log(large["size"] / small["size"])
        times = np.maximum(np.array([small["wall"], large["wall"]]) - start[str(stage)], 0.05)
        memory = np.log(large["memory_mb"] / small["memory_mb"]) / ratio
        rows.append((stage, np.log(times[1] / times[0]) / ratio, memory))
    return pd.DataFrame(rows, columns=["stage", "time exponent", "memory exponent"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[])
    parser.add_argument("--sides", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    start = {cost.stage: cost.wall for cost in measure(4, single=False)}
    for sizes, single in ((arguments.images, False), (arguments.sides, True)):
        if len(sizes) < 2:
            continue
        table = pd.DataFrame([cost for size in sizes for cost in measure(size, single=single)])
        print(f"\n{'pixels of one image' if single else 'images of 64 x 64'}")
        print(table.to_string(index=False, float_format="{:.1f}".format), flush=True)
        print(exponents(table, start).to_string(index=False, float_format="{:.2f}".format), flush=True)


if __name__ == "__main__":
    main()
