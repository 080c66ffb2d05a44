"""The rules that turn probabilities into class masks: what they say, and what they do to one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from inference.decide.postprocess import hysteresis
from submissions.host.settings import Settings
from submissions.metrics.histogram import joint_histogram

NEVER = 256  # a threshold that no uint8 probability reaches
BLOCK = 1 << 22  # pixels whose classes are compared at once: each takes eleven bytes meanwhile
Level = Annotated[int, Field(ge=0, le=NEVER)]
Count = Annotated[int, Field(ge=0)]


class ThresholdRule(Settings):
    """A pixel is foreground where q >= its class's threshold; q = round(255 p)."""

    kind: Literal["threshold"] = "threshold"
    thresholds: list[Level] = Field(description="one per class")
    groups: dict[str, list[Level]] = Field(
        default_factory=dict, description="group -> its own thresholds, one per class"
    )


class QuantileRule(Settings):
    """In every image the most probable pixels are foreground, at most this share of them (ties stay out)."""

    kind: Literal["quantile"] = "quantile"
    shares: list[Annotated[float, Field(ge=0, le=1)]] = Field(description="one per class")


class HysteresisRule(Settings):
    """Components of q >= bottom that hold at least `area` pixels of q >= top."""

    kind: Literal["hysteresis"] = "hysteresis"
    top: list[Level] = Field(description="one per class")
    bottom: list[Level] = Field(description="one per class")
    area: list[Count] = Field(description="pixels, one per class")


class ArgmaxRule(Settings):
    """Every pixel has the class of the largest q times its weight (ties: the first), or none.

    thresholds: classes in the order of `priority` claim the pixels with q >= their threshold; argmax takes
    what is left. reject: where no class reaches q >= reject, the pixel is `unknown`, or of no class at all.
    """

    kind: Literal["argmax"] = "argmax"
    weights: list[Annotated[float, Field(gt=0)]] | None = Field(None, description="class prior correction")
    thresholds: list[Level] | None = Field(None, description="one per class; read for those in `priority`")
    priority: list[Count] = Field(
        default_factory=list, description="class indices; a class earlier in the list takes the pixel"
    )
    reject: Level = Field(0, description="where no class reaches this, the pixel is `unknown`, or of no class")
    unknown: str | None = Field(None, description="class of pixels where none reaches `reject`")


Rule = Annotated[ThresholdRule | QuantileRule | HysteresisRule | ArgmaxRule, Field(discriminator="kind")]


def class_planes(
    probs: Sequence[np.ndarray], rule: Rule, classes: Sequence[str], *, group: str | None = None
) -> np.ndarray:
    """bool (K, ...) of the classes' probabilities, K arrays uint8 (...), in the order of `classes`.

    group: the image's group, for thresholds by group; groups without their own take the common ones.
    """
    planes = np.empty((len(probs), *probs[0].shape), bool)
    if isinstance(rule, ArgmaxRule):
        step = max(1, BLOCK // max(1, probs[0][0].size))
        for rows in (slice(top, top + step) for top in range(0, len(probs[0]), step)):
            label = _argmax([q[rows] for q in probs], rule, classes)
            for index, plane in enumerate(planes):
                np.equal(label, index, out=plane[rows])
        return planes
    for k, q in enumerate(probs):
        if isinstance(rule, HysteresisRule):
            planes[k] = hysteresis(q, rule.top[k], rule.area[k], rule.bottom[k])
        else:
            np.greater_equal(q, _level(q, rule, k, group), out=planes[k])
    return planes


def quantile_threshold(histogram: np.ndarray, share: float) -> np.ndarray:
    """Smallest threshold 0..256, int64 (...), at which at most `share` of the pixels are set; histogram (..., 256).

    Divided, not multiplied: 29 of 100 pixels are a share of 0.29, but 0.29 times 100 is less than 29.
    """
    above = np.cumsum(histogram[..., ::-1], axis=-1)[..., ::-1]
    fits = above / np.maximum(above[..., :1], 1) <= share
    return np.where(fits.any(axis=-1), fits.argmax(axis=-1), NEVER)


def _level(q: np.ndarray, rule: ThresholdRule | QuantileRule, k: int, group: str | None) -> np.uint16:
    """The threshold of class k in this image, up to NEVER."""
    if isinstance(rule, QuantileRule):
        return np.uint16(quantile_threshold(joint_histogram(q, np.zeros(q.shape, bool))[0], rule.shares[k]))
    return np.uint16(rule.groups.get(str(group), rule.thresholds)[k])


def _argmax(probs: Sequence[np.ndarray], rule: ArgmaxRule, classes: Sequence[str]) -> np.ndarray:
    """int16 label of the pixels' classes, -1 where there is none."""
    label = np.zeros(probs[0].shape, np.int16)
    factors = rule.weights or [1.0] * len(probs)
    best, surest = probs[0] * np.float32(factors[0]), probs[0].copy()
    for index, q in enumerate(probs[1:], start=1):
        value = q * np.float32(factors[index])
        label[value > best] = index
        np.maximum(best, value, out=best)
        np.maximum(surest, q, out=surest)
    for index in reversed(rule.priority if rule.thresholds else []):
        assert rule.thresholds is not None
        if rule.thresholds[index] < NEVER:
            label[probs[index] >= rule.thresholds[index]] = index
    if rule.reject > 0:
        label[surest < min(rule.reject, 255)] = classes.index(rule.unknown) if rule.unknown else -1
    return label
