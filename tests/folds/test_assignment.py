"""Groups to folds, against a count by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.assignment import EXCHANGED_GROUPS, spread_groups, stable_number, stratify_groups


def test_stable_number_is_the_same_everywhere() -> None:
    assert stable_number(0, "a") == 8617095791668180470
    assert stable_number(0, "a") != stable_number("0a")


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 40), min_size=3, max_size=40), seed=st.integers(0, 99))
def test_no_fold_is_larger_than_the_mean_by_more_than_a_group(sizes: list[int], seed: int) -> None:
    folds = spread_groups(np.array(sizes), 3, seed)
    filled = np.bincount(folds, weights=sizes, minlength=3)
    assert filled.max() - filled.min() <= max(sizes)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_every_group_gets_a_fold_and_balance_is_not_worse_than_a_deal(data: st.DataObject) -> None:
    n_groups, n_labels = data.draw(st.integers(6, 30)), data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    counts = rng.integers(0, 6, (n_groups, n_labels))
    counts[:, 0] += 1
    folds = stratify_groups(counts, counts.sum(axis=1), 3, 0)
    assert folds.shape == (n_groups,) and folds.min() >= 0 and folds.max() <= 2

    def unevenness(assigned: np.ndarray) -> float:
        sums = np.array([counts[assigned == fold].sum(axis=0) for fold in range(3)])
        return float(((sums - counts.sum(axis=0) / 3) ** 2 / np.maximum(counts.sum(axis=0), 1)).sum())

    deals = [unevenness(rng.permutation(n_groups) % 3) for _ in range(20)]
    assert unevenness(folds) <= np.median(deals)


def test_more_groups_than_are_exchanged() -> None:
    n_groups = EXCHANGED_GROUPS + 10
    counts = np.eye(4, dtype=np.int64)[np.arange(n_groups) % 4]
    folds = stratify_groups(counts, np.ones(n_groups, dtype=np.int64), 5, 0)
    sums = np.array([counts[folds == fold].sum(axis=0) for fold in range(5)])
    assert np.ptp(sums, axis=0).max() <= 1
