"""Growth of stages 01 to 07: wall and processor time, peak memory, bytes and files written, with fitted exponents.

python benchmarks/scale.py --images 100 1000 10000     drawn images of 64 x 64 (PNG), a test image to four others
python benchmarks/scale.py --sides 2048 8192 20480     one large training and one large test image (tiled TIFF)
python benchmarks/scale.py                             the tables and exponents of what was measured

Rows go to benchmarks/results/scale.csv as they are measured. An exponent of 1 is linear in images, or in pixels: the
least-squares slope of log(processor seconds) over log(size), less what the stage takes of four images of 64 x 64, over
the sizes at which it takes at least a tenth longer. Each stage is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import Process
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import tifffile
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
RESULTS = Path(__file__).parent / "results/scale.csv"
SIDE, TILE, START = 64, 512, 4
EXPERIMENT = {
    "competition": "scale.yaml", "folds": {"method": "kfold", "n": 2}, "input": {"channels": 3},
    "model": {"architecture": "plain_unet", "options": {"channels": [8, 16]}}, "augment": {"recipe": "flips"},
    "train": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "patch": [64, 64], "validate_images": 1, "ema": 0.0},
    "predict": {"mode": "tiles", "tile": [512, 512], "views": ["identity"]},
    "tune": {"rounds": 100, "rules": ["global"]},
}  # fmt: skip


class Cost(NamedTuple):
    """What one stage took; `kind` is 'images' (size: their number) or 'pixels' (size: those of the large image)."""

    kind: str
    size: int
    stage: str
    wall: float
    cpu: float
    memory_mb: float
    written_mb: float
    kept_mb: float
    files: int


def draw_mask(side: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (side, side) with three discs of ones."""
    mask = np.zeros((side, side), np.uint8)
    for _ in range(3):
        centre = tuple(int(value) for value in rng.integers(0, side, 2))
        cv2.circle(mask, centre, int(rng.integers(side // 12, side // 5)), 1, -1)
    return mask


def coloured(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3): noise, lighter on the discs."""
    noise = rng.integers(0, 100, (*mask.shape, 3), np.uint8)
    return noise + mask[..., None] * np.uint8(120)


def write_image(path: Path, mask: np.ndarray, rng: np.random.Generator) -> None:
    """A PNG, or a tiled TIFF written tile by tile where the ending says so."""
    if path.suffix == ".png":
        cv2.imwrite(str(path), coloured(mask, rng), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return

    def tiles() -> Iterator[np.ndarray]:
        for y in range(0, len(mask), TILE):
            for x in range(0, len(mask), TILE):
                part = coloured(mask[y : y + TILE, x : x + TILE], rng)
                yield np.pad(part, ((0, TILE - part.shape[0]), (0, TILE - part.shape[1]), (0, 0)))

    tifffile.imwrite(
        path, tiles(), shape=(*mask.shape, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="lzw"
    )


def write_host(folder: Path, sides: list[int], test: list[int], suffix: str) -> None:
    """Training and test images of these sides, their masks, sample, contract and experiment."""
    rng = np.random.default_rng(0)
    for split, wanted, file in (("train", sides, "train.csv"), ("test", test, "sample_submission.csv")):
        (folder / "data" / split).mkdir(parents=True)
        rows = []
        for index, side in enumerate(wanted):
            mask, name = draw_mask(side, rng), f"{split}{index:07d}"
            write_image(folder / "data" / split / f"{name}{suffix}", mask, rng)
            rows.append((name, encode(mask.astype(bool), Dialect()) if split == "train" else "1 1"))
        pd.DataFrame(rows, columns=["id", "rle"]).to_csv(folder / "data" / file, index=False)
    contract = {
        "name": "scale", "images": {split: f"{split}/{{id}}{suffix}" for split in ("train", "test")},
        "tables": [{"file": "train.csv"}], "classes": ["thing"], "metric": {"name": "dice"}, "submission": {},
        "masks": {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle"},
    }  # fmt: skip
    (folder / "scale.yaml").write_text(yaml.safe_dump(contract))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))


def run_stage(folder: Path, stage: str, kind: str, size: int) -> Cost:
    """Run a stage as a process; its resources are those the kernel counted, of its children too."""
    before, began = kept(folder / "runs"), time.monotonic()
    command = [sys.executable, "-m", f"pipeline.{stage}", "tiny.yaml", "--data", "data", "--device", "cpu"]
    with (folder / f"{stage}.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    if status != 0:
        raise SystemExit(f"{stage} of {size} failed:\n{(folder / f'{stage}.txt').read_text()[-3000:]}")
    size_mb, files = (now - then for now, then in zip(kept(folder / "runs"), before, strict=True))
    cpu, written = used.ru_utime + used.ru_stime, used.ru_oublock * 512 / 1e6
    return Cost(kind, size, stage, wall, cpu, used.ru_maxrss / 1e3, written, size_mb / 1e6, files)


def kept(folder: Path) -> tuple[int, int]:
    """Bytes and number of all files in a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return sum(sizes), len(sizes)


def measure(kind: str, size: int, stages: tuple[str, ...]) -> Iterator[Cost]:
    """The stages on so many images, or on a large image of that side, as they end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides, test, suffix = [SIDE] * size, [SIDE] * max(1, size // 4), ".png"
        if kind == "pixels":
            sides, test, suffix = [size, SIDE * 4, SIDE * 4, SIDE * 4], [size], ".tif"
        drawing = Process(target=write_host, args=(folder, sides, test, suffix))  # a stage's peak memory begins at ours
        drawing.start()
        drawing.join()
        if drawing.exitcode != 0:
            raise SystemExit(f"the images of {size} could not be drawn")
        for stage in stages:
            yield run_stage(folder, stage, kind, size if kind == "images" else size**2)


def record(cost: Cost) -> None:
    """Put a row into the table in place of the one of the same stage and size."""
    rows = pd.DataFrame([cost]).round(2)
    if RESULTS.is_file():
        rows = pd.concat([pd.read_csv(RESULTS), rows])
    rows = rows.drop_duplicates(["kind", "size", "stage"], keep="last").sort_values(["kind", "size", "stage"])
    rows.to_csv(RESULTS, index=False, lineterminator="\n")


def exponents(table: pd.DataFrame, start: pd.Series) -> pd.DataFrame:
    """Slope of log(processor seconds) and of log(memory) over log(size), a row a stage; NaN where nothing grows.

    start: processor seconds by stage of what a stage takes without work.
    """
    rows = []
    for stage, part in table.groupby("stage"):
        grown = part[part["cpu"] > 1.1 * start[stage]]
        slopes = [float("nan")] * 2
        if len(grown) > 1:
            axis = np.log(grown["size"])
            slopes[0] = np.polyfit(axis, np.log(grown["cpu"] - start[stage]), 1)[0]
        if len(part) > 1:
            slopes[1] = np.polyfit(np.log(part["size"]), np.log(part["memory_mb"]), 1)[0]
        rows.append((stage, *slopes))
    return pd.DataFrame(rows, columns=["stage", "time exponent", "memory exponent"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[])
    parser.add_argument("--sides", type=int, nargs="*", default=[])
    parser.add_argument("--until", default=STAGES[-1][:2], help="number of the last stage to run (default: 07)")
    arguments = parser.parse_args()
    stages = tuple(stage for stage in STAGES if stage[:2] <= arguments.until)
    known = RESULTS.is_file() and START in pd.read_csv(RESULTS)["size"].to_numpy()
    first = [] if known or not arguments.images else [START]
    for kind, sizes in (("images", first + arguments.images), ("pixels", arguments.sides)):
        for size in sizes:
            for cost in measure(kind, size, stages):
                record(cost)
                print(f"{cost.stage} of {cost.size}: {cost.wall:.1f} s, {cost.memory_mb:.0f} MB", flush=True)
    rows = pd.read_csv(RESULTS)
    start = rows[(rows["kind"] == "images") & (rows["size"] == START)].set_index("stage")["cpu"]
    for kind, part in rows[(rows["kind"] == "pixels") | (rows["size"] > START)].groupby("kind"):
        print(f"\n{part.drop(columns='kind').to_string(index=False)}\n")
        print(f"exponents over {kind}:\n{exponents(part, start).to_string(index=False, float_format='{:.2f}'.format)}")


if __name__ == "__main__":
    main()
