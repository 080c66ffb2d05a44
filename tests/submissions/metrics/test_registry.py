"""Metrics by name."""

from __future__ import annotations

import pytest

from submissions.metrics.registry import METRICS, build_metric


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_built_by_its_name_and_says_where_it_comes_from(name: str) -> None:
    metric = build_metric(name)
    assert metric.name == name
    assert metric.needs in ("planes", "instances", "objects", "volume", "points")
    assert "mpty" in (type(metric).__doc__ or "")
    assert build_metric(name) == metric


def test_unknown_names_and_parameters_list_what_exists() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'dise', expected one of adapted_rand, assd, "):
        build_metric("dise")
    with pytest.raises(ValueError, match=r"unknown parameters \['beta'\] of the metric 'dice': it takes over, "):
        build_metric("dice", beta=2)
