"""The section `tune` of an experiment: what stage 06 compares, and on what footing."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from inference.decide.decision import PostStep
from inference.decide.instances import InstanceSettings
from inference.predict.shifts import parse_shift
from submissions.host.settings import Settings

COUNT_RULES = ("global", "per_class", "per_group", "quantile", "gated", "fold_mean", "fold_median")
GRID_RULES = ("grid", "border", "centre", "hysteresis")
EXCLUSIVE_RULES = ("argmax", "argmax_reject", "prior", "priority")
IMAGE_RULES = ("gated_present", "gated_classifier")
GATES = ("gated", *IMAGE_RULES)
POST_STEPS = ("opening", "closing", "holes", "min_area", "largest")
MOST_CANDIDATES = 12
COPIES = (
    "blur:1", "scale:0.5", "noise:0.05", "contrast:0.6", "brightness:0.2", "gamma:2", "stain:0.3", "jpeg:20",
    "scale:1.6", "blur:2.5", "polarity:1", "noise:0.15", "brightness:-0.2", "contrast:0.3", "gamma:0.5", "stain:-0.3",
    "scale:0.7", "blur:1.5+contrast:0.5", "scale:0.6+noise:0.08", "contrast:1.8", "gamma:1.6+blur:1", "jpeg:8",
    "brightness:-0.15+noise:0.05", "scale:2", "polarity:1+contrast:0.6",
)  # fmt: skip


class TuneSettings(Settings):
    """How the decision is learned from out-of-fold predictions."""

    metric: str | None = Field(None, description="metric to tune for; the contract's where not given")
    metric_params: dict[str, Any] = Field(default_factory=dict, description="its parameters")
    rule: str | None = Field(None, description="decide by this rule, whatever the nested estimates say")
    rules: list[str] | None = Field(None, description="rules to compare; all that suit where not given")
    thresholds: list[float] = Field(
        default_factory=lambda: [0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        min_length=1,
        description="probabilities tried where every candidate is scored on pixels [probabilities]",
    )
    tops: list[float] = Field(
        default_factory=lambda: [0.7, 0.9],
        min_length=1,
        description="hysteresis: sure probabilities tried [probabilities]",
    )
    areas: list[int] = Field(
        default_factory=lambda: [1, 30, 100, 300, 1000],
        min_length=1,
        description="areas tried by gate, hysteresis (the first), holes and min_area [pixels]",
    )
    rejects: list[float] = Field(
        default_factory=lambda: [0.4, 0.5, 0.6],
        min_length=1,
        description="probabilities below which none is sure [probabilities]",
    )
    unknown: str | None = Field(
        None,
        description="exclusive classes: class of rejected pixels; background, else none",
    )
    depths: list[float] = Field(
        default_factory=lambda: [0.1, 0.25],
        min_length=1,
        description="instances: depths of the valley tried [shares of the lower peak]",
    )
    instances: InstanceSettings | None = Field(None, description="how a mask is split; by distance where needed")
    declared: list[PostStep] = Field(default_factory=list, description="post-processing that stays unless it does harm")
    post: list[str] = Field(default_factory=list, description="post-processing that must show a gain")
    min_groups: int = Field(15, ge=2, description="groups below which a comparison is called not reliable [groups]")
    confidence: float = Field(0.8, gt=0.5, lt=1, description="one-sided, for what is added [probability]")
    gate: str | None = Field(
        None, description="classifier experiment of the same folds that says which classes an image shows"
    )
    vote: bool = Field(False, description="the test masks are a vote of each fold's own; nothing measures it")
    correct_shift: bool = Field(False, description="move the thresholds by the measured ensemble shift")
    sample: int = Field(
        0,
        ge=0,
        le=200,
        description="images that stage 05 also predicts view by view and under shifts; 0: none [images]",
    )
    shifts: list[str] = Field(
        default_factory=lambda: ["stain:0.1", "brightness:0.2", "blur:1.5", "scale:0.5", "scale:2", "jpeg:40"],
        description="shifts that the sample is predicted under, as inference/predict/shifts.py spells them",
    )
    copies: int = Field(
        150, ge=0, le=1000, description="shifted copies of out-of-fold images that stage 05 predicts and the forecast "
        "learns low scores from; 0: none [images]"
    )  # fmt: skip
    second_seed: str | None = Field(
        None, description="experiment with other weights of the same folds: what a mean of models changes"
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="of intervals [probability]")
    rounds: int = Field(1000, ge=100, description="bootstrap rounds [rounds]")
    seed: int = Field(0, description="of the bootstrap [whole number]")

    @field_validator("rules", "rule")
    @classmethod
    def _rules_exist(cls, value: list[str] | str | None) -> list[str] | str | None:
        known = (*COUNT_RULES, *GRID_RULES, *EXCLUSIVE_RULES, *IMAGE_RULES)
        wrong = [name for name in ([value] if isinstance(value, str) else value or []) if name not in known]
        if wrong:
            raise ValueError(f"unknown rule {wrong}, expected some of {', '.join(known)}")
        return value

    @field_validator("shifts")
    @classmethod
    def _shifts_exist(cls, value: list[str]) -> list[str]:
        for text in value:
            parse_shift(text)
        return list(dict.fromkeys(value))

    @field_validator("post")
    @classmethod
    def _post_exists(cls, value: list[str]) -> list[str]:
        wrong = [name for name in value if name not in POST_STEPS]
        if wrong:
            raise ValueError(f"unknown post-processing {wrong}, expected some of {', '.join(POST_STEPS)}")
        return value

    @field_validator("thresholds", "tops", "rejects")
    @classmethod
    def _are_probabilities(cls, value: list[float]) -> list[float]:
        if any(not 0 < number < 1 for number in value):
            raise ValueError(f"found {value}, expected probabilities between 0 and 1")
        return sorted(set(value))
