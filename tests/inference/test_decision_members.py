"""Which members, views and weights a decision leaves, and in which order members stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.decide.decision import Decision
from inference.decide.rules import ThresholdRule
from inference.decision_members import (
    Origin,
    checked_origins,
    interleaved_origins,
    member_shares,
    split_classifiers,
    weighted_members,
    with_kept_views,
)
from inference.weights import LoadedModel

ORIGINS = [Origin("a", 0), Origin("b", 0), Origin("a", 1)]


def decision(**more: object) -> Decision:
    base = Decision(fingerprint="", classes=["mask"], channels=["mask"], rule=ThresholdRule(thresholds=[128]))
    return base.model_copy(update=more)


def member(*views: str) -> LoadedModel:
    settings = PredictConfig(views=list(views) or ["identity"])
    return LoadedModel(nn.Identity(), ModelConfig(), InputConfig(), settings, Path())


def test_members_stand_fold_after_fold() -> None:
    assert interleaved_origins({"a": [1, 0], "b": [0]}) == ORIGINS
    assert interleaved_origins({"b": [2], "a": [0, 4]}) == [Origin("b", 2), Origin("a", 0), Origin("a", 4)]


def test_an_experiments_weight_is_shared_by_its_folds() -> None:
    assert member_shares(decision(), None, 3) is None
    assert member_shares(decision(weights={"a": 0.5, "b": 0.5}), ORIGINS, 3) == [0.25, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"weights \['a', 'c'\], but the members are \['a', 'b'\]"):
        member_shares(decision(weights={"a": 0.5, "c": 0.5}), ORIGINS, 3)


@pytest.mark.parametrize(("origins", "words"), [(None, "none origins"), (ORIGINS[:2], "2 origins for 3 members")])
def test_origins_are_one_a_member(origins: list[Origin] | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_origins(origins, 3)


def test_views_are_those_that_the_decision_keeps() -> None:
    given = member("d4")
    (kept,) = with_kept_views([given], decision(views=["vflip", "identity"]))
    assert kept.predict_config.views == ["identity", "vflip"]
    assert with_kept_views([given], decision())[0].predict_config == given.predict_config
    with pytest.raises(ValueError, match="run stage 06 for these views"):
        with_kept_views([given], decision(views=["scale:2"]))


def test_members_of_the_decisions_classifier_are_set_apart() -> None:
    members = [member(), member(), member()]
    origins = [Origin("a", 0), Origin("gate", 0), Origin("a", 1)]
    rest, left, classifiers = split_classifiers(members, origins, decision(classifier="gate"))
    assert (rest, left, classifiers) == ([members[0], members[2]], [origins[0], origins[2]], [members[1]])
    assert split_classifiers(members, None, decision()) == (members, None, [])
    with pytest.raises(ValueError, match="the classifier 'other'"):
        split_classifiers(members, origins, decision(classifier="other"))


def test_members_of_no_weight_are_left_out() -> None:
    members = [member("identity"), member("hflip"), member("vflip")]
    assert weighted_members(members, None, decision()) == (members, None)
    used, weights = weighted_members(members, ORIGINS, decision(weights={"a": 1.0, "b": 0.0}))
    assert [one.predict_config.views for one in used] == [["identity"], ["vflip"]]
    assert weights == [0.5, 0.5]
