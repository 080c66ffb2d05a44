"""What would the host score? One row per unit, one score per table, all thresholds in one pass."""

from submissions.metrics.base import Metric
from submissions.metrics.histogram import (
    counts,
    joint_histogram,
    joint_histograms,
    threshold_curve,
    threshold_values,
)
from submissions.metrics.overlap import CountMetric
from submissions.metrics.registry import build_metric

__all__ = [
    "CountMetric",
    "Metric",
    "build_metric",
    "counts",
    "joint_histogram",
    "joint_histograms",
    "threshold_curve",
    "threshold_values",
]
