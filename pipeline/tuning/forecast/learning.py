"""Learning the forecast: maps are fitted on known units, and the one with the least error on units that were left out
is kept.

Left out in turn: each kind of shift (with every copy that it has a part in), each source, and half of the groups of the
unchanged images. The errors there decide which map is kept, and how wide the interval has to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from inference.forecast.features import FEATURES
from inference.forecast.forecast import Forecast, Neighbourhood, Way, neighbour_distance
from inference.forecast.maps import columns, in_deviations
from pipeline.tuning.forecast.fitting import KINDS, deviations
from pipeline.tuning.forecast.judging import Judged, gain_over, judged_kinds, rests_on_one_group
from pipeline.tuning.forecast.lessons import (
    LEAST_UNITS,
    Known,
    Left,
    Lesson,
    fit_maps,
    left_out,
    span_of,
    stand_ins,
    targets_of,
    way_of,
)
from submissions.host.atomic import finite
from submissions.host.listing import spread
from submissions.metrics import Metric

LEAST_GROUPS = 3
NEARLY_ALL = 0.98
LEVEL = 0.9
MOST_NEAR = 2000  # known units that others are called near to or strange; all of them would be N x N distances
LEAST_GAIN = 1e-6  # less is the rounding of maps


def learn_forecast(
    known: Known, metric: Metric, classes: Sequence[str], *, fingerprint: str, cv: float,
    interval: tuple[float, float] = (math.nan, math.nan), models: int = 1, seed: int = 0,
) -> Forecast:  # fmt: skip
    """The forecast from known units; without a map, and with the reason, where it would know no more than CV.

    That is where there are too few units (`too_little`), or where on sources and kinds of shift left out the best map
    is not clearly nearer to the truth than CV is, and than a number that knows no features (`no_better`).

    classes: names of those that the metric counts. cv: the score of the images as they are, interval: its own.
    models: how many models the predictions are a mean of. The result is the same whatever the order of the rows.
    """
    known = known.ordered()
    plain: dict[str, Any] = {
        "fingerprint": fingerprint, **named_metric(metric), "way": way_of(metric), "classes": list(classes),
        "cv": finite(cv), "interval": (finite(interval[0]), finite(interval[1])), "models": models, "level": LEVEL,
    }  # fmt: skip
    reasons = too_little(known)
    if reasons:
        return Forecast(**plain, doubts=reasons)
    lesson = Lesson(known, metric, classes, left_out(known), span_of(known), seed)
    judged = judged_kinds(KINDS, lesson)
    best = min(judged, key=lambda one: one.error)
    plain |= {
        "errors": {one.kind: finite(one.error) for one in judged}, "episodes": best.episodes,
        "near": neighbourhood(known), "known_units": int(known.own.sum()),
    }  # fmt: skip
    reasons = no_better(best, way_of(metric))
    if reasons:
        return Forecast(**plain, doubts=reasons)
    maps = fit_maps(best.kind, targets_of(lesson.aims, known.own), seed=seed)
    seen = stand_ins(known, maps, metric, lesson.span)
    whole = lesson.span[1] - lesson.span[0]
    return Forecast(
        **plain, chosen=best.kind, maps=maps, span=lesson.span, noise=float(best.own.std()) if len(best.own) else 0.0,
        unit_error=float(np.quantile(np.abs(best.every), LEVEL)) if len(best.every) else whole,
        known=[] if seen is None else [{str(k): v for k, v in row.items()} for row in seen.to_dict("records")],
        doubts=doubts(lesson.lefts),
    )  # fmt: skip


def named_metric(metric: Metric) -> dict[str, Any]:
    """Name and parameters by which `build_metric` makes this metric again, as the fields of a `Forecast`."""
    params = {field.name: getattr(metric, field.name) for field in fields(metric)}
    return {"metric": metric.name, "metric_params": params}


def too_little(known: Known) -> list[str]:
    """Why nothing can be learned; nothing where it can."""
    own = known.at(known.own)
    score = own.rows["score"].to_numpy(float) if len(own.rows) else np.empty(0)
    units, groups = int(np.isfinite(score).sum()), int(own.meta["group"].nunique())
    if units >= LEAST_UNITS and groups >= LEAST_GROUPS:
        return []
    return [
        f"{units} scored out-of-fold units of {groups} groups are too few to learn a forecast from; it needs "
        f"{LEAST_UNITS} units of {LEAST_GROUPS} groups"
    ]


def no_better(best: Judged, way: Way) -> list[str]:
    """Why the best kind of map gives no number; nothing where it is clearly better than having none.

    Over sources and shifts left out (`gain_over` CV, and over the mean of all that was seen); and not by one group of
    units alone, where their scores make the set's.
    """
    over_cv, over_plain = gain_over(best.episodes, "cv"), gain_over(best.episodes, "plain")
    begin = (
        f"on sources and shifts that it had not seen the best map, of the kind '{best.kind}', was not clearly nearer"
    )
    if math.isnan(over_cv[0]):
        return [
            "neither a source nor a kind of shift could be left out (sources of three units each, tune.copies), so "
            "nothing says how far off it is on other images: there is no forecast"
        ]
    if min(over_cv[1], over_plain[1]) <= LEAST_GAIN:
        return [
            f"{begin} to the truth than cross-validation (by {over_cv[0]:.4f} on their mean) and than the mean of all "
            f"that it had seen (by {over_plain[0]:.4f}): there is no forecast"
        ]
    if way != "counts" and rests_on_one_group(best.groups):
        return [
            f"without one of the {len(best.groups)} groups of images the map of the kind '{best.kind}' is no nearer to "
            "the scores of single units than their mean, and shifts of the same few images are no new evidence: there "
            "is no forecast"
        ]
    return []


def doubts(lefts: Sequence[Left]) -> list[str]:
    """What the forecast cannot know, of what was left out to judge it: sentences."""
    kinds = {left.kind for left in lefts}
    said = []
    if "source" not in kinds:
        said.append(
            "training has no two sources with three scored images each, so it could not be tried on a source that it "
            "had not seen"
        )
    if "shift" not in kinds:
        said.append(
            "no shifted copies were predicted (tune.copies), so the forecast does not know scores below those "
            "out of fold"
        )
    return said


def neighbourhood(known: Known) -> Neighbourhood | None:
    """Where the images as they are (MOST_NEAR of them at most) lie among features; None of fewer than LEAST_UNITS."""
    own = known.at(known.own)
    if len(own.units) < LEAST_UNITS:
        return None
    features = [name for name in map(str, own.units) if name in FEATURES]
    values = columns(own.units, features)
    names, mean, scale = deviations(features, values, np.ones(len(values)))
    z = in_deviations(columns(own.units, names), mean, scale)
    z = z[spread(range(len(z)), MOST_NEAR)]
    reach = float(np.quantile(neighbour_distance(z, z, itself=True), NEARLY_ALL))
    return Neighbourhood(
        features=names, mean=mean.tolist(), scale=scale.tolist(), rows=np.round(z, 5).tolist(), reach=reach
    )
