"""The section `tune` of an experiment: what stage 06 compares, and on what footing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from inference.decide.decision import POST_STEPS
from inference.decide.instances import InstanceSettings
from inference.predict.shifts import parse_shift
from submissions.host.settings import Settings

COUNT_RULES = ("global", "per_class", "per_group", "quantile", "gated", "fold_mean", "fold_median")
GRID_RULES = ("grid", "border", "centre", "hysteresis")
EXCLUSIVE_RULES = ("argmax", "argmax_reject", "prior", "priority")
IMAGE_RULES = ("gated_present", "gated_classifier")
GATES = ("gated", *IMAGE_RULES)
MOST_CANDIDATES = 12
COPIES = (
    "blur:1", "scale:0.5", "noise:0.05", "contrast:0.6", "brightness:0.2", "gamma:2", "stain:0.3", "jpeg:20",
    "scale:1.6", "blur:2.5", "polarity:1", "noise:0.15", "brightness:-0.2", "contrast:0.3", "gamma:0.5", "stain:-0.3",
    "scale:0.7", "blur:1.5+contrast:0.5", "scale:0.6+noise:0.08", "contrast:1.8", "gamma:1.6+blur:1", "jpeg:8",
    "brightness:-0.15+noise:0.05", "scale:2", "polarity:1+contrast:0.6",
)  # fmt: skip


class TuneSettings(Settings):
    """How the decision is learned from out-of-fold predictions."""

    metric: str | None = Field(None, description="metric to tune for; default: the contract's")
    metric_params: dict[str, Any] = Field(default_factory=dict, description="parameters of that metric")
    rule: str | None = Field(None, description="use this rule, whatever the nested estimates say")
    rules: list[str] | None = Field(None, description="rules to compare; default: all that suit the contract")
    thresholds: list[float] = Field(
        default_factory=lambda: [0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        min_length=1,
        description="thresholds to try where each candidate has to be scored on pixels [probabilities]",
    )
    tops: list[float] = Field(
        default_factory=lambda: [0.7, 0.9],
        min_length=1,
        description="hysteresis: upper thresholds to try [probabilities]",
    )
    areas: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: [1, 30, 100, 300, 1000],
        min_length=1,
        description="areas to try for the image-level gate, hysteresis (only the first), holes and min_area [pixels]",
    )
    rejects: list[float] = Field(
        default_factory=lambda: [0.4, 0.5, 0.6],
        min_length=1,
        description="argmax_reject: reject a pixel whose highest probability is below this; values to try "
        "[probabilities]",
    )
    unknown: str | None = Field(
        None,
        description="argmax_reject: class that rejected pixels get; default: background, else none",
    )
    depths: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        default_factory=lambda: [0.1, 0.25],
        min_length=1,
        description="instances: how deep the valley between two touching objects must be; values to try [shares "
        "of the lower peak]",
    )
    instances: InstanceSettings | None = Field(
        None, description="how a mask is split into instances; default: by distance, where the contract needs instances"
    )
    post: list[str] = Field(
        default_factory=list, description="names of post-processing steps to try; a step stays only if it shows a gain"
    )
    min_groups: int = Field(
        15, ge=2, description="with fewer groups than this a comparison is called not reliable [groups]"
    )
    confidence: float = Field(
        0.8,
        gt=0.5,
        lt=1,
        description="one-sided confidence that a gain must reach before something is added [probability]",
    )
    gate: str | None = Field(
        None, description="a classifier experiment on the same folds; its image-level probabilities gate the masks"
    )
    sample: int = Field(
        0,
        ge=0,
        le=200,
        description="images that stage 05 also predicts view by view and under shifts; 0: none [images]",
    )
    shifts: list[str] = Field(
        default_factory=lambda: ["stain:0.1", "brightness:0.2", "blur:1.5", "scale:0.5", "scale:2", "jpeg:40"],
        description="shifts (e.g. blur:1.5) under which the sample is predicted; inference/predict/shifts.py "
        "lists them",
    )
    copies: int = Field(
        150, ge=0, le=1000, description="shifted copies of training images that stage 05 predicts, from which "
                                        "the forecast learns what low scores look like; 0: none [images]"
    )  # fmt: skip
    level: float = Field(0.95, gt=0.5, lt=1, description="confidence of the intervals [probability]")
    rounds: int = Field(1000, ge=100, description="number of bootstrap rounds [rounds]")
    seed: int = Field(0, ge=0, description="seed of the bootstrap [whole number]")

    @field_validator("rules", "rule")
    @classmethod
    def _rules_exist(cls, value: list[str] | str | None) -> list[str] | str | None:
        known = (*COUNT_RULES, *GRID_RULES, *EXCLUSIVE_RULES, *IMAGE_RULES)
        wrong = [name for name in ([value] if isinstance(value, str) else value or []) if name not in known]
        if wrong:
            raise ValueError(f"unknown rule {wrong}, expected names among {', '.join(known)}")
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
            raise ValueError(f"unknown post-processing {wrong}, expected names among {', '.join(POST_STEPS)}")
        return value

    @field_validator("thresholds", "tops", "rejects")
    @classmethod
    def _are_probabilities(cls, value: list[float]) -> list[float]:
        if any(not 0 < number < 1 for number in value):
            raise ValueError(f"found {value}, expected probabilities between 0 and 1")
        return sorted(set(value))

    @model_validator(mode="after")
    def _is_read(self) -> TuneSettings:
        if self.metric_params and self.metric is None:
            raise ValueError(
                f"tune.metric_params is {self.metric_params}, but tune.metric is not given; name the metric that they "
                "are parameters of (those of the contract's are metric.params of the contract)"
            )
        if "hysteresis" in (self.rule, *(self.rules or ())) and max(self.tops) <= min(self.thresholds):
            raise ValueError(
                f"tune.tops is {self.tops}, tune.thresholds is {self.thresholds}: the rule hysteresis needs a top "
                "that is above a threshold"
            )
        return self
