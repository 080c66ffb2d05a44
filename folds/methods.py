"""The assignments behind the splitters: groups and stratum levels in, a fold number for every image out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from folds.assignment import spread_groups, stratify_groups
from folds.strata import indicator_matrix, joined


def _by_sklearn(splitter: Any, y: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    fold = np.full(len(y), -1, dtype=np.int64)
    with warnings.catch_warnings():  # a stratum rarer than the folds: seen in the balance report, not in a warning
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, validation) in enumerate(splitter.split(y, y, groups)):
            fold[validation] = number
    return fold


def _codes(values: np.ndarray, kind: str, n_folds: int) -> np.ndarray:
    """Values as numbers in sorted order; ValueError where there are fewer of them than folds."""
    codes, names = pd.factorize(values, sort=True)
    if len(names) < n_folds:
        raise ValueError(
            f"found {len(names)} {kind}, expected at least n_folds = {n_folds}; use fewer folds or a finer grouping"
        )
    return codes


def _kfold(groups: np.ndarray, levels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import KFold

    codes = _codes(groups, "images", n_folds)
    return _by_sklearn(KFold(n_folds, shuffle=True, random_state=seed), codes, None)


def _stratum_codes(levels: pd.DataFrame, n_folds: int) -> np.ndarray:
    codes, names = pd.factorize(joined(levels), sort=True)
    sizes = np.bincount(codes)
    if sizes.max() < n_folds:
        raise ValueError(
            f"all of the {len(names)} strata have fewer than n_folds = {n_folds} images (largest: {sizes.max()}); use "
            "fewer strata columns, fewer bins or 'multilabel_stratified_group'"
        )
    return codes


def _stratified(groups: np.ndarray, levels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return _by_sklearn(splitter, _stratum_codes(levels, n_folds), None)


def _stratified_group(groups: np.ndarray, levels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    codes = _codes(groups, "groups", n_folds)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    return _by_sklearn(splitter, _stratum_codes(levels, n_folds), codes)


def _group(groups: np.ndarray, levels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    codes = _codes(groups, "groups", n_folds)
    return spread_groups(np.bincount(codes), n_folds, seed)[codes]


def _multilabel(groups: np.ndarray, levels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    codes = _codes(groups, "groups", n_folds)
    indicators = indicator_matrix(levels)
    counts = np.zeros((codes.max() + 1, indicators.shape[1]), dtype=np.int64)
    np.add.at(counts, codes, indicators)
    return stratify_groups(counts, np.bincount(codes), n_folds, seed)[codes]


def _leave_one_group_out(groups: np.ndarray, levels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import LeaveOneGroupOut

    codes = _codes(groups, "groups", n_folds)
    if codes.max() + 1 != n_folds:
        raise ValueError(
            f"method 'leave_one_group_out': found {codes.max() + 1} groups but n_folds = {n_folds}, expected a fold a "
            f"group; set n_folds to {codes.max() + 1}"
        )
    return _by_sklearn(LeaveOneGroupOut(), codes, codes)


# Called as f(groups (N,) of str, levels (N, columns), n_folds, seed) -> fold (N,) int64.
ASSIGN: dict[str, Callable[[np.ndarray, pd.DataFrame, int, int], np.ndarray]] = {
    "kfold": _kfold,
    "stratified": _stratified,
    "group": _group,
    "stratified_group": _stratified_group,
    "multilabel_stratified_group": _multilabel,
    "leave_one_group_out": _leave_one_group_out,
}
