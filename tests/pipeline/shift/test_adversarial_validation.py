from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_sources import drawn_inventory
from sklearn.metrics import roc_auc_score

from pipeline.shift.adversarial_validation import area_under_curve, nearest_training, tell_apart, telling_measures
from pipeline.shift.appearance import appearance


def looks_of(counts: dict[tuple[str, str], int]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    table, thumbnails = drawn_inventory(counts)
    return appearance(table, thumbnails), (table["split"] == "test").to_numpy(), table["image_id"].to_numpy(object)


def test_the_same_distribution_cannot_be_told_apart() -> None:
    looks, test, names = looks_of({("train", "plain"): 70, ("test", "plain"): 40})
    found = tell_apart(looks, test, names)
    assert found is not None
    assert found.auc == pytest.approx(0.5, abs=0.12) and found.low < 0.5 < found.high
    assert found.foreign[test].mean() < 0.2 and not found.foreign[~test].any()


def test_another_source_is_found_with_what_gives_it_away_and_whose_images_they_are() -> None:
    looks, test, names = looks_of({("train", "plain"): 50, ("test", "plain"): 15, ("test", "blurred"): 15})
    found = tell_apart(looks, test, names)
    assert found is not None and found.low > 0.55 and found.low <= found.auc <= found.high
    foreign = found.foreign[test]
    assert foreign[15:].all() and foreign[:15].mean() < 0.4
    assert found.probability[test][15:].min() > found.probability[~test].max()
    assert "image_sharpness" in found.measures["measure"].head(12).tolist()
    row = found.measures.set_index("measure").loc["image_sharpness"]
    assert row["test"] < row["training"]


def test_groups_are_not_on_both_sides() -> None:
    """Frames of one drive are alike: with the drives known, two of the same kind are no shift."""
    rng = np.random.default_rng(0)
    drives = np.repeat(np.arange(16), 10)
    looks = pd.DataFrame(rng.normal(size=(16, 6))[drives] + rng.normal(0, 0.01, (160, 6)))
    test = drives % 4 == 0
    by_image = tell_apart(looks, test, np.arange(160).astype(str).astype(object))
    by_drive = tell_apart(looks, test, drives.astype(str).astype(object))
    assert by_image is not None and by_drive is not None
    assert by_image.auc > 0.95 and by_drive.auc < 0.8 and by_drive.low < 0.6


def test_one_group_of_a_set_says_nothing() -> None:
    looks, test, names = looks_of({("train", "plain"): 5, ("test", "plain"): 1})
    assert tell_apart(looks, test, names) is None
    assert tell_apart(looks, np.zeros(6, bool), names) is None


def test_area_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(2)
    scores, test = rng.integers(0, 5, 60) / 5, rng.random(60) < 0.3
    assert area_under_curve(scores, test) == pytest.approx(roc_auc_score(test, scores))
    assert np.isnan(area_under_curve(scores, np.ones(60, bool)))


def test_measures_without_values_are_left_out() -> None:
    looks = pd.DataFrame({"known": [0.0, 1, 2, 3], "missing": np.nan})
    found = telling_measures(looks, np.array([False, False, True, True]))
    assert found.values.tolist() == [["known", 1.0, 0.5, 2.5]]


def test_nearest_training_images_are_copies_first() -> None:
    looks, test, _ = looks_of({("train", "plain"): 6, ("test", "plain"): 2})
    copied = pd.concat([looks.iloc[:6], looks.iloc[[4, 1]]], ignore_index=True)
    found = nearest_training(copied, test)
    assert found.shape == (2, 3) and found[:, 0].tolist() == [4, 1]
    few = nearest_training(copied.iloc[[0, 6]], np.array([False, True]))
    assert few.tolist() == [[0]]
    assert nearest_training(copied.iloc[[2, 2, 2]], np.array([False, False, True])).shape == (1, 2)
