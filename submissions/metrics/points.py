"""F-beta of places: what was found lies within a distance of what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import scipy

from submissions.metrics.base import (
    IMAGE_SPACING,
    Needs,
    Spacing,
    SumMetric,
    checked_choice,
    checked_spacing,
    columns_of,
    known_spacing,
    number_of_classes,
    ratio,
)

COUNTS = ("tp", "fp", "fn")


@dataclass(frozen=True)
class PointFBeta(SumMetric):
    """F-beta of places over the data set, as the weighted mean over classes.

    A place that is there is found (tp) where a predicted one of its class lies within `radius` of it, and missed (fn)
    otherwise; predicted places beyond the number of found ones are false (fp). One that finds two true places counts as
    two found, as with the host: fp may be below 0, and a score above 1.
    radius: of each scored class but the background, or of all, in the unit of spacing.
    spacing: (z, y, x) distance of voxel centres, or 'image' for that of each volume.
    weights: of each class; None: alike.
    count: 'points', or 'volumes': a volume that shows a place is one hit or one miss, wherever else places are
    predicted, and one that shows none is a false alarm where one is.
    Empty: a class without a place and without a prediction in any volume is left out, NaN where all are; a prediction
    where nothing is has 0. Predicted and true places in void voxels do not count.
    Source: the hosts' metrics of CZII CryoET Object Identification (Kaggle 2024: beta 4, half the particle's radius)
    and BYU Locating Bacterial Flagellar Motors (Kaggle 2025: count 'volumes', beta 2, 1000 A). CZII's host gives a
    class that is left out here 0.
    """

    radius: float | Sequence[float] = 1.0
    beta: float = 1.0
    weights: Sequence[float] | None = None
    spacing: Spacing | str = (1.0, 1.0, 1.0)
    count: str = "points"
    name: ClassVar[str] = "point_f_beta"
    needs: ClassVar[Needs] = "points"

    def __post_init__(self) -> None:
        checked_choice("count", self.count, ("points", "volumes"))
        object.__setattr__(self, "spacing", checked_spacing(self.spacing))
        for name in ("radius", "weights"):
            given = getattr(self, name)
            if isinstance(given, list):
                object.__setattr__(self, name, tuple(given))
        if not self.beta > 0:
            raise ValueError(f"beta={self.beta!r}, expected a number above 0")
        if not np.all(np.asarray(self.radius, float) > 0):
            raise ValueError(f"radius={self.radius!r}, expected distances above 0")
        weights = np.asarray(self.weights if self.weights is not None else [1.0], float)
        if (weights < 0).any() or not weights.any():
            raise ValueError(f"weights={self.weights!r}, expected numbers of 0 or more, not all 0")

    def at(self, spacing: Spacing | None) -> PointFBeta:
        return replace(self, spacing=spacing) if self.spacing == IMAGE_SPACING and spacing is not None else self

    def rows(
        self, pred: Sequence[np.ndarray], truth: Sequence[np.ndarray], valid: np.ndarray | None = None
    ) -> dict[str, float]:
        """Row of one volume: tp_k, fp_k, fn_k and score; of each class places (n, 3) along z, y, x in voxels.

        Raises ValueError where `radius` or `weights` are not one per class.
        """
        spacing = np.array(known_spacing(self.spacing, self.name))
        for name in ("radius", "weights"):
            given = getattr(self, name)
            if isinstance(given, tuple) and len(given) != len(truth):
                raise ValueError(f"{name}={given!r}, expected one for each of {len(truth)} classes")
        radius = np.broadcast_to(np.asarray(self.radius, float), len(truth))
        counts = [
            self._counts(_counted(found, valid) * spacing, _counted(there, valid) * spacing, limit)
            for found, there, limit in zip(pred, truth, radius, strict=True)
        ]
        row = {
            f"{name}_{k}": float(value) for k, one in enumerate(counts) for name, value in zip(COUNTS, one, strict=True)
        }
        return row | {"score": float(self.finish(np.ravel(counts).astype(np.float64)))}

    def _counts(self, found: np.ndarray, there: np.ndarray, limit: float) -> tuple[int, int, int]:
        """tp, fp, fn of places (n, 3) and (m, 3) in the unit of `limit`."""
        near = 0
        if len(found) and len(there):
            near = int(np.count_nonzero(scipy.spatial.cKDTree(found).query(there)[0] <= limit))
        if self.count == "points":
            return near, len(found) - near, len(there) - near
        hit, shown = int(near > 0), int(len(there) > 0)
        return hit, int(len(found) > 0 and not shown), shown - hit

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        k = number_of_classes(table, "tp")
        return columns_of(table, [f"{name}_{i}" for i in range(k) for name in COUNTS])

    def finish(self, sums: np.ndarray) -> np.ndarray:
        tp, fp, fn = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, len(COUNTS)), -1, 0)
        square = self.beta**2
        score = ratio((1 + square) * tp, (1 + square) * tp + square * fn + fp)
        weights = np.ones(tp.shape[-1]) if self.weights is None else np.asarray(self.weights, float)
        defined = ~np.isnan(score)
        return ratio((np.where(defined, score, 0.0) * weights).sum(-1), (defined * weights).sum(-1))


def _counted(places: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """The places whose nearest voxel is valid, bool (Z, H, W); those outside of it count."""
    if valid is None or not len(places):
        return places
    nearest = np.rint(places).astype(np.int64)
    outside = ((nearest < 0) | (nearest >= valid.shape)).any(axis=1)
    inside = np.clip(nearest, 0, np.array(valid.shape) - 1)
    return places[outside | valid[tuple(inside.T)]]
