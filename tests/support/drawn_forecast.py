"""Drawn units whose predictions are the worse the more they are shifted, for the forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from drawn_oof import discs

from inference.decide.decision import Decision, apply
from inference.forecast.forecast import image_sums, unit_table
from pipeline.tuning.forecast.known_units import joined
from pipeline.tuning.forecast.lessons import NONE, Known
from submissions.metrics import Metric

DECISION = Decision.model_validate(
    {
        "fingerprint": "drawn",
        "classes": ["disc"],
        "channels": ["disc"],
        "rule": {"kind": "threshold", "thresholds": [128]},
    }
)  # fmt: skip
SHIFTS = {"blur:1": 0.2, "blur:2.5": 0.45, "noise:0.1": 0.3, "contrast:0.5": 0.6, "gamma:2": 0.4, "gamma:0.5": 0.8}


def drawn_prediction(rng: np.random.Generator, harm: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities uint8 (1, H, W) and truth bool (1, H, W); harm 0 to 1 makes them less sure and less right."""
    shape = (40, 53)
    truth = discs(rng, shape, 5) > 0
    wrong = discs(rng, shape, int(8 * harm)) > 0
    seen = (truth & (rng.random(shape) > 0.6 * harm)) | wrong
    centre = np.where(seen, 0.9 - 0.25 * harm, 0.08 + 0.3 * harm)
    q = np.rint(255 * np.clip(centre + rng.normal(0, 0.05 + 0.15 * harm, shape), 0, 1)).astype(np.uint8)
    return q[None], truth[None]


def drawn_units(
    metric: Metric, number: int, harm: float, *, shift: str = NONE, seed: int = 0, sources: Sequence[str] = ("",)
) -> Known:
    """So many units with harm about `harm`, their rows and who they are; two make a group."""
    rng = np.random.default_rng([seed, number, int(100 * harm)])
    sums, rows, meta = [], [], []
    for n in range(number):
        q, truth = drawn_prediction(rng, float(np.clip(harm + rng.normal(0, 0.08), 0, 1)))
        mask = apply(q, DECISION)
        name = f"im{n:03d}"
        sums.append({"image_id": name, **image_sums(q, mask, DECISION)})
        rows.append(metric.rows(mask.planes, truth))
        meta.append((name, f"g{n // 2}", sources[n % len(sources)], shift))
    return Known(
        unit_table(pd.DataFrame(sums), ["disc"]), pd.DataFrame(rows),
        pd.DataFrame(meta, columns=["unit", "group", "source", "shift"]),
    )  # fmt: skip


def with_copies(metric: Metric, own: Known, each: int = 8) -> Known:
    """Units, and copies under each of SHIFTS."""
    return joined([own, *(drawn_units(metric, each, harm, shift=text, seed=3) for text, harm in SHIFTS.items())])
