"""How the score and the best threshold move when images are shifted: stain, brightness, blur, size, JPEG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.prediction.oof import OofItem
from pipeline.tuning.comparisons.paired import judge_variants
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.workers import worker_pool


@dataclass(frozen=True)
class ShiftTable:
    """One row per shift, and two candidates: the optimal one for images as they are, the robust one over all
    shifts.

    table: shift, score (at the optimal candidate), best (candidate), best_score, robust_score, low and high
    (the plateau under this shift). Candidates are thresholds 0..255, or places in the grid; of a rule without
    any (argmax) the table has the score alone.
    """

    table: pd.DataFrame
    optimal: int | None
    robust: int | None

    @property
    def sentence(self) -> str:
        """What the table says."""
        rows = self.table.to_dict("records")
        worst = min(rows, key=lambda row: row["score"])
        if self.robust is None:
            return (
                f"{rows[0]['score']:.4f} on unchanged images, {self.table['score'].mean():.4f} over all shifts, "
                f"{worst['score']:.4f} under {worst['shift']!r}; no threshold to choose"
            )
        kept = self.table["robust_score"]
        return (
            f"the optimal candidate {self.optimal} scores {rows[0]['score']:.4f} on unchanged images, "
            f"{self.table['score'].mean():.4f} over all shifts, {worst['score']:.4f} under {worst['shift']!r}; the "
            f"robust one, {self.robust}, scores {kept.iloc[0]:.4f}, {kept.mean():.4f} and at worst {kept.min():.4f}"
        )


def shift_table(criteria: Criteria, shifts: Mapping[str, Iterable[OofItem]]) -> ShiftTable:
    """Compare predictions of the same images under declared shifts; the first entry is the images as they
    are.

    The optimal candidate is the plateau's middle of the first; the robust one has the highest mean score
    over all.
    """
    with worker_pool(criteria.workers) as pool:
        variants = judge_variants(criteria, shifts, pool)
    choices = [variant.fit.choice for variant in variants.values()]
    given = [choice for choice in choices if choice is not None and len(choice.scores) > 1]
    if len(given) < len(choices):
        rows = [{"shift": name, "score": variant.score} for name, variant in variants.items()]
        return ShiftTable(pd.DataFrame(rows), None, None)
    optimal = given[0].chosen
    robust = int(np.nanargmax(np.round(np.mean([choice.scores for choice in given], axis=0), 6)))
    rows = [
        {
            "shift": name,
            "score": float(choice.scores[optimal]),
            "best": choice.best,
            "best_score": float(choice.scores[choice.best]),
            "robust_score": float(choice.scores[robust]),
            "low": choice.low,
            "high": choice.high,
        }
        for name, choice in zip(variants, given, strict=True)
    ]
    return ShiftTable(pd.DataFrame(rows), optimal, robust)
