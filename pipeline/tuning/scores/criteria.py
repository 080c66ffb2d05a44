"""The criteria of stage 06: contract, metric, settings; and how many processes do the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.scores.workers import Progress, quiet
from submissions.host.competition import Competition
from submissions.metrics import Metric, build_metric
from submissions.table.scoring import host_metric


@dataclass(frozen=True)
class Criteria:
    """The contract, the metric, the settings, and the channels of the probabilities.

    workers: processes; each holds one unit (an image, or a stack where stacks are scored) in memory.
    progress: `progress_bar`, or what takes its arguments. ungrouped: why thresholds by group cannot decide the test
    images; '' where they can.
    """

    competition: Competition
    metric: Metric
    settings: TuneSettings
    channels: Sequence[str]
    workers: int = 1
    progress: Progress = quiet
    ungrouped: str = ""


def tuning_metric(competition: Competition, settings: TuneSettings) -> Metric:
    """The metric that is tuned for: the settings', else the contract's."""
    if settings.metric is None:
        return host_metric(competition.metric)
    return build_metric(settings.metric, **settings.metric_params)
