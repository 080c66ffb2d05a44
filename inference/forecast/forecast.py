"""The forecast: what the host's metric will be on predicted images whose truth nobody knows, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from inference.decide.decision import Decision, Mask
from inference.decide.learned import Learned, load_learned
from inference.forecast.features import LARGEST_OF, SUMS, as_row, class_features, class_sums, unit_features
from inference.forecast.maps import (
    BLOCK,
    AnyMap,
    Map,
    Table,
    apply_map,
    by_blocks,
    columns,
    in_deviations,
    squared_distances,
)
from submissions.host.atomic import write_atomic
from submissions.host.settings import Measured
from submissions.metrics import Metric, build_metric

FORECAST = "forecast.json"  # beside the decision, where stage 06 learned one
NEIGHBOURS = 3  # nearest known units that a unit's distance is taken to
NEAR_SAID, FAR_WEIGHT = 0.15, 0.05  # episodes count by how near to the estimate was what was said of them
NORMAL_90 = 1.645
KERNEL = 0.05  # of said scores, where known rows stand for unknown ones
LARGEST_FACTOR = 20.0  # true pixels may be so many times the expected ones
Way = Literal["mean", "counts", "matched"]


class Episode(Measured):
    """Known images that the map had not seen when it was asked: what it said of all of them, and what was true."""

    name: str = Field(description="the source left out, or the shift whose kind was")
    kind: Literal["within", "source", "shift"]
    units: int
    truth: float
    said: float
    cv: float | None = Field(None, description="score of the images as they are that the map had seen")
    plain: float | None = Field(None, description="score of all that the map had seen, copies too, weighed as it does")


class Neighbourhood(Measured):
    """Where the out-of-fold units lie among features: how far a unit is from them."""

    features: list[str]
    mean: list[float]
    scale: list[float]
    rows: list[list[float]]
    reach: float = Field(description="distance to the nearest known ones that one in fifty known units exceeds")


class Forecast(Learned):
    """What was learned about scores from out-of-fold predictions and shifted copies of their images.

    way: how units make one number: mean of their scores; counts, of which the metric is made after they are summed;
    matched, where rows of known units stand for those of unknown ones.
    """

    metric: str
    metric_params: dict[str, Any] = Field(default_factory=dict)
    way: Way
    classes: list[str] = Field(min_length=1, description="the classes that the metric counts")
    chosen: str = Field("", description="kind of map with the least error on what was left out; '' without any")
    errors: dict[str, float | None] = Field(default_factory=dict, description="mean error of every kind of map there")
    maps: dict[str, Map] = Field(default_factory=dict, description="score of a unit; where counted precision, total")
    cv: float | None = None
    interval: tuple[float | None, float | None] = Field((None, None), description="of cross-validation")
    episodes: list[Episode] = Field(default_factory=list)
    span: tuple[float, float] = Field((0.0, 1.0), description="scores that the maps' 0 and 1 stand for")
    noise: float = Field(0.0, ge=0, description="standard deviation of a unit's score about what is said of it")
    known_units: int = Field(1, ge=1, description="out-of-fold units, whose luck is in cross-validation")
    unit_error: float = Field(1.0, ge=0, description="nine in ten units left out are no farther from what was said")
    level: float = 0.9
    known: list[dict[str, float | None]] = Field(default_factory=list, description="matched: rows, and what is said")
    near: Neighbourhood | None = None
    doubts: list[str] = Field(default_factory=list, description="why it knows little")
    models: int = Field(1, description="models that the predictions it learned from are a mean of")


@dataclass(frozen=True)
class SetForecast:
    """What is expected of a set of images: the metric with an interval, a row a unit, and what to say about it.

    estimate, low, high are NaN where the forecast knows too little. units: `unit`, `forecast`, `low`, `high`,
    `strange` (its features lie beyond those of nearly all known units), worst first. strange: share of such units.
    """

    estimate: float
    low: float
    high: float
    cv: float
    units: pd.DataFrame
    strange: float
    doubts: list[str]

    @property
    def agrees(self) -> bool:
        """Whether cross-validation lies in the interval."""
        return bool(self.low <= self.cv <= self.high)


def image_sums(probs: np.ndarray, mask: Mask, decision: Decision) -> dict[str, float]:
    """The sums of an image as columns `<sum>.<class>`, of all classes of the decision.

    probs: uint8 as `apply` takes them; mask: what it made of them.
    """
    sums = {
        name: class_sums(probs[decision.channels.index(name)], mask.planes[k])
        for k, name in enumerate(decision.classes)
    }
    return as_row(sums)


def unit_table(images: pd.DataFrame, classes: Sequence[str], units: Sequence[str] | None = None) -> pd.DataFrame:
    """A row a unit: `unit`, its features, and its sums of the `classes`, in the order in which units first appear.

    images: a row an image with the columns of `image_sums`; units: which unit (stack) each is of, `image_id` where
    not given. Raises ValueError that names columns which are missing.
    """
    names = [str(name) for name in (images["image_id"] if units is None else units)]
    wanted = [f"{key}.{of}" for of in classes for key in SUMS]
    values = pd.DataFrame(columns(images, wanted), columns=wanted)
    grouped = values.groupby(names, sort=False)
    joined = grouped.sum()
    largest = [f"{key}.{of}" for of in classes for key in LARGEST_OF]
    joined[largest] = grouped[largest].max()
    by_class = {of: {key: joined[f"{key}.{of}"].to_numpy() for key in SUMS} for of in classes}
    found = pd.DataFrame({"unit": joined.index.astype(str), **unit_features(by_class, classes)})
    return pd.concat([found, joined.reset_index(drop=True)], axis=1)


def class_table(units: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """A row a unit and class, unit after unit: the class's features, `is_<class>`, `half` (0.5) and `<sum>_sum`."""
    wanted = [f"{key}.{of}" for key in SUMS for of in classes]
    values = columns(units, wanted).reshape(len(units), len(SUMS), len(classes))
    sums = {key: values[:, k].ravel() for k, key in enumerate(SUMS)}
    shown = {f"is_{name}": np.tile(np.eye(len(classes))[k], len(units)) for k, name in enumerate(classes)}
    amounts = {f"{key}_sum": sums[key] for key in ("area", "total", "pixels")}
    return pd.DataFrame({**class_features(sums), **(shown if len(classes) > 1 else {}), "half": 0.5, **amounts})


def expected_counts(
    precision: np.ndarray, total: np.ndarray, table: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """The metric's rows tp_k, fp_k, fn_k, tn_k of units from what is said of each class of `class_table`.

    precision: share of the mask that is right; total: T / (T + S), T true pixels, S the sum of probabilities.
    """
    area, soft, pixels = (table[name].to_numpy(float) for name in ("area_sum", "total_sum", "pixels_sum"))
    held = np.clip(total, 0.0, LARGEST_FACTOR / (1 + LARGEST_FACTOR))
    true = np.minimum(soft * held / (1 - held), pixels)
    tp = np.minimum(precision * area, true)
    counts = np.stack([tp, area - tp, true - tp, np.maximum(pixels - area - true + tp, 0.0)])
    by_unit = counts.reshape(4, -1, len(classes))
    names = ("tp", "fp", "fn", "tn")
    return pd.DataFrame({f"{name}_{k}": by_unit[i, :, k] for i, name in enumerate(names) for k in range(len(classes))})


def said_of_units(maps: Mapping[str, AnyMap], units: Table, span: tuple[float, float]) -> np.ndarray:
    """float64 (N,): the score that is expected of each unit of a table (`unit_table`)."""
    return span[0] + (span[1] - span[0]) * apply_map(maps["score"], units)


def said_of_set(
    way: Way,
    maps: Mapping[str, AnyMap],
    metric: Metric,
    units: pd.DataFrame,
    *,
    classes: Sequence[str],
    span: tuple[float, float] = (0.0, 1.0),
    known: pd.DataFrame | None = None,
) -> float:
    """The metric that maps expect of a table of units (`unit_table`).

    known: for `matched`, rows of the metric with the column `said`.
    """
    if way == "counts":
        table = class_table(units, classes)
        precision, total = (apply_map(maps[name], table) for name in ("precision", "total"))
        return metric.score(expected_counts(precision, total, table, classes))
    said = said_of_units(maps, units, span)
    if way == "mean" or known is None or not len(known):
        return float(said.mean())
    return matched_score(metric, said, known, width=KERNEL * (span[1] - span[0]))


def matched_score(metric: Metric, said: np.ndarray, known: pd.DataFrame, *, width: float = KERNEL) -> float:
    """The metric over known rows, weighed so that what is said of them spreads as `said` (N,) does."""
    at, weights = known["said"].to_numpy(float), np.zeros(len(known))
    for start in range(0, len(said), BLOCK):
        distance = (said[start : start + BLOCK, None] - at[None]) / width
        near = np.exp(-0.5 * (distance**2 - (distance**2).min(axis=1, keepdims=True)))
        weights += (near / near.sum(axis=1, keepdims=True)).sum(axis=0)
    return metric.score(known.drop(columns="said"), weights)


def strange_units(near: Neighbourhood | None, units: pd.DataFrame) -> np.ndarray:
    """bool (N,): units farther from the known ones than nearly all of these are from each other."""
    if near is None:
        return np.zeros(len(units), bool)
    z = in_deviations(columns(units, near.features), near.mean, near.scale)
    return neighbour_distance(z, np.array(near.rows)) > near.reach


def neighbour_distance(z: np.ndarray, rows: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """float64 (N,): mean distance to the NEIGHBOURS nearest rows; `itself`: z are these rows, none its own."""
    first = 1 if itself else 0

    def mean_distance(part: np.ndarray) -> np.ndarray:
        squared, last = squared_distances(part, rows), first + NEIGHBOURS
        nearest = np.partition(squared, last - 1, axis=1) if last < squared.shape[1] else squared
        return np.asarray(np.sqrt(np.sort(nearest[:, :last], axis=1)[:, first:]).mean(axis=1))

    return by_blocks(mean_distance, z)


def half_width(forecast: Forecast, estimate: float, units: int) -> float:
    """Half the interval about an estimate for a set of so many units.

    What the map was off by in episodes, those counted most of which about the same was said: their LEVEL quantile, the
    set itself counted as one that is worse than all (weighted split conformal prediction; Tibshirani et al., 2019). And
    what luck with so many units makes of the noise of one, where that is more.
    """
    luck = NORMAL_90 * forecast.noise * math.sqrt(1 / max(units, 1) + 1 / forecast.known_units)
    if not forecast.episodes:
        return luck
    off = np.array([abs(one.said - one.truth) for one in forecast.episodes])
    width = NEAR_SAID * (forecast.span[1] - forecast.span[0])
    near = np.array([(one.said - estimate) / width for one in forecast.episodes])
    weights = np.exp(-0.5 * near**2) + FAR_WEIGHT
    order = np.argsort(off, kind="stable")
    reached = np.cumsum(weights[order]) / (weights.sum() + weights.mean())
    place = min(int(np.searchsorted(reached, forecast.level)), len(off) - 1)
    return max(float(off[order][place]), luck)


def apply_forecast(forecast: Forecast, units: pd.DataFrame) -> SetForecast:
    """What a forecast expects of units (`unit_table` of the test images); numbers are NaN where it knows too little."""
    cv, metric = math.nan if forecast.cv is None else forecast.cv, forecast_metric(forecast)
    strange = strange_units(forecast.near, units)
    table = pd.DataFrame({"unit": units["unit"], "strange": strange})
    if not forecast.maps or not len(units):
        return SetForecast(math.nan, math.nan, math.nan, cv, table, _share(strange), list(forecast.doubts))
    (least, largest), said = forecast.span, said_of_units(forecast.maps, units, forecast.span)
    table.insert(1, "forecast", said)
    table.insert(2, "low", np.maximum(said - forecast.unit_error, least))
    table.insert(3, "high", np.minimum(said + forecast.unit_error, largest))
    known = pd.DataFrame(forecast.known) if forecast.known else None
    estimate = said_of_set(
        forecast.way, forecast.maps, metric, units, classes=forecast.classes, span=forecast.span, known=known
    )
    half = half_width(forecast, estimate, len(units))
    ordered = table.sort_values(["forecast", "unit"], kind="stable").reset_index(drop=True)
    return SetForecast(
        estimate, max(estimate - half, least), min(estimate + half, largest), cv, ordered, _share(strange),
        list(forecast.doubts),
    )  # fmt: skip


def _share(strange: np.ndarray) -> float:
    return float(strange.mean()) if len(strange) else 0.0


def forecast_metric(forecast: Forecast) -> Metric:
    """The metric that a forecast is of."""
    return build_metric(forecast.metric, **forecast.metric_params)


def save_forecast(path: Path, forecast: Forecast) -> None:
    """Write the forecast as JSON, beside its name and then renamed; numbers keep six digits."""
    write_atomic(path, forecast.model_dump_json() + "\n")


def load_forecast(path: Path, *, fingerprint: str | None = None) -> Forecast:
    """Read a forecast; raises what `load_learned` raises."""
    return load_learned(Forecast, path, fingerprint=fingerprint)
