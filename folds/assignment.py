"""Groups to folds, by size alone or by many labels at once. Arrays in, fold numbers out."""

from __future__ import annotations

import hashlib

import numpy as np

EXCHANGED_GROUPS = 2000
EXCHANGE_PASSES = 5


def stable_number(*parts: object) -> int:
    """A 63-bit number out of the text of `parts`: the same on every platform, in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def _largest_first(weights: np.ndarray, priority: np.ndarray) -> np.ndarray:
    """Order by size class (powers of two), largest first; inside a class by `priority`: seeds differ."""
    return np.lexsort((priority, -np.floor(np.log2(np.maximum(weights, 1)))))


def spread_groups(sizes: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Fold `(G,)` int64 of groups with `sizes` `(G,)` images: large groups first, each to the smallest fold.

    scikit-learn's `GroupKFold` either ignores the seed or, shuffled, the sizes; this one respects both.
    """
    rng = np.random.default_rng(seed)
    priority, preference = rng.permutation(len(sizes)), rng.permutation(n_folds)
    filled = np.zeros(n_folds, dtype=np.int64)
    folds = np.empty(len(sizes), dtype=np.int64)
    for group in _largest_first(sizes, priority):
        folds[group] = np.lexsort((preference, filled))[0]
        filled[folds[group]] += sizes[group]
    return folds


def stratify_groups(counts: np.ndarray, sizes: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Fold `(G,)` int64 of groups holding `counts` `(G, L)` images of each label and `sizes` `(G,)` images.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    2011): the label with the fewest images still unassigned is dealt out first. Extended to groups: a group
    carries many labels at once, so it goes to the fold where it lowers the summed squared distance to the
    wanted counts most, every label weighted by one over its total.
    """
    rng = np.random.default_rng(seed)
    priority, preference = rng.permutation(len(sizes)), rng.permutation(n_folds)
    amounts = np.concatenate([counts, sizes[:, None]], axis=1).astype(np.float64)
    totals = amounts.sum(axis=0)
    weights = 1.0 / np.maximum(totals, 1)
    wanted = np.tile(totals / n_folds, (n_folds, 1))
    remaining = counts.sum(axis=0).astype(np.int64)
    folds = np.full(len(sizes), -1, dtype=np.int64)
    while (folds < 0).any():
        label = int(np.argmin(np.where(remaining > 0, remaining, np.iinfo(np.int64).max)))
        members = np.flatnonzero((folds < 0) & (counts[:, label] > 0))
        for group in members[_largest_first(counts[members, label], priority[members])]:
            gain = np.round(wanted @ (weights * amounts[group]), 12)
            fold = np.lexsort((preference, -gain))[0]
            folds[group] = fold
            wanted[fold] -= amounts[group]
            remaining -= counts[group]
    if len(sizes) <= EXCHANGED_GROUPS:
        _exchange(amounts, weights, wanted, folds, rng.permutation(len(sizes)))
    return folds


def _exchange(
    amounts: np.ndarray, weights: np.ndarray, wanted: np.ndarray, folds: np.ndarray, order: np.ndarray
) -> None:
    """Swap or move groups while that lowers the weighted squared distance; changes `wanted` and `folds`.

    amounts `(G, L)`, weights `(L,)`, wanted `(F, L)`: what each fold still lacks, folds `(G,)`, order `(G,)`.
    A move is a swap with an empty group, of which every fold has one.
    """
    n_groups, n_folds = len(folds), len(wanted)
    others = np.concatenate([amounts, np.zeros_like(wanted)])
    for _ in range(EXCHANGE_PASSES):
        changed = False
        for group in order:
            places = np.concatenate([folds, np.arange(n_folds)])
            here = folds[group]
            given = amounts[group] - others
            change = (weights * given * (given + wanted[here] - wanted[places])).sum(axis=1)
            best = int(np.argmin(np.where(places == here, 0.0, np.round(change, 12))))
            if change[best] >= -1e-9 or (best >= n_groups and (folds == here).sum() == 1):
                continue
            there = places[best]
            wanted[here] += given[best]
            wanted[there] -= given[best]
            folds[group] = there
            if best < n_groups:
                folds[best] = here
            changed = True
        if not changed:
            return
