"""The time budget: what is given up, in which order, and how it is said."""

from __future__ import annotations

import pytest

from inference.predict.time_budget import TimeKeeper, forecast_seconds, format_seconds, parse_budget, reduce_plan

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
    assert plan.said[1] == "models reduced from 5 to 2, the first ones in order"


def test_what_cannot_fit_is_said() -> None:
    plan = reduce_plan(VIEWS, 1, forecast=4000, left=60)
    assert not plan.fits
    assert plan.said[-1] == "even so 16m40s are needed and only 1m00s are left"
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


def test_a_time_keeper_says_its_forecast_once_and_gives_up_what_it_must() -> None:
    now = [0.0]
    keeper = TimeKeeper(100, VIEWS, 2, clock=lambda: now[0])
    keeper.expect(20 * 10, 20)
    said = []
    for _ in range(3):
        now[0] += 8
        said += keeper.measured(10, 8.0)
    assert said == [
        "time budget: 2m16s more are needed, 1m16s are left",
        "views reduced from 4 to 2: identity, hflip",
    ]
    assert (keeper.views(4), keeper.views(1), keeper.members(2)) == (2, 1, 2)
    for _ in range(3):  # no faster than before: more goes, and it does not suffice
        now[0] += 20
        said += keeper.measured(10, 20.0)
    assert said[2:] == [
        "views reduced from 2 to 1: identity",
        "models reduced from 2 to 1, the first ones in order",
        "even so 1m10s are needed and only 16.0s are left",
    ]
    assert keeper.said == said[1:]
    for _ in range(4):
        now[0] += 20
        assert keeper.measured(10, 20.0) == []  # said once


def test_a_time_keeper_with_time_enough_gives_up_nothing_and_devices_share() -> None:
    keeper = TimeKeeper(100, VIEWS, 2, clock=lambda: 0.0)
    keeper.expect(100, 10, 2)
    assert [keeper.measured(10, 20.0) for _ in range(4)] == [
        [], [], ["time budget: 1m10s more are needed, 1m40s are left"], [],
    ]  # fmt: skip
    assert keeper.views(4) == 4 and keeper.said == []


def test_of_few_images_the_first_one_is_forecast_from() -> None:
    now = [0.0]
    keeper = TimeKeeper(20, VIEWS, 1, clock=lambda: now[0])
    keeper.expect(3 * 10, 3)
    now[0] += 12
    assert keeper.measured(10, 12.0)[1:] == ["views reduced from 4 to 1: identity"]
    assert not keeper.over
    now[0] += 8
    assert keeper.over
    assert keeper.note("too late") == ["too late"] and keeper.note("too late") == []
    assert keeper.said == ["views reduced from 4 to 1: identity", "too late"]
