"""The time budget: what is given up, in which order, and how it is said."""

from __future__ import annotations

import pytest

from inference.budget import forecast_seconds, format_seconds, parse_budget, reduce_plan

VIEWS = ["identity", "hflip", "vflip", "rot90"]


def test_the_forecast_grows_with_pixels_and_leaves_the_first_image_out() -> None:
    assert forecast_seconds([(100, 2.0)], 1000) == 20
    assert forecast_seconds([(100, 50.0), (100, 2.0), (300, 6.0)], 1000) == 20
    with pytest.raises(ValueError, match="no image was measured"):
        forecast_seconds([], 1000)


def test_nothing_is_given_up_where_all_fits() -> None:
    plan = reduce_plan(VIEWS, 5, forecast=100, left=100)
    assert (plan.views, plan.members, plan.seconds, plan.fits, plan.said) == (tuple(VIEWS), 5, 100, True, ())


def test_views_go_first_from_the_last() -> None:
    plan = reduce_plan(VIEWS, 5, forecast=100, left=60)
    assert (plan.views, plan.members, plan.seconds, plan.fits) == (("identity", "hflip"), 5, 50, True)
    assert plan.said == ("views reduced from 4 to 2: identity, hflip",)


def test_members_go_when_one_view_is_left() -> None:
    plan = reduce_plan(VIEWS, 5, forecast=100, left=12)
    assert (plan.views, plan.members, plan.seconds, plan.fits) == (("identity",), 2, 10, True)
    assert plan.said[1] == "models reduced from 5 to 2, the first in order"


def test_what_cannot_fit_is_said() -> None:
    plan = reduce_plan(VIEWS, 1, forecast=4000, left=60)
    assert not plan.fits
    assert plan.said[-1] == "even so 16m40s are needed and 1m00s are left"
    with pytest.raises(ValueError, match="expected at least one of each"):
        reduce_plan([], 1, forecast=1, left=1)


def test_budgets_are_read_and_spelled() -> None:
    assert [parse_budget(text) for text in ("8h", "90m", "1h30m", "45s", "0.5h")] == [
        28800,
        5400,
        5400,
        45,
        1800,
    ]
    assert [format_seconds(value) for value in (28800, 61, 4.24)] == ["8h00m", "1m01s", "4.2s"]
    for text in ("8", "", "h", "-1h", "1..5h", "0s", "soon"):
        with pytest.raises(ValueError, match="time budget is"):
            parse_budget(text)
