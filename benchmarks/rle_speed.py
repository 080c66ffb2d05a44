"""Speed of the run-length codec beside the well-known NumPy snippet and pycocotools, in one run.

    python benchmarks/rle_speed.py [--data ../shared/data] [--rounds 15] [--numpy]

Two loads: a drawn C-contiguous 3000x3000 mask with about 30,000 runs (mask to final text; text to
C-contiguous mask), and real annotations from `rle/hubmap_hpa_3000x3000.csv.gz` where that file is at hand.
The contestants take turns in each round; the table gives the fastest and the median round in milliseconds
and the ratio to ours. Bars: encode and decode at least 4 times faster than the snippet, encode faster than
pycocotools.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pycocotools import mask as coco

from submissions.rle import codec as rle
from submissions.rle import kernels_numpy as rle_numpy
from submissions.rle import scan as rle_scan
from submissions.rle import text as rle_text

SIDE = 3000
KAGGLE = rle.DIALECTS["kaggle"]


def snippet_encode(mask: np.ndarray) -> str:
    """The transpose, flatten, diff and join of countless public notebooks."""
    pixels = np.concatenate([[0], mask.T.flatten(), [0]])
    changes = np.where(pixels[1:] != pixels[:-1])[0] + 1
    changes[1::2] -= changes[::2]
    return " ".join(str(number) for number in changes)


def snippet_decode(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Its counterpart: split, a slice a run, reshape, transpose; made contiguous as ours is."""
    tokens = text.split()
    starts, lengths = (np.asarray(part, dtype=int) for part in (tokens[0::2], tokens[1::2]))
    flat = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    for low, high in zip(starts - 1, starts - 1 + lengths, strict=True):
        flat[low:high] = 1
    return np.ascontiguousarray(flat.reshape(shape[1], shape[0]).T)


def drawn_mask(seed: int = 0) -> np.ndarray:
    """Smooth blobs that cover half of the image, bool (3000, 3000)."""
    noise = np.random.default_rng(seed).standard_normal((SIDE, SIDE)).astype(np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), 32)
    return field > np.median(field)


def timed(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contestant in each of `rounds` rounds, taking turns, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            begin = time.perf_counter()
            run()
            if turn:
                times[name].append(1000 * (time.perf_counter() - begin))
    return times


def report(title: str, contestants: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print a Markdown table; the first contestant is ours."""
    times = timed(contestants, rounds)
    ours = times[next(iter(times))]
    print(f"\n{title}\n\n| contestant | min ms | median ms | min/ours | median/ours |\n|---|---|---|---|---|")
    for name, values in times.items():
        low, middle = min(values), statistics.median(values)
        ratios = f"{low / min(ours):.1f} | {middle / statistics.median(ours):.1f}"
        print(f"| {name} | {low:.2f} | {middle:.2f} | {ratios} |")


def compare(title: str, masks: list[np.ndarray], texts: list[str], rounds: int) -> None:
    """Encode and decode all masks with every contestant."""
    shape = masks[0].shape
    raw = [mask.view(np.uint8) for mask in masks]
    fortran = [np.asfortranarray(mask) for mask in raw]
    packed = [coco.encode(mask) for mask in fortran]
    for mask, text in zip(masks, texts, strict=True):
        assert rle.encode(mask, KAGGLE) == text == snippet_encode(mask)
        assert np.array_equal(rle.decode(text, shape, KAGGLE), mask)
    encoders: dict[str, Callable[[], object]] = {
        "ours": lambda: [rle.encode(mask, KAGGLE) for mask in masks],
        "snippet": lambda: [snippet_encode(mask) for mask in raw],
        "pycocotools, mask already column-major": lambda: [coco.encode(mask) for mask in fortran],
        "pycocotools with asfortranarray": lambda: [coco.encode(np.asfortranarray(mask)) for mask in raw],
    }
    decoders: dict[str, Callable[[], object]] = {
        "ours": lambda: [rle.decode(text, shape, KAGGLE) for text in texts],
        "snippet": lambda: [snippet_decode(text, shape) for text in texts],
        "pycocotools with ascontiguousarray": lambda: [np.ascontiguousarray(coco.decode(p)) for p in packed],
    }
    report(f"**Encode**, {title}", encoders, rounds)
    report(f"**Decode**, {title}", decoders, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--numpy", action="store_true", help="measure the NumPy path")
    args = parser.parse_args()
    if args.numpy:
        for module in (rle, rle_scan, rle_text):
            module.kernels = lambda: rle_numpy
    mask = drawn_mask()
    text = rle.encode(mask, KAGGLE)
    print(f"inner loops: {rle.kernels().__name__}; cores are shared, so compare the ratios")
    compare(f"3000x3000, {len(text.split()) // 2:,} runs", [mask], [text], args.rounds)
    table = args.data / "rle" / "hubmap_hpa_3000x3000.csv.gz"
    if not table.is_file():
        print(f"\n{table} is not at hand: the real annotations are left out")
        return
    texts = pd.read_csv(table, dtype=str)["rle"].iloc[::18].tolist()
    masks = [rle.decode(text, (SIDE, SIDE), KAGGLE) for text in texts]
    runs = sum(len(text.split()) // 2 for text in texts)
    compare(f"{len(texts)} real annotations of 3000x3000, {runs:,} runs", masks, texts, max(3, args.rounds // 3))


if __name__ == "__main__":
    main()
