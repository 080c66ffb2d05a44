"""The section `search` of an experiment: what trials differ in, and how they are compared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.settings import Settings


class Range(Settings):
    """A range of numbers to search, evenly or (log) by equal factors; whole numbers where both ends are whole."""

    low: float | int = Field(description="smallest value tried [as the setting]")
    high: float | int = Field(description="largest value tried [as the setting]")
    log: bool = Field(False, description="spread values by equal factors instead of equal steps")

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low is {self.low}, high is {self.high}: expected low below high, and both above 0 with log"
            )
        return self


class SearchSettings(Settings):
    """What `segpipe tune` tries, and how it compares trials."""

    ranges: dict[str, Range | list[Any]] = Field(
        default_factory=dict, description="setting (spelled as in --set) -> list of values, or {low, high, log}"
    )
    folds: list[int] | None = Field(
        None,
        description="folds that trials are scored on; the best trial is then checked on the others; default: the "
        "first half [folds]",
    )
    objective: Literal["nested", "worst_source"] = Field(
        "nested", description="score to maximise: the nested score, or the nested score of the source with the lowest"
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median", description="Optuna's rule that stops trials whose validations lag behind"
    )
    seed: int = Field(0, description="seed of the search [whole number]")

    @field_validator("ranges")
    @classmethod
    def _can_differ(cls, value: dict[str, Range | list[Any]]) -> dict[str, Range | list[Any]]:
        fixed = ("name", "competition", "folds", "search", "seed", "limit")
        for key, values in value.items():
            if key.split(".")[0] in fixed:
                raise ValueError(f"{key} cannot be searched: all trials must use the same images and folds")
            if isinstance(values, list) and len(values) < 2:
                raise ValueError(f"{key} is {values}; expected two values or more")
        return value
