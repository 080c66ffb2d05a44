"""Speed of the linter on a million rows, beside a plain loop that decodes every row to a mask; in one run.

    python benchmarks/lint_speed.py [--rows 1000000] [--images 2000] [--sample 50000]

Draws a competition of 256 x 256 images with many small instances a file (overlap forbidden, so that it is checked),
writes the submission, and times the whole command: reading the file, ids, every mask, overlap, sizes against
training, alignment with images. The plain loop (split, a slice a run into a zeroed mask, add it to the image's sum
to see overlap) is timed on the first `--sample` rows of the same table and scaled up; reading the file is left out of
its time. Bar: a million rows in under a minute.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from submissions.host.competition import Competition
from submissions.host.settings import validate
from submissions.table.lint import lint_submission, summary

SIDE = 256
CELL = 11  # one instance in each cell of a grid, none touching the next


def contract() -> Competition:
    """A row an instance, no overlap."""
    document = {
        "name": "drawn",
        "images": {"train": "train/{id}.png", "test": "test/{id}.png"},
        "masks": {"kind": "rle", "table": {"file": "train.csv"}, "instances": True},
        "classes": ["thing"],
        "metric": {"name": "dsb2018_precision"},
        "submission": {"rows": "instance", "overlap": False},
    }
    return validate(Competition, document, "drawn")


def drawn_texts(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Runs of `count` instances on the grid's cells in turn, and their cells; 5 to 9 runs each, of 3 to 9 pixels."""
    rng = np.random.default_rng(seed)
    per_side = SIDE // CELL
    cells = np.arange(count) % per_side**2
    texts = []
    for cell in cells.tolist():
        top, left = (cell // per_side) * CELL, (cell % per_side) * CELL
        columns, first, length = rng.integers(5, 10), rng.integers(0, 2), rng.integers(3, 9)
        starts = (left + np.arange(columns)) * SIDE + top + first + 1
        texts.append(" ".join(f"{start} {length}" for start in starts.tolist()))
    return texts, cells


def draw_host(folder: Path, rows: int, images: int) -> tuple[Path, pd.DataFrame]:
    """Test images, sample, submission, and a table of training areas like the submission's."""
    (folder / "test").mkdir()
    variety, cells = drawn_texts(min(rows, 20 * (SIDE // CELL) ** 2))
    per_image = -(-rows // images)
    if per_image > (SIDE // CELL) ** 2:
        raise SystemExit(f"error: {per_image} instances an image, at most {(SIDE // CELL) ** 2} fit; take more images")
    ids, texts = [], []
    rng = np.random.default_rng(1)
    for number in range(images):
        start = int(rng.integers(0, len(variety) // len(set(cells.tolist())))) * (SIDE // CELL) ** 2
        chosen = variety[start : start + min(per_image, rows - len(ids))]
        name = f"image{number:05d}"
        ids += [name] * len(chosen)
        texts += chosen
        pixels = rng.integers(40, 90, (SIDE, SIDE)).astype(np.uint8)
        pixels[plain_mask(" ".join(chosen))] += 100
        cv2.imwrite(str(folder / "test" / f"{name}.png"), pixels)
    frame = pd.DataFrame({"id": ids, "rle": texts})
    path = folder / "submission.csv"
    frame.to_csv(path, index=False)
    frame.drop_duplicates("id").assign(rle="1 1").to_csv(folder / "sample_submission.csv", index=False)
    area = [int(plain_mask(" ".join(group)).sum()) for _, group in list(frame.groupby("id")["rle"])[:100]]
    return path, pd.DataFrame({"height": SIDE, "width": SIDE, "area_thing": area})


def plain_mask(text: str) -> np.ndarray:
    """The decoder of countless notebooks: bool (SIDE, SIDE)."""
    numbers = np.asarray(text.split(), dtype=int)
    flat = np.zeros(SIDE * SIDE, np.uint8)
    for start, length in zip(numbers[0::2] - 1, numbers[1::2], strict=True):
        flat[start : start + length] = 1
    return flat.reshape(SIDE, SIDE).T.astype(bool)


def plain_loop(frame: pd.DataFrame) -> int:
    """Decode every row and add it up an image at a time; returns how many images overlap."""
    overlapping = 0
    for _, texts in frame.groupby("id", sort=False)["rle"]:
        total = np.zeros((SIDE, SIDE), np.int32)
        for text in texts:
            total += plain_mask(text)
        overlapping += int(total.max() > 1)
    return overlapping


def clocks() -> np.ndarray:
    """Seconds of wall clock and of this process's CPU, float64 (2,)."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=50_000, help="rows that the plain loop is timed on")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, training = draw_host(folder, arguments.rows, arguments.images)
        competition = contract()
        begin = clocks()
        findings = lint_submission(path, competition, folder, training=training)
        ours = clocks() - begin
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        size = path.stat().st_size / 1e6
    part = frame[: arguments.sample]
    begin = clocks()
    overlapping = plain_loop(part)
    plain = (clocks() - begin) * len(frame) / len(part)
    print(f"{len(frame):,} rows, {arguments.images} images, {size:.0f} MB: {summary(findings)}, {overlapping} overlap")
    print("\n| | wall s | CPU s |\n|---|---|---|")
    print(f"| lint, everything | {ours[0]:.1f} | {ours[1]:.1f} |")
    print(f"| plain loop, masks only (from {len(part):,} rows) | {plain[0]:.1f} | {plain[1]:.1f} |")
    for finding in findings:
        print(finding)


if __name__ == "__main__":
    main()
