"""Scores at all 256 thresholds from one pass: the joint histogram of quantised probability and truth.

A probability is stored as q = round(255 p); a pixel is foreground at threshold t when q >= t, t = 0..255. The
histogram holds how many valid pixels of background (row 0) and foreground (row 1) have each q; its cumulative
sums from the top are the true and false positives of every threshold.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from submissions.machine_code import compiled
from submissions.metrics.base import checked_valid
from submissions.metrics.overlap import CountMetric

LEVELS = 256
_BLOCK = 1 << 22  # pixels a pass: bounds the buffers, and keeps 32-bit counters from overflowing


def joint_histogram(probs: np.ndarray, mask: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """int64 (2, 256): number of valid pixels with truth 0/1 and quantised probability q.

    `probs` uint8, `mask` and `valid` bool, all of one shape (H, W) or (Z, H, W). A memory map is read in
    blocks. Raises ValueError for another dtype or unequal shapes. Uses numba where it is installed, NumPy
    elsewhere, with equal results.
    """
    probs, mask = np.asanyarray(probs), np.asanyarray(mask)
    if probs.dtype != np.uint8:
        raise ValueError(f"probs has dtype {probs.dtype}, expected uint8: quantise as round(255 p)")
    if mask.dtype != np.bool_ or mask.shape != probs.shape:
        raise ValueError(f"mask is {mask.dtype} {mask.shape}, expected bool {probs.shape}")
    valid = checked_valid(valid, probs.shape)
    flat_probs, flat_mask = probs.reshape(-1), mask.reshape(-1)
    flat_valid = None if valid is None else valid.reshape(-1)
    count = compiled_counter() or count_pairs
    total = np.zeros((2, LEVELS), dtype=np.int64)
    for start in range(0, flat_probs.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        kind: np.ndarray = flat_mask[block].view(np.uint8)
        if flat_valid is not None:
            kind = kind | ((~flat_valid[block]).view(np.uint8) << 1)
        total += count(np.ascontiguousarray(flat_probs[block]), np.ascontiguousarray(kind))
    return total


def joint_histograms(probs: np.ndarray, planes: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """int64 (K, 2, 256) of probs uint8 (K, ...) and bool planes (K, ...); `valid` bool (...) is shared."""
    if len(probs) != len(planes):
        raise ValueError(f"{len(probs)} planes of probs, {len(planes)} of truth: expected as many")
    out = [joint_histogram(p, m, valid) for p, m in zip(probs, planes, strict=True)]
    return np.stack(out) if out else np.zeros((0, 2, LEVELS), dtype=np.int64)


def counts(hist: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """tp, fp, fn, tn, each int64 (..., 256), of the prediction q >= t for t = 0..255.

    `hist` (..., 2, 256) as `joint_histogram` makes it, or a sum of such.
    """
    hist = np.asarray(hist)
    if hist.shape[-2:] != (2, LEVELS):
        raise ValueError(f"histogram has shape {hist.shape}, expected (..., 2, {LEVELS})")
    above = np.cumsum(hist[..., ::-1], axis=-1)[..., ::-1]
    fp, tp = above[..., 0, :], above[..., 1, :]
    return tp, fp, tp[..., :1] - tp, fp[..., :1] - fp


def threshold_curve(metric: CountMetric, hists: np.ndarray, multiplicities: np.ndarray | None = None) -> np.ndarray:
    """Scores (256,) of N units at every threshold, one threshold for all classes; (B, 256) when resampled.

    `hists` int64 (N, K, 2, 256), `multiplicities` (B, N) as `submissions.metrics.intervals.resample` draws them. Each
    score equals that of `metric.rows(q >= t, ...)` and `metric.score`, bit for bit. ValueError for a metric
    that does not follow from pixel counts.
    """
    return _checked(metric).curve(*_per_threshold(hists), multiplicities)


def threshold_values(metric: CountMetric, hists: np.ndarray) -> np.ndarray:
    """Scores (N, 256) of each unit alone at every threshold, from `hists` (N, K, 2, 256)."""
    return _checked(metric).from_counts(*_per_threshold(hists))


def _checked(metric: Any) -> Any:
    if not isinstance(metric, CountMetric):
        name = getattr(metric, "name", metric)
        raise ValueError(f"{name} does not follow from pixel counts of each class: score it threshold by threshold")
    return metric


def _per_threshold(hists: np.ndarray) -> list[np.ndarray]:
    """tp, fp, fn, tn as (N, 256, K)."""
    hists = np.asarray(hists)
    if hists.ndim != 4:
        raise ValueError(f"histograms have shape {hists.shape}, expected (units, classes, 2, {LEVELS})")
    return [np.ascontiguousarray(np.moveaxis(count, 1, 2)) for count in counts(hists)]


def count_pairs(probs: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """int64 (2, 256) of uint8 (n,) probabilities and kinds (bit 0: truth, bit 1: void), by `np.bincount`."""
    code = kind.astype(np.uint16)
    code <<= 8
    code |= probs
    return np.bincount(code, minlength=4 * LEVELS)[: 2 * LEVELS].reshape(2, LEVELS)


def _count_words(probs: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """uint32 (4, 1024), to be added up: how often each kind and probability occur in uint64 (n,), eight pixels a word.

    Words that are background at probability 0 (most of an image) are only counted; the others go to four tables in
    turn, so that equal neighbours do not wait for each other's counter.
    """
    tables = np.zeros((4, 4 * LEVELS), dtype=np.uint32)
    even, odd = np.uint64(0x00FF00FF00FF00FF), np.uint64(0xFF00FF00FF00FF00)
    byte, lane, last, one = np.uint64(8), np.uint64(16), np.uint64(4 * LEVELS - 1), np.uint32(1)
    zeros = 0
    for i in range(probs.size):
        q, k = probs[i], kind[i]
        if q | k == 0:
            zeros += 8
            continue
        here = (q & even) | ((k & even) << byte)  # four lanes of 16 bits: kind above probability
        there = ((q & odd) >> byte) | (k & odd)
        for table in range(4):
            tables[table, here & last] += one
            tables[table, there & last] += one
            here >>= lane
            there >>= lane
    tables[0, 0] += np.uint32(zeros)
    return tables


@cache
def compiled_counter() -> Any:
    """`count_pairs` compiled, by words of eight pixels; None where numba is not installed."""
    try:
        count_words = compiled(_count_words)
    except ImportError:
        return None

    def count(probs: np.ndarray, kind: np.ndarray) -> np.ndarray:
        words = probs.size // 8 * 8
        tables = count_words(probs[:words].view(np.uint64), kind[:words].view(np.uint64))
        table = tables.sum(axis=0, dtype=np.int64)[: 2 * LEVELS].reshape(2, LEVELS)
        return table + count_pairs(probs[words:], kind[words:])

    return count
