"""Which members, views and weights a decision leaves, and in which order members stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_hosts import write_rle_host
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.decision import Decision
from inference.rules import ThresholdRule
from inference.submission import Origin, in_turn, make_submission, member_shares, named, used_members
from inference.weights import LoadedModel

ORIGINS = [Origin("a", 0), Origin("b", 0), Origin("a", 1)]


def decision(**more: object) -> Decision:
    base = Decision(fingerprint="", classes=["mask"], channels=["mask"], rule=ThresholdRule(thresholds=[128]))
    return base.model_copy(update=more)


def test_members_stand_fold_after_fold() -> None:
    assert in_turn({"a": [1, 0], "b": [0]}) == ORIGINS
    assert in_turn({"b": [2], "a": [0, 4]}) == [Origin("b", 2), Origin("a", 0), Origin("a", 4)]


def test_an_experiments_weight_is_shared_by_its_folds() -> None:
    assert member_shares(decision(), None, 3) is None
    assert member_shares(decision(weights={"a": 0.5, "b": 0.5}), ORIGINS, 3) == [0.25, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"weighs \['a', 'c'\], the members are of \['a', 'b'\]"):
        member_shares(decision(weights={"a": 0.5, "c": 0.5}), ORIGINS, 3)


@pytest.mark.parametrize(("origins", "words"), [(None, "none origins"), (ORIGINS[:2], "2 origins for 3 members")])
def test_origins_are_one_a_member(origins: list[Origin] | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        named(origins, 3)


def test_views_are_those_that_the_decision_keeps() -> None:
    settings = PredictConfig(views=["d4"])
    member = LoadedModel(nn.Identity(), ModelConfig(), InputConfig(), settings, Path())
    (kept,) = used_members([member], decision(views=["vflip", "identity"]))
    assert kept.predict_config.views == ["identity", "vflip"]
    assert used_members([member], decision())[0].predict_config == settings
    (other,) = used_members([member], decision(views=["identity"]), PredictConfig(mode="whole"))
    assert (other.predict_config.mode, other.predict_config.views) == ("whole", ["identity"])
    with pytest.raises(ValueError, match="none is left"):
        used_members([member], decision(views=["scale:2"]))


def test_a_vote_keeps_no_budget_which_is_said_before_any_model_is_asked(tmp_path: Path) -> None:
    contract = write_rle_host(tmp_path / "data")
    members = [LoadedModel(nn.Identity(), ModelConfig(), InputConfig(), PredictConfig(), Path()) for _ in range(2)]
    voted = decision(vote=True, classifier="gate")
    with pytest.raises(ValueError, match="a time budget cannot be kept where folds vote"):
        make_submission(
            contract, tmp_path / "data", members, voted, folder=tmp_path / "predicted", out=tmp_path / "s.csv",
            origins=[Origin("a", 0), Origin("gate", 0)], seconds=60,
        )  # fmt: skip
    assert not (tmp_path / "predicted").exists()
