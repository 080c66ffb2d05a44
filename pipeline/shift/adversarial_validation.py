"""Are the test images like the training images? A classifier tries to tell them apart (adversarial validation)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from pipeline.shift.appearance import standardised
from submissions.host.listing import spread

PARTS = 5
TREES = 100
MOST_TAUGHT = 2000  # images of a side that the classifier is taught on
RESAMPLES = 400
LEVEL = 0.9
RARE = 0.95  # a test image is foreign where it looks more like test than this share of the training images
NEAREST = 3
LEAST_GROUPS = 2


@dataclass(frozen=True)
class Foreign:
    """How well test and training images can be told apart by images whose group the classifier has not seen.

    auc: 0.5 where they cannot, 1 where always; low, high: its 90 % interval over resampled groups. probability:
    float64 (N,), of each image to be a test image, both sets counted alike (0.5: no telling), by classifiers that saw
    neither the image nor its group. foreign: bool (N,), test images that look more like test than 95 % of training.
    measures: measure, auc (alone), training and test (medians as in `appearance`), what tells most first.
    """

    auc: float
    low: float
    high: float
    probability: np.ndarray
    foreign: np.ndarray
    measures: pd.DataFrame


def tell_apart(features: pd.DataFrame, test: np.ndarray, groups: np.ndarray) -> Foreign | None:
    """Adversarial validation of rows of `appearance`: a random forest, cross-validated by group.

    test: bool (N,). groups: (N,), images that must not be on both sides of a cross-validation. None where either set
    has fewer than two groups, so that nothing could be validated.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    parts = min(PARTS, *(len(set(groups[side])) for side in (test, ~test)))
    if parts < LEAST_GROUPS:
        return None
    taught = np.sort(np.concatenate([spread(np.flatnonzero(side).tolist(), MOST_TAUGHT) for side in (test, ~test)]))
    values = features.to_numpy(dtype=np.float64)
    total, times = np.zeros(len(features)), np.zeros(len(features))
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=0)
    for learned, held in splitter.split(taught, test[taught], groups[taught]):
        if len(set(test[taught[learned]])) < 2:
            continue
        forest = RandomForestClassifier(TREES, min_samples_leaf=3, class_weight="balanced", random_state=0)
        forest.fit(values[taught[learned]], test[taught[learned]])
        asked = ~np.isin(groups, groups[taught[learned]])
        asked[taught[held]] = True
        total[asked] += forest.predict_proba(values[asked])[:, 1]
        times[asked] += 1
    known = times > 0
    probability = np.where(known, total / np.maximum(times, 1), 0.5)
    auc = area_under_curve(probability[known], test[known])
    low, high = _interval(probability[known], test[known], groups[known])
    foreign = test & (probability > np.quantile(probability[~test], RARE))
    return Foreign(auc, low, high, probability, foreign, telling_measures(features, test))


def area_under_curve(scores: np.ndarray, test: np.ndarray) -> float:
    """Share of pairs (test, training) whose test image has the higher score, ties counted half; NaN without pairs."""
    positives = int(test.sum())
    negatives = len(test) - positives
    if not positives or not negatives:
        return float("nan")
    above = scipy.stats.rankdata(scores)[test].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _interval(scores: np.ndarray, test: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Bootstrap over groups, of each set for itself."""
    generator = np.random.default_rng(0)
    sides = []
    for side in (test, ~test):
        rows_of = pd.Series(np.flatnonzero(side)).groupby(groups[side], sort=True)
        sides.append([rows.to_numpy() for _, rows in rows_of])
    found = []
    for _ in range(RESAMPLES):
        rows = [side[pick] for side in sides for pick in generator.integers(len(side), size=len(side))]
        drawn = np.concatenate(rows)
        found.append(area_under_curve(scores[drawn], test[drawn]))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def telling_measures(features: pd.DataFrame, test: np.ndarray) -> pd.DataFrame:
    """Each measure alone: measure, auc (0.5 to 1, whichever way), training, test (medians), most telling first."""
    rows = []
    for name in features:
        column = features[name]
        known = column.notna().to_numpy()
        area = area_under_curve(column.to_numpy()[known], test[known])
        if np.isfinite(area):
            rows.append((name, max(area, 1 - area), column[~test].median(), column[test].median()))
    found = pd.DataFrame(rows, columns=["measure", "auc", "training", "test"])
    return found.sort_values(["auc", "measure"], ascending=[False, True], kind="stable").reset_index(drop=True)


def nearest_training(features: pd.DataFrame, test: np.ndarray) -> np.ndarray:
    """Row numbers int64 (number of test images, up to 3) of the training images most like each, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    values, own = standardised(features), np.flatnonzero(~test)
    if not values.shape[1]:
        values = np.zeros((len(features), 1))  # all are alike
    finder = NearestNeighbors(n_neighbors=min(NEAREST, len(own))).fit(values[own])
    return np.asarray(own[finder.kneighbors(values[test], return_distance=False)])
