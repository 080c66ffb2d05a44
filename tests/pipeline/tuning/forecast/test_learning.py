"""The forecast learned from drawn units: it falls as the score falls, and says how little it knows."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_forecast import drawn_units, with_copies

from inference.forecast.forecast import Forecast, SetForecast, apply_forecast, load_forecast, save_forecast, unit_table
from inference.forecast.maps import apply_map
from inference.forecast.verdict import disagreement, forecast_lines, verdict
from pipeline.tuning.forecast import learning
from pipeline.tuning.forecast.fitting import KINDS, fit_map
from pipeline.tuning.forecast.known_units import forecast_report, joined, source_report
from pipeline.tuning.forecast.learning import learn_forecast
from pipeline.tuning.forecast.lessons import Known, left_out, span_of, way_of
from submissions.metrics import Metric, build_metric

DICE = build_metric("dice")


def learn(metric: Metric = DICE, known: Known | None = None, **facts: object) -> tuple[Forecast, Known]:
    own = drawn_units(metric, 24, 0.1, sources=("a", "b"))
    known = with_copies(metric, own) if known is None else known
    cv = metric.score(own.rows)
    return learn_forecast(known, metric, ["disc"], fingerprint="drawn", cv=cv, **facts), own  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def forecast() -> Forecast:
    return learn()[0]


def test_it_falls_as_the_score_falls(forecast: Forecast) -> None:
    for harm in (0.1, 0.35, 0.55):
        test = drawn_units(DICE, 30, harm, seed=9)
        found, truth = apply_forecast(forecast, test.units), DICE.score(test.rows)
        assert found.low <= truth <= found.high, harm
        assert abs(found.estimate - truth) < 0.06
    far = apply_forecast(forecast, drawn_units(DICE, 30, 0.6, seed=9).units)
    assert not far.agrees and far.high < found.cv and "below the CV" in verdict(far)


def test_of_such_images_it_agrees_with_cv(forecast: Forecast) -> None:
    found = apply_forecast(forecast, drawn_units(DICE, 30, 0.1, seed=5).units)
    assert found.agrees and found.strange < 0.15
    assert "trust CV" in verdict(found)
    assert "count on neither" in verdict(found, shaky=True)
    said = forecast_lines(found, {"prediction_interval": [found.cv - 0.3, found.cv - 0.1]})
    assert any("lies outside the prediction interval" in line for line in said) and "trust CV" not in " ".join(said)
    assert not disagreement(0.5, [0.4, 0.6]) and not disagreement(0.5, None) and not disagreement(0.5, [None, None])


def test_where_many_images_are_strange_cv_is_not_to_be_counted_on() -> None:
    units = pd.DataFrame({"unit": ["a", "b"], "forecast": [0.1, 0.6], "strange": [True, False]})
    said = verdict(SetForecast(0.35, 0.1, 0.7, cv=0.6, units=units, strange=0.5, doubts=[]))
    assert (
        "1 of 2 test images are unlike" in said
        and "expect 0.3500" in said
        and "do not count on the CV of 0.6000" in said
    )


def test_of_very_many_units_some_say_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "MOST_NEAR", 10)
    near = learn()[0].near
    assert near is not None and len(near.rows) == 10
    found = apply_forecast(learn()[0], drawn_units(DICE, 30, 0.1, seed=5).units)
    assert found.strange < 0.3


def test_it_knows_which_images_are_worst(forecast: Forecast) -> None:
    mixed = joined([drawn_units(DICE, 12, harm, seed=4) for harm in (0.05, 0.4, 0.7)])
    units = mixed.units.assign(unit=[f"u{n:02d}" for n in range(36)])
    found = apply_forecast(forecast, units)
    truth = dict(zip(units["unit"], mixed.rows["score"], strict=True))
    ordered = pd.Series([truth[name] for name in found.units["unit"]])
    assert found.units["forecast"].is_monotonic_increasing
    assert ordered.corr(pd.Series(range(36)), method="spearman") > 0.8


def test_without_copies_low_scores_are_unknown(forecast: Forecast) -> None:
    """Two sources that score alike cannot show how a bad prediction looks, so nothing is said of such images."""
    own_only, _ = learn(known=drawn_units(DICE, 24, 0.1, sources=("a", "b")))
    bad = drawn_units(DICE, 30, 0.6, seed=9)
    assert not own_only.maps and math.isnan(apply_forecast(own_only, bad.units).estimate)
    assert abs(apply_forecast(forecast, bad.units).estimate - DICE.score(bad.rows)) < 0.06


def test_the_order_of_the_rows_is_the_same(forecast: Forecast) -> None:
    own = drawn_units(DICE, 24, 0.1, sources=("a", "b"))
    known = with_copies(DICE, own)
    order = np.random.default_rng(1).permutation(len(known.meta))
    mixed = Known(*(one.iloc[order].reset_index(drop=True) for one in (known.units, known.rows, known.meta)))
    assert learn(known=mixed)[0].model_dump_json() == forecast.model_dump_json()


def test_counts_summed_over_a_data_set() -> None:
    metric = build_metric("iou", over="dataset")
    made, _ = learn(metric)
    assert made.way == "counts" and set(made.maps) == {"score", "precision", "total"}
    for harm in (0.1, 0.5):
        test = drawn_units(metric, 30, harm, seed=9)
        found = apply_forecast(made, test.units)
        assert abs(found.estimate - metric.score(test.rows)) < 0.08


def test_empty_predictions_of_counted_metrics_are_finite() -> None:
    metric = build_metric("iou", over="dataset")
    made, _ = learn(metric)
    test = drawn_units(metric, 6, 0.1, seed=2)
    sums = [name for name in map(str, test.units) if name.endswith(".disc") and name != "pixels.disc"]
    blank = pd.DataFrame({"image_id": test.units["unit"], **dict.fromkeys(sums, 0.0), "pixels.disc": 2120.0})
    found = apply_forecast(made, unit_table(blank.assign(**{"confidence.disc": 2120.0}), ["disc"]))
    assert found.units["forecast"].between(0, 1).all() and found.strange == 1


@pytest.mark.parametrize(
    ("name", "params", "way"),
    [
        ("dice", {}, "mean"), ("dice", {"over": "dataset"}, "counts"), ("dsb2018_precision", {}, "mean"),
        ("openimages_ap", {}, "matched"), ("panoptic_quality", {}, "matched"),
        ("panoptic_quality", {"over": "images"}, "mean"), ("dice_hausdorff", {}, "matched"),
    ],
)  # fmt: skip
def test_how_units_make_one_number(name: str, params: dict[str, str], way: str) -> None:
    assert way_of(build_metric(name, **params)) == way


def test_matched_rows_stand_for_unknown_ones() -> None:
    quality = build_metric("panoptic_quality")

    def as_instances(known: Known) -> Known:
        rows = pd.DataFrame({"iou_sum": known.rows["score"], "tp": 1.0, "fp": 0.0, "fn": 0.0})
        return Known(known.units, rows.assign(score=known.rows["score"]), known.meta)

    own = drawn_units(DICE, 24, 0.1, sources=("a", "b"))
    known = as_instances(with_copies(DICE, own))
    made = learn_forecast(known, quality, ["disc"], fingerprint="drawn", cv=0.9)
    assert made.way == "matched" and len(made.known) == len(known.rows)
    for harm in (0.1, 0.5):
        test = as_instances(drawn_units(DICE, 30, harm, seed=9))
        found = apply_forecast(made, test.units)
        assert abs(found.estimate - quality.score(test.rows)) < 0.08


@pytest.mark.parametrize("number", [1, 6])
def test_too_few_units_give_no_number(number: int) -> None:
    made, _ = learn(known=drawn_units(DICE, number, 0.1))
    assert not made.maps and "too few" in made.doubts[0]
    found = apply_forecast(made, drawn_units(DICE, 3, 0.1).units)
    assert math.isnan(found.estimate) and not found.agrees
    assert "no forecast of these test images" in forecast_lines(found, {})[-1]
    assert "too few" in "\n".join(forecast_report(made))


def test_a_source_with_one_image_is_never_left_out() -> None:
    own = drawn_units(DICE, 24, 0.1, sources=("a", "b"))
    meta = own.meta.assign(source=["alone", *own.meta["source"][1:]])
    names = [left.name for left in left_out(Known(own.units, own.rows, meta))]
    assert names == ["these images", "a", "b"]


def test_scores_beyond_one_have_their_own_range() -> None:
    own = drawn_units(DICE, 24, 0.1)
    far = Known(own.units, own.rows.assign(score=-10 * (1 - own.rows["score"])), own.meta)
    low, high = span_of(far)
    assert low == far.rows["score"].min() and high == far.rows["score"].max()
    assert span_of(own) == (0.0, 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_map_learns_what_is_plain(kind: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"soft_dice": rng.random(60), "doc": rng.random(60), "flat": np.ones(60)})
    target = table["doc" if kind == "doc" else "soft_dice"].to_numpy()
    made = fit_map(kind, table, target, np.ones(60), soft="soft_dice")
    assert np.abs(apply_map(made, table) - target).mean() < 0.12
    with pytest.raises(ValueError, match="unknown kind of map"):
        fit_map("oracle", table, target, np.ones(60), soft="soft_dice")


def test_a_forecast_comes_back_as_it_was(tmp_path: Path, forecast: Forecast) -> None:
    path = tmp_path / "forecast.json"
    save_forecast(path, forecast)
    read = load_forecast(path, fingerprint="drawn")
    test = drawn_units(DICE, 5, 0.3)
    assert apply_forecast(read, test.units).units.equals(apply_forecast(forecast, test.units).units)
    with pytest.raises(ValueError, match="learned from the predictions 'drawn'"):
        load_forecast(path, fingerprint="other")
    path.write_text('{"format": 0}')
    with pytest.raises(ValueError, match="format 0, expected 2"):
        load_forecast(path)
    with pytest.raises(FileNotFoundError, match="run stage 06_tune first"):
        load_forecast(tmp_path / "none.json")


def test_stage_06_reports_the_score_of_each_source() -> None:
    own = drawn_units(DICE, 4, 0.1)
    table = pd.concat([own.meta[["unit"]].set_axis(["image_id"], axis=1), own.rows], axis=1)
    sums = pd.DataFrame({"unit": table["image_id"], "image_id": table["image_id"]})
    result: Any = SimpleNamespace(table=table, sums=sums, metric=DICE)
    names = list(table["image_id"])
    lines = source_report(result, dict(zip(names, ["a", "b", "b"], strict=False)))
    assert (
        f"| a | 1 | {DICE.score(own.rows[:1]):.4f} |" in lines
        and f"| b | 2 | {DICE.score(own.rows[1:3]):.4f} |" in lines
    )
    mean = (DICE.score(own.rows[:1]) + DICE.score(own.rows[1:3])) / 2
    assert f"Mean of sources {mean:.4f}" in lines[-2]
    assert source_report(result, dict.fromkeys(names, "a")) == source_report(result, {}) == []
