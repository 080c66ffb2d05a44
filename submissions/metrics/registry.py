"""Metrics by the name that a competition's contract gives."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from submissions.metrics.base import Metric
from submissions.metrics.boundary import BoundaryF1
from submissions.metrics.detections import AveragePrecision, MeanAveragePrecision
from submissions.metrics.distances import ASSD, HD95
from submissions.metrics.instances import Dsb2018Precision, F2OverIoU, PanopticQuality
from submissions.metrics.object_f1 import ObjectF1
from submissions.metrics.overlap import (
    BalancedAccuracy,
    Dice,
    FBeta,
    IoU,
    Mcc,
    PixelAccuracy,
    Precision,
    Recall,
    TgsPrecision,
)
from submissions.metrics.partitions import AdaptedRand, VariationOfInformation
from submissions.metrics.points import PointFBeta
from submissions.metrics.skeletons import ClDice
from submissions.metrics.surface import SurfaceDice
from submissions.metrics.topology import TopoScore, VesuviusSurface
from submissions.metrics.volumes import DiceHausdorff

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        ASSD,
        AdaptedRand,
        AveragePrecision,
        BalancedAccuracy,
        BoundaryF1,
        ClDice,
        Dice,
        DiceHausdorff,
        Dsb2018Precision,
        F2OverIoU,
        FBeta,
        HD95,
        IoU,
        Mcc,
        MeanAveragePrecision,
        ObjectF1,
        PanopticQuality,
        PixelAccuracy,
        PointFBeta,
        Precision,
        Recall,
        SurfaceDice,
        TgsPrecision,
        TopoScore,
        VariationOfInformation,
        VesuviusSurface,
    )
}


def build_metric(name: str, **params: Any) -> Metric:
    """The metric of a name with its parameters, for example `build_metric("f_beta", beta=0.5,
    over="dataset")`.

    Raises ValueError that lists what exists for an unknown name or parameter, and says what a value should
    be.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}, expected one of {', '.join(sorted(METRICS))}")
    known = [field.name for field in fields(METRICS[name])]
    unknown = sorted(set(params) - set(known))
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise ValueError(f"unknown parameters {unknown} of the metric {name!r}: {takes}")
    return METRICS[name](**params)
