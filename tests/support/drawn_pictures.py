"""Pictures of discs as another focus, light or magnification gives them, and a small predictor that suffers by it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from drawn_forecast import DECISION
from drawn_oof import discs

from inference.decide.decision import apply
from inference.forecast.forecast import image_sums, unit_table
from inference.predict.shifts import ShiftedReader, parse_shifts
from pipeline.tuning.forecast.known_units import joined
from pipeline.tuning.forecast.lessons import NONE, Known
from submissions.images.opening import ArrayReader
from submissions.metrics import Metric

COPIES = ("blur:1", "blur:2.5", "brightness:-0.1", "brightness:-0.25", "scale:1.5", "scale:2.5", "noise:0.1",
          "contrast:0.5", "gamma:2")  # fmt: skip


def predicted(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) of pixels (H, W, 1): what stands out of its surroundings at the size that discs have."""
    x = pixels[..., 0].astype(np.float32) / 255
    near, far = cv2.GaussianBlur(x, (0, 0), 0.8), cv2.GaussianBlur(x, (0, 0), 5)
    answer = 25 * (near - far - 0.12) + 15 * (near - 0.55)
    return np.rint(255 / (1 + np.exp(-answer))).astype(np.uint8)


def seen_under(pixels: np.ndarray, truth: np.ndarray, shift: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and truth under a shift; under a scale both are enlarged, since the predictor has no input size."""
    if shift == NONE:
        return pixels, truth
    amount = dict(parse_shifts(shift)).get("scale")
    if amount is None:
        return ShiftedReader(ArrayReader(pixels[None]), shift).read(0), truth
    size = (round(pixels.shape[1] * amount), round(pixels.shape[0] * amount))
    larger = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)[..., None]
    return larger, cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def pictured(metric: Metric, number: int, *, shift: str = NONE, seed: int = 0, first: int = 0) -> Known:
    """So many pictures under a shift, predicted and decided; two make a group."""
    sums, rows, meta = [], [], []
    for n in range(first, first + number):
        rng = np.random.default_rng([seed, n])
        truth = discs(rng, (56, 71), 6) > 0
        light = rng.uniform(0.6, 0.85)
        values = np.where(truth, light, rng.uniform(0.15, 0.4)) + rng.normal(0, rng.uniform(0.02, 0.12), truth.shape)
        pixels, mask = seen_under(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)[..., None], truth, shift)
        q = predicted(pixels)[None]
        decided = apply(q, DECISION)
        sums.append({"image_id": f"im{n:03d}", **image_sums(q, decided, DECISION)})
        rows.append(metric.rows(decided.planes, mask[None]))
        meta.append((f"im{n:03d}", f"g{n // 2}", "", shift))
    return Known(
        unit_table(pd.DataFrame(sums), ["disc"]), pd.DataFrame(rows),
        pd.DataFrame(meta, columns=["unit", "group", "source", "shift"]),
    )  # fmt: skip


def pictures_to_learn_from(metric: Metric, number: int = 30, copies: Sequence[str] = COPIES) -> Known:
    """Pictures as they are, and eight copies under each shift."""
    return joined([pictured(metric, number), *(pictured(metric, 8, shift=text) for text in copies)])
