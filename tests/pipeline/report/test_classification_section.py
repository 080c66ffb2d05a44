from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.report.classification_section import calibration, confusion, mistakes
from pipeline.report.figures import calibration_figure, counts_figure

CLASSES = ["a", "b", "c"]
PROBS = np.array([[0.9, 0.06, 0.04], [0.2, 0.7, 0.1], [0.97, 0.02, 0.01], [0.3, 0.3, 0.4]])
TRUTH = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]], bool)


def test_confusion_counts_true_by_said() -> None:
    found = confusion(PROBS, TRUTH, CLASSES)
    np.testing.assert_array_equal(found.to_numpy(), [[1, 0, 0], [1, 0, 0], [0, 1, 1]])
    assert list(found.index) == list(found.columns) == CLASSES
    drawn = counts_figure(found).data[0]
    assert list(drawn.text[2]) == ["0", "1", "1"] and list(drawn.z[2]) == [0.0, 0.5, 0.5]


def test_calibration_error_is_the_mean_distance_of_said_and_right() -> None:
    bins, error = calibration(PROBS, TRUTH, exclusive=True)
    assert bins["answers"].tolist() == [1, 1, 2]
    np.testing.assert_allclose(bins["said"], [0.4, 0.7, (0.9 + 0.97) / 2])
    np.testing.assert_allclose(bins["right"], [1, 0, 0.5])
    assert error == pytest.approx((0.6 + 0.7 + 2 * abs(0.935 - 0.5)) / 4)
    assert len(calibration_figure(bins).data) == 2


def test_a_classifier_that_says_what_happens_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((20000, 1))
    probs = np.concatenate([p, 1 - p], axis=1)
    one = rng.random(20000) < p[:, 0]
    truth = np.stack([one, ~one], axis=1)
    assert calibration(probs, truth, exclusive=True)[1] < 0.015
    assert calibration(probs**4 / (probs**4).sum(axis=1, keepdims=True), truth, exclusive=True)[1] > 0.1
    several = calibration(probs, truth, exclusive=False)
    assert several[0]["answers"].sum() == 40000 and several[1] < 0.015


def test_the_surest_mistakes_come_first() -> None:
    ids = ["i0", "i1", "i2", "i3"]
    assert mistakes(ids, PROBS, TRUTH, CLASSES, exclusive=True) == [("i2", "a", "b", 0.97), ("i1", "b", "c", 0.7)]
    wrong = mistakes(ids, PROBS, TRUTH, CLASSES, exclusive=False)
    assert wrong[0] == ("i2", "no b", "b", 0.98) and wrong[1] == ("i2", "a", "no a", 0.97)
    assert ("i3", "no c", "c", 0.6) in wrong and len(wrong) == 5


def test_one_bin_of_certain_answers() -> None:
    bins, error = calibration(np.eye(3), np.eye(3, dtype=bool), exclusive=True)
    assert bins.equals(pd.DataFrame({"said": [1.0], "right": [1.0], "answers": [3]})) and error == 0
