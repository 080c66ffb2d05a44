"""What a prediction says about itself: numbers that need no truth and go with its score.

Of one decided image and class, from its uint8 probabilities and its mask. `soft_dice` is the Soft Dice Confidence of
arXiv 2402.10665, which alone is near the best single measure for Dice; `doc` is what the difference of confidence of
arXiv 2207.09957 rests on; `stable` is the stability score of Segment Anything (arXiv 2304.02643). A volume or stack is
measured slice by slice, its sums taken over all of them.

How far the views of test-time augmentation are apart is not among them: judged on what was left out of training it did
not make the forecast better (`benchmarks/forecast_views.py`). Nor is how far the models of the folds are apart: of an
out-of-fold image only one of them has not been trained on its truth, and the others agree on it as they never do on a
test image, so a map would learn that small disagreement means a high score and meet another kind of it in the test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from inference.decide.components import STRIP_PIXELS, Components
from submissions.metrics.histogram import joint_histogram

SUMS = (
    "pixels", "area", "total", "inside", "entropy", "confidence", "border", "unsure", "above_quarter",
    "above_three_quarters", "components", "largest", "half_sizes", "peak", "rim", "beside_rim", "beside",
)  # fmt: skip
LARGEST_OF = ("largest", "peak")  # of a stack's slices the largest counts, not their sum
FEATURES = (
    "soft_dice", "soft_iou", "inside", "outside", "entropy", "doc", "unsure", "stable", "low_stable", "share", "mean",
    "components", "size", "largest", "roughness", "sharpness", "peak", "empty",
)  # fmt: skip
OF_SEVERAL = ("least_soft_dice", "least_stable", "classes")  # of units with several classes beside these
_LEVELS = np.arange(256) / 255.0
_ENTROPY = -(
    np.where(_LEVELS > 0, _LEVELS * np.log2(np.maximum(_LEVELS, 1e-12)), 0.0)
    + np.where(_LEVELS < 1, (1 - _LEVELS) * np.log2(np.maximum(1 - _LEVELS, 1e-12)), 0.0)
)
_CONFIDENCE = np.maximum(_LEVELS, 1 - _LEVELS)
QUARTER, THREE_QUARTERS = 64, 191


def class_sums(probs: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """What `class_features` is computed from: sums over pixels, which add up over the slices of a stack.

    probs: uint8 (H, W) or (Z, H, W) of one class, 255 = 1; mask: bool of the same shape, the class as decided.
    Of those in LARGEST_OF the largest counts instead. Raises ValueError for
    other types or shapes that differ.
    """
    if probs.dtype != np.uint8 or mask.dtype != np.bool_ or probs.shape != mask.shape or probs.ndim not in (2, 3):
        raise ValueError(
            f"probs are {probs.dtype} {probs.shape}, the mask {mask.dtype} {mask.shape}; expected uint8 and bool of "
            "one shape, [depth,] height and width"
        )
    planes = zip(probs.reshape(-1, *probs.shape[-2:]), mask.reshape(-1, *mask.shape[-2:]), strict=True)
    return joined_sums([_plane_sums(q, m) for q, m in planes])


def joined_sums(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums of a stack from those of its slices."""
    joined = {name: float(sum(part[name] for part in parts)) for name in SUMS}
    return joined | {name: float(max(part[name] for part in parts)) for name in LARGEST_OF}


def _plane_sums(q: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The sums of one slice (H, W)."""
    counted = joint_histogram(q, mask)
    everywhere, within = counted.sum(axis=0), counted[1]
    area = int(within.sum())
    inner, outer, rim, beside_rim = _border_sums(q, mask) if 0 < area < q.size else np.zeros(4, np.int64)
    sizes = Components(mask).areas[1:] if area else np.empty(0, np.int64)
    half = np.sort(sizes)[len(sizes) // 2] if len(sizes) else 0
    return {
        "pixels": float(q.size),
        "area": float(area),
        "total": float(everywhere @ _LEVELS),
        "inside": float(within @ _LEVELS),
        "entropy": float(everywhere @ _ENTROPY),
        "confidence": float(everywhere @ _CONFIDENCE),
        "border": float(inner),
        "unsure": float(everywhere[QUARTER:THREE_QUARTERS].sum()),
        "above_quarter": float(everywhere[QUARTER:].sum()),
        "above_three_quarters": float(everywhere[THREE_QUARTERS:].sum()),
        "components": float(len(sizes)),
        "largest": float(sizes.max(initial=0)),
        "half_sizes": float(half * len(sizes)),
        "peak": float(np.flatnonzero(everywhere).max() / 255) if q.size else 0.0,
        "rim": rim / 255,
        "beside_rim": beside_rim / 255,
        "beside": float(outer),
    }


def _border_sums(q: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """int64 (4,): number of the mask's pixels beside others and of those beside the mask, and the sums of q over both.

    The image's frame is no border. Large images are read in strips, each with a row of its neighbours.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    total = np.zeros(4, np.int64)
    step = max(1, STRIP_PIXELS // max(1, mask.shape[1]))
    for top in range(0, len(mask), step):
        first = max(0, top - 1)
        own = slice(top - first, min(top + step, len(mask)) - first)
        plane = np.ascontiguousarray(mask[first : top + step + 1]).view(np.uint8)
        inner = (plane > cv2.erode(plane, cross, borderType=cv2.BORDER_REPLICATE))[own]
        outer = (plane < cv2.dilate(plane, cross, borderType=cv2.BORDER_REPLICATE))[own]
        levels = q[top : top + step]
        total += [
            np.count_nonzero(inner), np.count_nonzero(outer),
            levels[inner].sum(dtype=np.int64), levels[outer].sum(dtype=np.int64),
        ]  # fmt: skip
    return total


def class_features(sums: Mapping[str, Any]) -> dict[str, Any]:
    """The features of a class from its sums: finite numbers for any prediction, empty and constant ones too.

    sums: numbers, or arrays (N,) of many images, as which the features then come.

    soft_dice, soft_iou: overlap of probabilities and mask, 0 to 1. inside, outside: mean probability within the mask,
    and mean probability outside of it over the mask's area. entropy, unsure: bits, and pixels between a quarter and
    three, over the border's length, as log(1 + x). doc: mean of max(p, 1 - p). stable: area above three quarters over
    that above a quarter; low_stable: mask over the area above a quarter. share, mean: of the pixels, logarithm of the
    mask's and of the probabilities'. components, size: log(1 + number), and logarithm of the median component's share.
    largest: share of the mask in its largest component. roughness: border over that of as many discs. sharpness: step
    of probability across the border. peak: largest probability. empty: 1 where the mask is.
    """
    of = {name: np.asarray(sums[name], np.float64) for name in SUMS}
    area, total, inside, number = of["area"], of["total"], of["inside"], of["components"]
    pixels, border, empty = np.maximum(of["pixels"], 1.0), of["border"], of["area"] == 0
    outside = np.maximum(total - inside, 0.0)
    length, some = np.maximum(border, 1.0), np.maximum(area, 1.0)
    found = {
        "soft_dice": np.where(empty, 1 - of["peak"], 2 * inside / np.maximum(area + total, 1e-9)),
        "soft_iou": np.where(empty, 1 - of["peak"], inside / np.maximum(area + outside, 1e-9)),
        "inside": inside / some,
        "outside": np.log1p(outside / some),
        "entropy": np.log1p(of["entropy"] / length),
        "doc": of["confidence"] / pixels,
        "unsure": np.log1p(of["unsure"] / length),
        "stable": _share(of["above_three_quarters"], of["above_quarter"]),
        "low_stable": np.minimum(_share(area, of["above_quarter"]), _share(of["above_quarter"], area)),
        "share": np.log10(area / pixels + 1e-4),
        "mean": np.log10(total / pixels + 1e-4),
        "components": np.log1p(number),
        "size": np.log10(of["half_sizes"] / np.maximum(number, 1.0) / pixels + 1e-5),
        "largest": _share(of["largest"], area),
        "roughness": border / np.sqrt(4 * np.pi * some * np.maximum(number, 1.0)),
        "sharpness": np.where(
            (border > 0) & (of["beside"] > 0),
            of["rim"] / length - of["beside_rim"] / np.maximum(of["beside"], 1.0),
            0.0,
        ),
        "peak": of["peak"],
        "empty": empty.astype(np.float64),
    }
    return found if area.ndim else {name: float(value) for name, value in found.items()}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 1 where there is nothing to be a part of."""
    return np.where(whole > 0, part / np.maximum(whole, 1e-9), 1.0)


def unit_features(by_class: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Features of a unit from the sums of its classes: the mean of the scored `classes`, and the least of some.

    Of one class its features; of several the mean over those that are there at all (a mask, or a probability of a half
    somewhere; of none all of them) under the plain names, the smallest of them as `least_<name>` for soft_dice and
    stable, and their number as `classes`. As `class_features` for arrays (N,) of many units.
    """
    each = [class_features(by_class[name]) for name in classes]
    if len(each) == 1:
        return each[0]
    there = np.array([(1 - np.asarray(one["empty"]) > 0) | (np.asarray(one["peak"]) >= 0.5) for one in each])
    there = np.where(there.any(axis=0), there, True)
    found: dict[str, Any] = {}
    for name in FEATURES:
        values = np.array([one[name] for one in each])
        found[name] = (values * there).sum(axis=0) / there.sum(axis=0)
        if name in ("soft_dice", "stable"):
            found[f"least_{name}"] = np.where(there, values, np.inf).min(axis=0)
    found["classes"] = there.sum(axis=0).astype(np.float64)
    return found if there.ndim > 1 else {name: float(value) for name, value in found.items()}


def as_row(by_class: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The sums of all classes as one row of a table: `<sum>.<class>`."""
    return {f"{name}.{of}": value for of, sums in by_class.items() for name, value in sums.items()}
