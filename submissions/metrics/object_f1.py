"""F1 of objects at one IoU, of labelled pixels, or of outlines as hosts of vector maps compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from submissions.metrics.base import Needs, SumMetric, columns_of, ratio
from submissions.metrics.instances import Instances, Overlaps, four_decimals, overlaps, split_confidences

UNIT = 10_000  # what a square pixel of an outline counts: areas are whole numbers, as numbers of pixels are


@dataclass(frozen=True)
class Outlines:
    """The objects of one image as shapely's polygons in pixels; they may overlap."""

    shapes: Sequence[Any]


def outline_overlaps(pred: Outlines, truth: Outlines) -> Overlaps:
    """Areas that polygons share. Of pairs above half that have a polygon in common only the most alike is kept, so that
    each is matched once.
    """
    import shapely

    found, there = (np.array([*one.shapes], dtype=object) for one in (pred, truth))
    p, t = shapely.STRtree(there).query(found, predicate="intersects")
    areas = [np.rint(shapely.area(one) * UNIT).astype(np.int64) for one in (there, found)]
    inter = np.rint(shapely.area(shapely.intersection(found[p], there[t])) * UNIT).astype(np.int64)
    every = Overlaps(t[inter > 0], p[inter > 0], inter[inter > 0], areas[0], areas[1], UNIT)
    kept = np.ones(len(every.inter), bool)
    taken: tuple[set[int], set[int]] = set(), set()
    for pair in np.argsort(-every.ious(), kind="stable")[: int(every.above(0.5).sum())].tolist():
        ends = int(every.truth[pair]), int(every.pred[pair])
        kept[pair] = ends[0] not in taken[0] and ends[1] not in taken[1]
        if kept[pair]:
            for end, of_side in zip(ends, taken, strict=True):
                of_side.add(end)
    return Overlaps(every.truth[kept], every.pred[kept], every.inter[kept], areas[0], areas[1], UNIT)


@dataclass(frozen=True)
class ObjectF1(SumMetric):
    """F1 = 2 TP / (2 TP + FP + FN) of objects over all images, matched at IoU > `iou`, one class.

    min_area: smaller true objects, and predicted ones no larger, are left out [pixels].
    Empty: an image with no object in truth and prediction adds nothing and has no score; 0 where no image has any.
    Source: SpaceNet's building footprints metric, `spacenet_buildings_2` of the organisers' library solaris, with
    min_area 20; they average it over cities.
    """

    iou: float = 0.5
    min_area: int = 0
    name: ClassVar[str] = "object_f1"
    needs: ClassVar[Needs] = "instances"
    of_outlines: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.5 <= self.iou < 1 or not four_decimals(self.iou):
            raise ValueError(f"iou={self.iou!r}, expected a number in [0.5, 1) with at most four decimals")
        if self.min_area < 0:
            raise ValueError(f"min_area={self.min_area!r}, expected pixels, 0 or more")

    def rows(
        self, pred: Instances | Outlines, truth: np.ndarray | Outlines, valid: np.ndarray | None = None
    ) -> dict[str, float]:
        """Row of two labels (H, W) or (Z, H, W), or of outlines in both: tp, fp, fn and score. Makes no use of
        confidences."""
        if isinstance(pred, Outlines) and isinstance(truth, Outlines):
            found = outline_overlaps(pred, truth)
        else:
            assert not isinstance(pred, Outlines) and not isinstance(truth, Outlines), "both outlines, or both labels"
            found = overlaps(split_confidences(pred)[0], truth, valid)
        least = self.min_area * found.unit
        truths, predictions = found.truth_areas >= least, found.pred_areas > least
        tp = int(np.count_nonzero(found.above(self.iou) & truths[found.truth] & predictions[found.pred]))
        counts = np.array([tp, int(predictions.sum()) - tp, int(truths.sum()) - tp])
        row = {name: float(count) for name, count in zip(("tp", "fp", "fn"), counts, strict=True)}
        return row | {"score": float(ratio(2 * tp, 2 * tp + counts[1] + counts[2]))}

    def summands(self, table: pd.DataFrame) -> np.ndarray:
        return columns_of(table, ["tp", "fp", "fn"])

    def finish(self, sums: np.ndarray) -> np.ndarray:
        tp, fp, fn = np.moveaxis(sums, -1, 0)
        return ratio(2 * tp, 2 * tp + fp + fn, 0.0)
