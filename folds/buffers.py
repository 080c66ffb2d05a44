"""Stacks of neighbouring slices or frames: contiguous slabs, and what lies too close to validation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from folds.assignment import stable_number


def slab_of(series: np.ndarray, z: np.ndarray, slabs: int) -> np.ndarray:
    """Number `(N,)` int64 of the contiguous slab of z an image lies in; every series is cut in `slabs`.

    Images of one series at the same z share a slab. series: `(N,)` of str; z: `(N,)` numbers (slice or time).
    """
    result = np.zeros(len(z), dtype=np.int64)
    for name in np.unique(series.astype(str)):
        rows = np.flatnonzero(series == name)
        positions, inverse = np.unique(z[rows], return_inverse=True)
        result[rows] = (np.arange(len(positions)) * slabs // len(positions))[inverse]
    return result


def slab_folds(series: np.ndarray, slab: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Fold `(N,)` int64: the slabs of a series are dealt out in turn, in an order of folds of its own.

    The order is drawn from the seed and the name of the series, so that not every bottom slab is in fold 0,
    with the emptiest folds first, so that short series do not all leave out the same one.
    """
    folds = np.empty(len(slab), dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    names = sorted(np.unique(series.astype(str)), key=lambda name: stable_number(seed, name))
    for name in names:
        rows = np.flatnonzero(series == name)
        tie = np.random.default_rng(stable_number(seed, name, "folds")).permutation(n_folds)
        order = np.lexsort((tie, filled))
        _, rank = np.unique(slab[rows], return_inverse=True)
        folds[rows] = order[rank % n_folds]
        filled += np.bincount(folds[rows], minlength=n_folds)
    return folds


def near_validation(series: np.ndarray, z: np.ndarray, fold: np.ndarray, buffer: float) -> list[set[int]]:
    """For every image, the other folds with a validation image within `buffer` of its z in its series."""
    near: list[set[int]] = [set() for _ in range(len(z))]
    order = np.argsort(series.astype(str), kind="stable")
    starts = np.flatnonzero(np.r_[True, series[order][1:] != series[order][:-1]])
    for rows in np.split(order, starts[1:]):
        for held_out in np.unique(fold[rows]):
            validation = np.sort(z[rows][fold[rows] == held_out])
            others = rows[fold[rows] != held_out]
            right = np.searchsorted(validation, z[others])
            above = validation[np.minimum(right, len(validation) - 1)]
            below = validation[np.maximum(right - 1, 0)]
            distance = np.minimum(np.abs(above - z[others]), np.abs(z[others] - below))
            for row in others[distance <= buffer]:
                near[row].add(int(held_out))
    return near


def folds_text(folds: set[int]) -> str:
    """The `excluded_from` spelling: fold numbers in order, joined by ';', '' for none."""
    return ";".join(str(fold) for fold in sorted(folds))


def folds_set(text: str) -> set[int]:
    """The inverse of `folds_text`."""
    return {int(part) for part in text.split(";")} if text else set()


def trained_rows(folds: pd.DataFrame, fold: int) -> pd.Series:
    """bool, row for row of a fold table: what fold `fold` trains on, of other folds and not kept apart from it."""
    apart = folds["excluded_from"].fillna("").astype(str).map(lambda text: fold in folds_set(text))
    return (folds["fold"] != fold) & ~apart.astype(bool)
