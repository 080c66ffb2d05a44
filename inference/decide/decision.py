"""The decision: everything between probability and mask, one JSON file, one function that applies it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from inference.decide.instances import InstanceSettings, confidences, relief_of, split
from inference.decide.learned import Learned, load_learned
from inference.decide.postprocess import close_mask, fill_holes, keep_largest, open_mask, remove_small
from inference.decide.rules import ArgmaxRule, Count, Level, Rule, class_planes
from inference.decide.watershed import Relief
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.settings import Settings
from submissions.table.scoring import Segmentation

POST_STEPS = {
    "opening": open_mask,
    "closing": close_mask,
    "holes": fill_holes,
    "min_area": remove_small,
    "largest": keep_largest,
}


class Gate(Settings):
    """The image-level gate: a class's mask is emptied unless at least `area` pixels of a channel reach q >= top.

    With area 1 the gate asks for the largest probability. The channel may also hold an image-level probability.
    """

    channel: str | None = Field(
        None,
        description="channel that the gate reads; {class} stands for the class's name; default: the "
        "class's own channel",
    )
    top: list[Level] = Field(description="one per class")
    area: list[Count] = Field(description="pixels, one per class; 0: no gate")

    def channel_of(self, name: str) -> str:
        """The channel that the class `name` is gated by."""
        return (self.channel or "{class}").replace("{class}", name)


class PostStep(Settings):
    """One step of post-processing; 0 leaves a class as it is."""

    step: str = Field(
        description=f"what is done to each class's mask: {', '.join(POST_STEPS)}",
        json_schema_extra={"enum": [*POST_STEPS]},
    )
    values: list[Count] = Field(
        description="one per class: radius of opening and closing, area of the largest hole that is filled, "
        "area of the smallest component that is kept, number of largest components kept [pixels; of largest components]"
    )

    @field_validator("step")
    @classmethod
    def _is_known(cls, step: str) -> str:
        if step not in POST_STEPS:
            raise ValueError(f"unknown post-processing {step!r}, expected one of {', '.join(POST_STEPS)}")
        return step


class Decision(Learned):
    """How probabilities become masks, and what that was learned from."""

    classes: list[str] = Field(min_length=1, description="the contract's classes, in its order")
    channels: list[str] = Field(min_length=1, description="channels of the prediction store, in its order")
    exclusive: bool = Field(False, description="every pixel has at most one class")
    weights: dict[str, float] = Field(default_factory=dict, description="experiment -> weight in the mean")
    views: list[str] | None = Field(None, description="TTA views that are used; default: all")
    rule: Rule
    gate: Gate | None = None
    classifier: str | None = Field(
        None, description="classifier experiment whose image-level probabilities are the last channels"
    )
    post: list[PostStep] = Field(default_factory=list, description="in this order")
    instances: InstanceSettings | None = None
    learned: dict[str, Any] = Field(default_factory=dict, description="scores, intervals and ranges, for reports")

    @model_validator(mode="after")
    def _fits_the_classes(self) -> Decision:
        missing = [name for name in self.classes if name not in self.channels]
        if missing:
            raise ValueError(f"classes {missing} are not channels of the store, which has {self.channels}")
        wrong = [values for values in self._per_class() if len(values) != len(self.classes)]
        if wrong:
            raise ValueError(f"found {wrong[0]}, expected a value for each of {self.classes}")
        if self.exclusive and self.rule.kind != "argmax":
            raise ValueError(
                f"rule {self.rule.kind!r} lets classes overlap, but they exclude each other; expected 'argmax'"
            )
        return self

    @model_validator(mode="after")
    def _names_what_exists(self) -> Decision:
        names = [self.gate.channel_of(name) for name in self.classes] if self.gate else []
        names += [self.instances.channel] if self.instances and self.instances.channel else []
        absent = [name for name in names if name not in self.channels]
        if absent:
            raise ValueError(f"{absent[0]!r} is not a channel of the store, which has {self.channels}")
        plane = self.instances.plane if self.instances else 0
        for index in [plane, *(self.rule.priority if isinstance(self.rule, ArgmaxRule) else [])]:
            if index >= len(self.classes):
                raise ValueError(f"class index {index}, expected one below {len(self.classes)}")
        unknown = self.rule.unknown if isinstance(self.rule, ArgmaxRule) else None
        if unknown is not None and unknown not in self.classes:
            raise ValueError(f"rule.unknown is {unknown!r}, expected one of {self.classes}")
        return self

    def _per_class(self) -> list[Sequence[Any]]:
        found: list[Sequence[Any]] = [step.values for step in self.post]
        found += getattr(self.rule, "groups", {}).values()
        for part in (self.rule, self.gate):
            for name in ("thresholds", "shares", "top", "bottom", "area", "weights"):
                values = getattr(part, name, None)
                found += [values] if values is not None else []
        return found


@dataclass(frozen=True)
class Mask:
    """One image decided.

    planes: bool (K, H, W), or (K, Z, H, W); instances: int32 (H, W) or (Z, H, W), None where none are made;
    scores: confidence in [0, 1] of each instance, in label order.
    """

    planes: np.ndarray
    instances: np.ndarray | None = None
    scores: list[float] | None = None


def segmentation_of(probs: np.ndarray, mask: Mask, decision: Decision) -> Segmentation:
    """A mask in the form that is scored and written: planes (K, Z, H, W), and instances (Z, H, W) or probabilities.

    probs: uint8 (channels, H, W), or (channels, Z, H, W), that the mask was made of.
    """
    flat = mask.planes.ndim == 3
    planes = mask.planes[:, None] if flat else mask.planes
    if mask.instances is not None:
        return Segmentation(planes, mask.instances[None] if flat else mask.instances, mask.scores)
    k, own = len(decision.classes), [decision.channels.index(name) for name in decision.classes]
    levels = probs[:k] if own == list(range(k)) else probs[own]
    return Segmentation(planes, levels=levels[:, None] if flat else levels)


def save_decision(path: Path, decision: Decision) -> None:
    """Write the decision as JSON, beside its name and then renamed."""
    write_atomic(path, decision.model_dump_json(indent=2) + "\n")


def load_decision(path: Path, *, fingerprint: str | None = None) -> Decision:
    """Read a decision; raises what `load_learned` raises."""
    return load_learned(Decision, path, fingerprint=fingerprint)


def apply(probs: np.ndarray, decision: Decision, *, group: str | None = None) -> Mask:
    """Mask of one image.

    Parameters
    ----------
    probs : uint8 (channels, H, W), or (channels, Z, H, W) for a volume, in the order of `decision.channels`
    group : the image's group, for a rule with thresholds by group; unknown groups take the common ones

    Raises ValueError for another dtype or number of channels.
    """
    return next(apply_each(probs, [decision], group=group))


def apply_each(probs: np.ndarray, decisions: Iterable[Decision], *, group: str | None = None) -> Iterator[Mask]:
    """`apply` of one decision after the other; what one has in common with the one before is made once.

    Where all of it is in common, the very same `Mask` is given again.
    """
    for _, alike in groupby(decisions, key=lambda one: one.model_copy(update={"instances": None})):
        finished: _Finished | None = None
        for decision in alike:
            finished = finished or _Finished(probs, _planes(probs, decision, group), decision)
            yield finished.mask(decision.instances)


def _planes(probs: np.ndarray, decision: Decision, group: str | None) -> np.ndarray:
    """bool (K, ...) as the rule says."""
    if probs.dtype != np.uint8 or probs.ndim not in (3, 4) or len(probs) != len(decision.channels):
        raise ValueError(
            f"probs are {probs.dtype} {probs.shape}, expected uint8 with the {len(decision.channels)} "
            f"channels {decision.channels}, then [depth,] height and width"
        )
    of_classes = [probs[decision.channels.index(name)] for name in decision.classes]
    return class_planes(of_classes, decision.rule, decision.classes, group=group)


class _Finished:
    """Planes bool (K, ...) that a rule made of `probs`, after gate and post-processing, and their instances.

    It holds what the settings asked for last were split by.
    """

    def __init__(self, probs: np.ndarray, planes: np.ndarray, decision: Decision) -> None:
        if decision.gate is not None:
            planes = _gated(probs, planes, decision, decision.gate)
        for step in decision.post:
            planes = _processed(planes, step, decision)
        self.probs, self.planes, self.decision = probs, planes, decision
        self.split_by: tuple[str, int, float] | None = None
        self.relief: Relief | None = None
        self.last = Mask(planes)

    def mask(self, settings: InstanceSettings | None) -> Mask:
        """The planes, with instances where there are settings for them."""
        if settings is None:
            return Mask(self.planes)
        names = self.decision.channels
        own = self.probs[names.index(self.decision.classes[settings.plane])]
        guide = self.probs[names.index(settings.channel)] if settings.channel else None
        plane = self.planes[settings.plane]
        if settings.relief != self.split_by:
            whole = settings.method == "components"
            self.relief = None if whole else relief_of(plane, settings, probs=own, guide=guide)
            self.split_by, self.last = settings.relief, Mask(self.planes)
        label = split(plane, settings, probs=own, guide=guide, relief=self.relief)
        if self.last.instances is None or not np.array_equal(self.last.instances, label):
            planes = self.planes.copy()
            planes[settings.plane] = label > 0
            self.last = Mask(planes, label, confidences(label, own))
        return self.last


def _gated(probs: np.ndarray, planes: np.ndarray, decision: Decision, gate: Gate) -> np.ndarray:
    planes = planes.copy()
    for k, name in enumerate(decision.classes):
        q = probs[decision.channels.index(gate.channel_of(name))]
        if gate.area[k] and np.count_nonzero(q >= gate.top[k]) < gate.area[k]:
            lost = planes[k].copy()
            planes[k] = False
            if decision.exclusive and "background" in decision.classes:
                planes[decision.classes.index("background")] |= lost
    return planes


def _processed(planes: np.ndarray, step: PostStep, decision: Decision) -> np.ndarray:
    """One step. Of exclusive classes a pixel gained leaves the others, a pixel lost becomes background."""
    planes = planes.copy()
    background = decision.classes.index("background") if "background" in decision.classes else None
    for k, value in enumerate(step.values):
        if value == 0 or (decision.exclusive and k == background):
            continue
        after = POST_STEPS[step.step](planes[k], value)
        if decision.exclusive:
            gained, lost = after & ~planes[k], planes[k] & ~after
            planes[:, gained] = False
            if background is not None:
                planes[background] |= lost
        planes[k] = after
    return planes


def decision_column(competition: Competition, known: Container[str]) -> str | None:
    """The contract's first stratum (organ, stain) among the `known` columns; None without one."""
    return next((name for name in competition.strata if name in known and not name.startswith("area_")), None)


def decision_group(competition: Competition, fields: dict[str, Any]) -> str | None:
    """Group of an image for thresholds by group: its value of `decision_column`, None without one."""
    column = decision_column(competition, fields)
    return None if column is None else str(fields[column])
