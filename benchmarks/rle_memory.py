"""Peak memory while a 50,000x50,000 mask is encoded from a memory map on disk, read along columns and along
rows.

    python benchmarks/rle_memory.py [--side 50000] [--folder /tmp] [--limit-mb 1000]

Draws discs (about 10 % of the image) into a C-contiguous bool file, encodes it in a process of its own for
each order, and prints the highest resident memory of that process, pages of the memory map included, as the
kernel counts it (VmHWM). Ends with status 1 where it passes the limit. Needs the file's size (2.5 GB) of
free disk; removes it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def draw(path: Path, side: int, discs: int = 2000, seed: int = 0) -> None:
    """Write a bool (side, side) file of discs whose union covers a tenth of the image or so."""
    rng = np.random.default_rng(seed)
    radius = rng.integers(side // 400, side // 150, discs)
    rows, cols = rng.integers(0, side, (2, discs))
    with path.open("wb") as file:
        for row in range(side):
            line = np.zeros(side, bool)
            half = np.sqrt(np.maximum(radius**2 - (rows - row) ** 2, 0)).astype(int)
            for i in np.flatnonzero(half):
                line[max(0, cols[i] - half[i]) : cols[i] + half[i]] = True
            file.write(line.tobytes())


def encode_one(path: Path, side: int, order: str) -> None:
    """In the child process: encode, decode every so many pixels to check it, print what happened."""
    from submissions.rle import codec as rle

    dialect = rle.Dialect(order=order)
    rle.encode(np.memmap(path, bool, "r", shape=(9, 9)), dialect)  # compile
    mask = np.memmap(path, bool, "r", shape=(side, side))
    begin = time.perf_counter()
    text = rle.encode(mask, dialect)
    seconds = time.perf_counter() - begin
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))
    step = max(1, side // 500)
    assert np.array_equal(rle.decode(text, (side, side), dialect, step=step), mask[::step, ::step])
    print(f"{peak:.0f} {seconds:.1f} {len(text) / 1e6:.1f} {(text.count(' ') + 1) // 2}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the file goes")
    parser.add_argument("--limit-mb", type=float, default=1000)
    parser.add_argument("--child", nargs=2, metavar=("PATH", "ORDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        encode_one(Path(args.child[0]), args.side, args.child[1])
        return
    print(f"bool {args.side}x{args.side} ({args.side**2 / 1e9:.2f} GB) from a C-contiguous memory map\n")
    print("| order | peak MB (VmHWM) | seconds | text MB | runs |\n|---|---|---|---|---|")
    failed = False
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "mask.bin"
        draw(path, args.side)
        for order in ("column", "row"):
            command = [sys.executable, __file__, "--side", str(args.side), "--child", str(path), order]
            peak, seconds, size, runs = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout.split()
            print(f"| {order} | {peak} | {seconds} | {size} | {int(runs):,} |")
            failed |= float(peak) > args.limit_mb
    if failed:
        sys.exit(f"peak memory is above the limit of {args.limit_mb:.0f} MB")


if __name__ == "__main__":
    main()
