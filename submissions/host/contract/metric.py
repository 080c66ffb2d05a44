"""The section `metric` of a contract: what is scored, and by whose code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.settings import Settings

HOST = "host"


class MetricSettings(Settings):
    """The host's metric by name, with its parameters, or the file that the host published (name: host)."""

    name: str = Field(description="a name that `submissions.metrics` knows; host: the host's own file")
    params: dict[str, Any] = Field(
        default_factory=dict, description="the metric's own parameters, e.g. {thresholds: [0.5]}"
    )
    unit: Literal["image", "stack"] = Field("image", description="what is scored as one: an image, or a whole stack")
    classes: list[str] | None = Field(None, description="classes that are scored; default: all")
    file: str | None = Field(
        None,
        description="host: a Python file with score(solution, submission, row_id_column_name), beside the contract",
    )
    proxy: str | None = Field(None, description="host: the name of the metric nearest to it; stage 06 tunes with that")
    proxy_params: dict[str, Any] = Field(default_factory=dict, description="host: parameters of the proxy")
    solution: dict[str, str] = Field(
        default_factory=dict, description="host: columns that its solution has beside the submission's, e.g. "
        "{height: '{height}'}"
    )  # fmt: skip
    seconds: float = Field(
        600.0, gt=0, description="host: time limit for one table, and for all resampled ones together [s]"
    )

    @field_validator("classes")
    @classmethod
    def _each_class_once(cls, classes: list[str] | None) -> list[str] | None:
        if classes is not None and (not classes or len(set(classes)) < len(classes)):
            raise ValueError("expected at least one class, each once, or leave it out to score all")
        return classes

    @model_validator(mode="after")
    def _host_has_its_file(self) -> MetricSettings:
        given = [name for name in ("file", "proxy", "proxy_params", "solution") if getattr(self, name)]
        if self.name != HOST and given:
            raise ValueError(f"metric.{given[0]} goes with metric.name 'host', found {self.name!r}")
        if self.name == HOST and self.file is None:
            raise ValueError("metric.name 'host' needs metric.file, the Python file that the host published")
        if self.name == HOST and self.proxy in (None, HOST):
            raise ValueError(
                "metric.name 'host' needs metric.proxy, the nearest built-in metric (dice, iou, f_beta ...): "
                "thousands of decisions are compared with it, and what is chosen is scored by the host's file"
            )
        return self

    @property
    def built_in(self) -> tuple[str, dict[str, Any]]:
        """Name and parameters of the metric of arrays: this one, or the host's file's proxy."""
        return (self.name, self.params) if self.proxy is None else (self.proxy, self.proxy_params)

    def without_file(self) -> MetricSettings:
        """The settings where only arrays are scored: the proxy in the place of the host's file."""
        name, params = self.built_in
        return MetricSettings(name=name, params=params, unit=self.unit, classes=self.classes)

    def identity(self) -> dict[str, Any]:
        """What a score depends on: of the host's file its content, not where it lies or how long it may take."""
        kept = self.model_dump(mode="json", include={"name", "params", "unit", "classes"})
        if self.file is None:
            return kept
        own = self.model_dump(mode="json", include={"proxy", "proxy_params", "solution"})
        return {**kept, **own, "file": hashlib.sha256(Path(self.file).read_bytes()).hexdigest()[:16]}
