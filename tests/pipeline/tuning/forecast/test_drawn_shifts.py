"""Sets whose truth is known: it falls as the score falls, is CV where nothing differs, or no number."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from drawn_forecast import drawn_units, with_copies
from drawn_pictures import pictured, pictures_to_learn_from

from inference.forecast.features import SUMS
from inference.forecast.forecast import Episode, Forecast, apply_forecast, unit_table
from inference.forecast.verdict import forecast_lines
from pipeline.tuning.forecast.judging import gain_over, lower_bound, rests_on_one_group
from pipeline.tuning.forecast.known_units import forecast_report
from pipeline.tuning.forecast.learning import learn_forecast
from pipeline.tuning.forecast.lessons import Known
from submissions.metrics import build_metric

DICE = build_metric("dice")


def learned(known: Known, classes: tuple[str, ...] = ("disc",)) -> Forecast:
    return learn_forecast(known, DICE, classes, fingerprint="drawn", cv=DICE.score(known.rows[known.own]))


@pytest.fixture(scope="module")
def forecast() -> Forecast:
    return learned(pictures_to_learn_from(DICE))


@pytest.mark.parametrize(
    "shifts",
    [
        ("blur:1.5", "blur:2", "blur:3"), ("brightness:-0.15", "brightness:-0.2", "brightness:-0.3"),
        ("scale:2", "scale:3"),
    ],
)  # fmt: skip
def test_it_falls_as_blurred_darkened_and_rescaled_copies_fall(forecast: Forecast, shifts: tuple[str, ...]) -> None:
    said, truths = [forecast.cv or 0.0], [forecast.cv or 0.0]
    for shift in shifts:
        test = pictured(DICE, 24, shift=shift, seed=7)
        found, truth = apply_forecast(forecast, test.units), DICE.score(test.rows)
        assert found.low <= truth <= found.high and abs(found.estimate - truth) < 0.05, shift
        said.append(found.estimate)
        truths.append(truth)
    assert said == sorted(said, reverse=True) and truths == sorted(truths, reverse=True)
    assert not found.agrees


def test_of_the_same_distribution_it_is_cv(forecast: Forecast) -> None:
    found = apply_forecast(forecast, pictured(DICE, 24, seed=7).units)
    assert found.agrees and abs(found.estimate - found.cv) < 0.05 and found.strange < 0.1


def test_one_test_image_has_a_forecast_and_a_wide_interval(forecast: Forecast) -> None:
    one = pictured(DICE, 1, shift="blur:3", seed=7)
    found, many = apply_forecast(forecast, one.units), apply_forecast(forecast, pictured(DICE, 40, seed=7).units)
    assert found.low <= DICE.score(one.rows) <= found.high and found.estimate == found.units["forecast"].iloc[0]
    assert found.high - found.low > 0 and len(many.units) == 40


def same_features(known: Known) -> Known:
    """Units whose predictions are all alike, whatever their scores are."""
    units = known.units.copy()
    names = [name for name in units if name != "unit"]
    units[names] = units[names].iloc[0].to_numpy()
    return Known(units, known.rows, known.meta)


def test_constant_predictions_tell_nothing() -> None:
    made = learned(same_features(with_copies(DICE, drawn_units(DICE, 24, 0.1, sources=("a", "b")))))
    assert not made.maps and made.episodes and "not clearly nearer" in made.doubts[0]
    report = "\n".join(forecast_report(made))
    assert "there is no forecast" in report and "CV of the others" in report
    lines = forecast_lines(apply_forecast(made, drawn_units(DICE, 5, 0.5).units), {})
    assert "no forecast of these test images" in lines[-1]


def empty_units(known: Known, *, truth: bool) -> Known:
    """Units where nothing is predicted, and a disc or nothing was there."""
    sums = {f"{name}.disc": 2120.0 if name in ("pixels", "confidence") else 0.0 for name in SUMS}
    one = unit_table(pd.DataFrame([{"image_id": "x", **sums}]), ["disc"])
    units = pd.concat([one] * len(known.units), ignore_index=True).assign(unit=known.units["unit"])
    row = DICE.rows(np.zeros((1, 4, 5), bool), np.full((1, 4, 5), truth))
    return Known(units, pd.DataFrame([row] * len(units)), known.meta)


@pytest.mark.parametrize("truth", [False, True])
def test_where_all_is_empty_there_is_nothing_to_learn(truth: bool) -> None:
    known = empty_units(with_copies(DICE, drawn_units(DICE, 24, 0.1)), truth=truth)
    made = learned(known)
    assert not made.maps and made.cv == float(not truth) and "not clearly nearer" in made.doubts[0]
    assert math.isnan(apply_forecast(made, known.units).estimate)


def test_scores_that_go_with_nothing_give_no_number() -> None:
    known = with_copies(DICE, drawn_units(DICE, 24, 0.1))
    order = np.random.default_rng(5).permutation(len(known.rows))
    made = learned(Known(known.units, known.rows.iloc[order].reset_index(drop=True), known.meta))
    assert not made.maps and "not clearly nearer" in made.doubts[0]


def test_without_a_source_or_shift_left_out_there_is_no_number() -> None:
    made = learned(drawn_units(DICE, 24, 0.1))
    assert not made.maps and made.doubts[0].startswith("neither a source nor a kind of shift could be left out")
    assert [one.kind for one in made.episodes] == ["within"]


def episode(said: float, truth: float, cv: float | None = 0.9, kind: str = "shift") -> Episode:
    return Episode.model_validate({"name": "x", "kind": kind, "units": 4, "truth": truth, "said": said, "cv": cv})


def test_the_gain_over_cv_is_that_of_what_was_left_out() -> None:
    clear = [episode(0.5 + 0.01 * k, 0.5) for k in range(5)]
    gain, bound = gain_over([*clear, episode(0.0, 0.9, kind="within"), episode(0.0, 0.9, cv=None)], "cv")
    assert gain == pytest.approx(0.4 - 0.02)
    deviation = np.std([0.4, 0.39, 0.38, 0.37, 0.36], ddof=1) / math.sqrt(5)
    assert bound == pytest.approx(gain - 0.9410 * deviation, abs=1e-5)  # t of 4 degrees of freedom at 0.8
    assert gain_over([episode(0.5, 0.5)], "cv") == (pytest.approx(0.4), -math.inf)
    assert math.isnan(gain_over([], "plain")[0])


def test_one_image_seen_under_many_shifts_is_not_many() -> None:
    """Only one group's copies score at all, under every shift: no map may rest on it."""
    known = with_copies(DICE, drawn_units(DICE, 12, 0.1))
    alone = (known.meta["group"] == "g2").to_numpy()
    none, full = (DICE.rows(np.ones((1, 4, 5), bool), np.full((1, 4, 5), right)) for right in (False, True))
    rows = pd.DataFrame([full if one else none for one in alone])
    shown = known.units["soft_dice"].where(~alone, 0.95)
    made = learned(Known(known.units.assign(soft_dice=shown), rows, known.meta))
    assert not made.maps and "there is no forecast" in made.doubts[0]
    assert rests_on_one_group(np.array([0.3, -0.01, 0.005])) and not rests_on_one_group(np.array([0.3, -0.01, 0.05]))
    assert rests_on_one_group(np.array([0.3])) and lower_bound(np.array([0.3, 0.31, 0.32])) > 0
    assert lower_bound(np.array([0.3])) == -math.inf


def test_a_class_that_no_test_image_shows() -> None:
    """Two classes, the second absent from the test images: their forecasts are finite and rest on the first."""
    known = with_copies(DICE, drawn_units(DICE, 24, 0.1))
    second = known.units.rename(columns=lambda name: name.replace(".disc", ".rare"))
    sums = pd.concat([known.units, second[[name for name in second if name.endswith(".rare")]]], axis=1)
    images = sums.assign(image_id=[f"{k}" for k in range(len(sums))])
    both = unit_table(images, ["disc", "rare"]).assign(unit=known.units["unit"])
    made = learned(Known(both, known.rows, known.meta), ("disc", "rare"))
    test = drawn_units(DICE, 12, 0.4, seed=9)
    absent = {f"{name}.rare": 2120.0 if name in ("pixels", "confidence") else 0.0 for name in SUMS}
    units = unit_table(test.units.assign(image_id=test.units["unit"], **absent), ["disc", "rare"])
    found = apply_forecast(made, units)
    assert made.maps and np.isfinite([found.low, found.estimate, found.high]).all()
    assert (units["classes"] == 1).all() and abs(found.estimate - DICE.score(test.rows)) < 0.15
