"""Memory and time of deciding one large image: bytes a pixel beside its probabilities and its mask, a byte each.

python benchmarks/decision_memory.py [--side 8192]      drawn discs, one class, one thread
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from inference.decide.decision import Decision, Mask, apply
from inference.decide.postprocess import fill_holes, remove_small
from inference.decide.rules import ThresholdRule
from inference.forecast.forecast import image_sums
from pipeline.prediction.drift import image_features


def resident(field: str) -> float:
    """Bytes of this process, `VmRSS` now or `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * float(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


def measured(work: Callable[[], object], pixels: int) -> str:
    """Bytes a pixel that `work` holds at most, its result included, and its processor seconds."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what is held now
    before, began = resident("VmRSS"), time.process_time()
    work()
    seconds = time.process_time() - began
    return f"{(resident('VmHWM') - before) / pixels:.2f} bytes a pixel, {seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    side = parser.parse_args().side
    cv2.setNumThreads(1)
    row, col = np.ogrid[:1024, :1024]
    disc = ((row - 500) ** 2 + (col - 400) ** 2 < 90000) * np.uint8(200) + np.uint8(20)
    probs = np.tile(disc, (-(-side // 1024), -(-side // 1024)))[None, :side, :side].copy()
    decision = Decision(fingerprint="drawn", classes=["disc"], channels=["disc"], rule=ThresholdRule(thresholds=[128]))

    def steps(q: np.ndarray, mask: Mask) -> dict[str, Callable[[], object]]:
        return {
            "decision": lambda: apply(q, decision),
            "sums of the forecast": lambda: image_sums(q, mask, decision),
            "features of drift": lambda: image_features(q, mask, decision),
            "smallest area": lambda: remove_small(mask.planes[0], 1000),
            "holes": lambda: fill_holes(mask.planes[0], 1000),
        }

    small = probs[:, :600, :600].copy()
    for work in steps(small, apply(small, decision)).values():
        work()  # compiles, imports
    for name, work in steps(probs, apply(probs, decision)).items():
        print(f"{name}: {measured(work, side**2)}", flush=True)


if __name__ == "__main__":
    main()
