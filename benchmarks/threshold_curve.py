"""All 256 thresholds from one histogram against a loop over them, and a whole threshold search with
bootstrap.

    python benchmarks/threshold_curve.py [--side 1024] [--images 590] [--rounds 1000] [--data
    ../shared/data/dsb2018]

First table: Dice of one drawn mask at all 256 thresholds, one pass against two loops, in one run: the plain
one that scores each threshold with `metric.rows`, and the leanest that NumPy allows (two comparisons and two
counts a threshold). The scores must be equal bit for bit. Second table: the search over as many images as
dsb2018 has (its truth, blurred, where the data is at hand; drawn masks of like sizes elsewhere): histograms,
curves, resampled curves. Ends with status 1 where one pass is not 50 times faster than each loop, or a search
takes over 60 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from submissions.metrics import CountMetric, build_metric, joint_histogram, threshold_curve, threshold_values
from submissions.metrics.intervals import resample
from submissions.rle.codec import Dialect, decode

Pair = tuple[np.ndarray, np.ndarray]


def drawn(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """bool (H, W) of smooth blobs over about a quarter of the image."""
    field = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), min(shape) / 50)
    return field > 0.7 * field.std()


def predicted(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 probabilities (H, W): the blurred mask with noise, as a model's would look."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)
    soft += cv2.GaussianBlur(rng.standard_normal(mask.shape, dtype=np.float32), (0, 0), 2)
    return np.round(255 / (1 + np.exp(-10 * (soft - 0.5)))).astype(np.uint8)


def one_pass(metric: CountMetric, probs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return threshold_values(metric, joint_histogram(probs, mask)[None, None])[0]


def plain_loop(metric: CountMetric, probs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.array([metric.rows((probs >= t)[None], mask[None])["score"] for t in range(256)])


def lean_loop(metric: CountMetric, probs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    positive, counts = np.count_nonzero(mask), np.empty((4, 256, 1), dtype=np.int64)
    for t in range(256):
        pred = probs >= t
        tp = np.count_nonzero(pred & mask)
        fp = np.count_nonzero(pred) - tp
        counts[:, t, 0] = tp, fp, positive - tp, mask.size - positive - fp
    return metric.from_counts(*counts)


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median time of a call that has run once before."""
    call()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def compare_loops(side: int) -> bool:
    """Print the first table; whether one pass is 50 times faster than each loop."""
    rng, metric = np.random.default_rng(0), build_metric("dice")
    assert isinstance(metric, CountMetric)
    mask = drawn((side, side), rng)
    kinds = {"model-like": predicted(mask, rng), "noise": rng.integers(0, 256, mask.shape, dtype=np.uint8)}
    print("| probabilities | one pass, ms | lean loop, ms | plain loop, ms | lean / one | plain / one |")
    print("|---|---|---|---|---|---|")
    fast = True
    for name, probs in kinds.items():
        curves = [way(metric, probs, mask) for way in (one_pass, lean_loop, plain_loop)]
        assert np.array_equal(curves[0], curves[1]) and np.array_equal(curves[0], curves[2])
        once, lean, plain = (
            seconds(lambda w=way, p=probs: w(metric, p, mask), n)
            for way, n in ((one_pass, 31), (lean_loop, 5), (plain_loop, 3))
        )
        times = " | ".join(f"{t * 1000:.2f}" for t in (once, lean, plain))
        print(f"| {name} {side}×{side} | {times} | {lean / once:.0f} | {plain / once:.0f} |")
        fast &= min(lean, plain) / once >= 50
    return fast


def real_pairs(folder: Path, rng: np.random.Generator) -> Iterator[Pair]:
    """Blurred truth of dsb2018's training images with the truth."""
    table = pd.read_csv(folder / "stage1_train_labels.csv")
    for image_id, texts in table.groupby("ImageId")["EncodedPixels"]:
        shape = cv2.imread(str(folder / "stage1_train" / f"{image_id}.png"), cv2.IMREAD_GRAYSCALE).shape
        mask = np.zeros(shape, dtype=bool)
        for text in texts:
            mask |= decode(text, shape, Dialect())
        yield predicted(mask, rng), mask


def drawn_pairs(n: int, rng: np.random.Generator) -> Iterator[Pair]:
    """Drawn masks in the mixture of sizes that dsb2018 has."""
    shapes = [(256, 256), (256, 320), (520, 696), (360, 360), (512, 640), (1024, 1024)]
    for which in rng.choice(len(shapes), n, p=[0.5, 0.17, 0.14, 0.14, 0.02, 0.03]):
        mask = drawn(shapes[which], rng)
        yield predicted(mask, rng), mask


def search(folder: Path, n: int, rounds: int) -> bool:
    """Print the second table; whether each search takes under 60 s."""
    rng = np.random.default_rng(1)
    real = (folder / "stage1_train_labels.csv").is_file()
    pairs = list(real_pairs(folder, rng) if real else drawn_pairs(n, rng))
    source = "dsb2018" if real else "drawn"
    megapixels = sum(mask.size for _, mask in pairs) / 1e6
    print(f"\n{len(pairs)} images ({source}), {megapixels:.0f} megapixels, {rounds} rounds\n")
    print("| metric | histograms, s | curve, s | resampled curves, s | all, s | best threshold (95 %) |")
    print("|---|---|---|---|---|---|")
    quick = True
    for name, params in (("dice", {}), ("iou", {"over": "dataset"}), ("tgs_precision", {})):
        metric = build_metric(name, **params)
        assert isinstance(metric, CountMetric)
        marks = [time.perf_counter()]
        hists = np.stack([joint_histogram(probs, mask)[None] for probs, mask in pairs])
        marks.append(time.perf_counter())
        best = int(threshold_curve(metric, hists).argmax())
        marks.append(time.perf_counter())
        curves = threshold_curve(metric, hists, resample(len(pairs), rounds=rounds))
        low, high = np.quantile(curves.argmax(axis=1), [0.025, 0.975])
        marks.append(time.perf_counter())
        steps = " | ".join(f"{t:.2f}" for t in (*np.diff(marks), marks[-1] - marks[0]))
        label = " ".join([name, *(f"{k}={v}" for k, v in params.items())])
        print(f"| {label} | {steps} | {best} ({low:.0f} to {high:.0f}) |")
        quick &= marks[-1] - marks[0] < 60
    return quick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--images", type=int, default=590, help="drawn images, where the data is not at hand")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/dsb2018"))
    options = parser.parse_args()
    fast = compare_loops(options.side)
    quick = search(options.data, options.images, options.rounds)
    sys.exit(0 if fast and quick else 1)


if __name__ == "__main__":
    main()
