"""Memory and speed of preparing one huge tiled TIFF and of reading windows of it.

    python benchmarks/prepare_memory.py [--side 40000] [--scale 1.0 0.5] [--kind memmap hdf5] [--out
    benchmarks/results]

The TIFF is drawn tile by tile. Every step runs in a process of its own, whose peak resident memory is
reported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from drawn import draw_picture

from pipeline.data.scaling import strips, working_size
from pipeline.data.store import create_store, open_store
from submissions.images.opening import open_image

TILE = 512


def draw_tiff(path: Path, side: int, compression: str) -> int:
    """Draw a tiled BigTIFF, RGB uint8 (side, side, 3); some tiles are repeated. Returns its pixels' bytes."""
    generator = np.random.default_rng(0)
    drawn = [draw_picture(TILE, TILE, generator) for _ in range(16)]
    count = -(-side // TILE)

    def tiles() -> Iterator[np.ndarray]:
        for i in range(count):
            for j in range(count):
                yield drawn[(i * 7 + j * 3) % len(drawn)]

    options = {"tile": (TILE, TILE), "photometric": "rgb", "bigtiff": True, "compression": compression}
    tifffile.imwrite(path, tiles(), shape=(side, side, 3), dtype=np.uint8, **options)
    return side * side * 3


def prepare(path: Path, folder: Path, kind: str, scale: float) -> int:
    """Stage 03 for one image: decode, resize, store, with a plane of truth in strips. Bytes decoded."""
    with closing(open_image(path)) as source:
        depth, height, width, channels = source.shape
        size = working_size((height, width), scale)

        def planes() -> Iterator[np.ndarray]:
            for top in range(0, size[0], TILE):
                rows = np.arange(top, min(size[0], top + TILE))[:, None]
                yield ((rows + np.arange(size[1])) // 100 % 7 == 0).astype(np.uint8)[None]

        create_store(folder, kind).write(  # type: ignore[arg-type]
            "slide", strips(source, size), planes(),
            shape=(depth, *size, channels), dtype=source.dtype, target_shape=(depth, 1, *size),
        )  # fmt: skip
        return height * width * channels


def read_tiff(path: Path, windows: int) -> int:
    """Random 512 x 512 windows straight from the TIFF; bytes read."""
    with closing(open_image(path)) as source:
        return _read(source, windows)


def read_store(folder: Path, windows: int) -> int:
    """Random 512 x 512 windows from the store; bytes read."""
    return _read(open_store(folder).image("slide"), windows)


def _read(source: Any, windows: int) -> int:
    generator = np.random.default_rng(0)
    _, height, width, channels = source.shape
    for _ in range(windows):
        y, x = generator.integers(height - 511), generator.integers(width - 511)
        assert source.read(0, slice(y, y + 512), slice(x, x + 512)).shape == (512, 512, channels)
    return windows * 512 * 512 * channels


def _child(connection: Any, work: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, busy = time.perf_counter(), time.process_time()
    done = work(*arguments)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection.send((done, seconds, busy, peak / 1024, base / 1024))


def measured(work: Callable[..., int], *arguments: Any) -> tuple[float, float, float, float, float]:
    """(MB, seconds, processor seconds, peak MiB, MiB at the start) of a function run in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, work, arguments))
    process.start()
    there.close()
    done, seconds, busy, peak, base = here.recv()
    process.join()
    return done / 1e6, seconds, busy, peak, base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=40_000)
    parser.add_argument("--compression", default="jpeg", help="of the TIFF: jpeg, lzw, deflate, none")
    parser.add_argument("--scale", nargs="+", type=float, default=[1.0, 0.5])
    parser.add_argument("--kind", nargs="+", default=["memmap", "hdf5"])
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where the files go (7 GB at 40000); a temporary one otherwise")
    parser.add_argument("--out", type=Path, help="folder for prepare_memory.md")
    args = parser.parse_args()
    lines = ["| step | MB of pixels | s | MB/s | processor s | peak MiB | MiB at start |", "|---" * 7 + "|"]

    def report(name: str, work: Callable[..., int], *arguments: Any) -> None:
        size, seconds, busy, peak, base = measured(work, *arguments)
        numbers = f"{size:.0f} | {seconds:.1f} | {size / seconds:.0f} | {busy:.1f} | {peak:.0f} | {base:.0f}"
        lines.append(f"| {name} | {numbers} |")
        print(lines[-1], flush=True)

    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        path = Path(made) / "slide.tif"
        report(f"draw {args.side}² TIFF", draw_tiff, path, args.side, args.compression)
        report(f"{args.windows} windows of the TIFF", read_tiff, path, args.windows)
        for kind in args.kind:
            for scale in args.scale:
                folder = Path(made) / f"{kind}_{scale}"
                report(f"prepare, {kind}, scale {scale}", prepare, path, folder, kind, scale)
                report(f"{args.windows} windows of it", read_store, folder, args.windows)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "prepare_memory.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
