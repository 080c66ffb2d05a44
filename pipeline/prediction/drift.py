"""Does the decision meet the images it was made for? Out-of-fold and test predictions, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from inference.decide.components import Components
from inference.decide.decision import Decision, Mask
from submissions.metrics.histogram import joint_histogram

BINS = 16
EDGE = 0.005  # share of the images it learned on that lie beyond either end of a range
LEAST_OUTSIDE = 0.05  # share of test images beyond a range that counts as drift


def image_features(probs: np.ndarray, mask: Mask, decision: Decision) -> dict[str, float]:
    """What describes one decided image, for `drift`: a dict with keys such as `area.salt`.

    probs: uint8 as `apply` takes them. Of each class: `area` (share of pixels), `components` (a megapixel),
    `sure` (largest probability), `mean` (probability), `unsure` (share of pixels between 0.25 and 0.75),
    and `hist_00` to `hist_15`, shares of pixels in sixteen bins of probability.
    """
    found: dict[str, float] = {}
    for k, name in enumerate(decision.classes):
        q, plane = probs[decision.channels.index(name)], mask.planes[k]
        joint = joint_histogram(q, plane)
        counted = joint.sum(axis=0)
        shares = counted / max(q.size, 1)
        found[f"area.{name}"] = float(joint[1].sum() / max(q.size, 1))
        found[f"components.{name}"] = (len(Components(plane).areas) - 1) / q.size * 1e6
        found[f"sure.{name}"] = float(np.flatnonzero(counted).max() / 255)
        found[f"mean.{name}"] = float((shares * np.arange(256)).sum() / 255)
        found[f"unsure.{name}"] = float(shares[64:192].sum())
        for index, share in enumerate(shares.reshape(BINS, -1).sum(axis=1)):
            found[f"hist_{index:02d}.{name}"] = float(share)
    return found


def learned_ranges(features: pd.DataFrame) -> dict[str, list[float]]:
    """Feature -> the range that all but one in a hundred images lie in, for `Decision.learned`."""
    names = [str(name) for name in features if "." in str(name) and not str(name).startswith("hist_")]
    return {name: [float(v) for v in np.quantile(features[name], [EDGE, 1 - EDGE])] for name in names}


@dataclass(frozen=True)
class Drift:
    """What differs between the images learned on and those decided now.

    table: one row per feature with oof_mean, test_mean, outside (share of test images beyond the learned
    range), distance (Kolmogorov-Smirnov, 0..1), chance (the distance that equal sets exceed in 1 % of
    cases) and drifted. histograms: share of pixels by bin of probability, class and set. warnings:
    sentences; none where all is well.
    """

    table: pd.DataFrame
    histograms: pd.DataFrame
    warnings: list[str]


def drift(oof: pd.DataFrame, test: pd.DataFrame, *, models: tuple[int, int] = (1, 1)) -> Drift:
    """Compare features of out-of-fold and test images (one row per image, as `image_features`).

    A feature has drifted where more than 5 % (and than luck explains) of the test images lie
    beyond the range that the decision learned on, or the distance of the two distributions exceeds chance
    at 1 % (Smirnov 1948) and 0.2. `models`: how many models the probabilities of one and the other are a mean
    of; where the numbers differ that is named as a cause. Raises ValueError where one table is empty or lacks
    features of the other.
    """
    names = [name for name in oof if "." in str(name)]
    if not len(oof) or not len(test) or set(names) - set(test.columns):
        raise ValueError(f"{len(oof)} rows against {len(test)}; both need rows and the features {names[:4]}")
    ranges = learned_ranges(oof)
    rows, warnings = [], []
    expected = 2 * EDGE + 2 / (len(oof) + 1)
    by_luck = expected + 3 * np.sqrt(expected / len(test))
    chance = 1.63 * np.sqrt((len(oof) + len(test)) / (len(oof) * len(test)))
    for name, (low, high) in ranges.items():
        old, new = oof[name].to_numpy(float), test[name].to_numpy(float)
        slack = 1e-9 + 0.01 * max(high - low, abs(high))
        outside = float(((new < low - slack) | (new > high + slack)).mean())
        distance = float(scipy.stats.ks_2samp(old, new, method="asymp").statistic)
        drifted = outside > max(LEAST_OUTSIDE, by_luck) or distance > max(chance, 0.2)
        rows.append((name, old.mean(), new.mean(), low, high, outside, distance, chance, drifted))
        if drifted:
            warnings.append(_sentence(name, old.mean(), new.mean(), (low, high), outside))
    if warnings and models[0] != models[1]:
        warnings.append(
            f"part of this may come from averaging: the test probabilities are a mean of {models[1]} models, the "
            f"out-of-fold ones of {models[0]}, and a mean is less extreme; folds.repeats measures it"
        )
    columns = ["feature", "oof_mean", "test_mean", "low", "high", "outside", "distance", "chance", "drifted"]
    return Drift(pd.DataFrame(rows, columns=columns), _histograms(oof, test), warnings)


def _sentence(name: str, old: float, new: float, ends: tuple[float, float], outside: float) -> str:
    what, _, class_name = name.partition(".")
    meaning = {
        "area": "share of pixels predicted as",
        "components": "components a megapixel of",
        "sure": "largest probability of",
        "mean": "mean probability of",
        "unsure": "share of pixels with a probability between 0.25 and 0.75 of",
    }[what]
    return (
        f"{meaning} {class_name}: mean {new:.4g} on the test images against {old:.4g} out of fold; {outside:.0%} of "
        f"the test images lie outside the range {ends[0]:.4g} to {ends[1]:.4g} that the decision learned on"
    )


def _histograms(oof: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for name in sorted(str(column) for column in oof if str(column).startswith("hist_")):
        index, _, class_name = name.removeprefix("hist_").partition(".")
        rows.append(
            {
                "class": class_name,
                "low": int(index) / BINS,
                "high": (int(index) + 1) / BINS,
                "oof": float(oof[name].mean()),
                "test": float(test[name].mean()),
            }
        )
    return pd.DataFrame(rows)
