"""Candidate pairs out of descriptors: blocked matrix products, the few best partners of every image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from folds.descriptors import layout_descriptor, perceptual_hash, spectrum_descriptor, window_descriptors

PARTNERS = 6
LEAST = {"layout": 0.85, "spectrum": 0.25, "window": 0.85, "hash": 0.75}
_BLOCK = 1024


def _product_rows(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, cosines (rows, N)) block after block."""
    for start in range(0, len(vectors), _BLOCK):
        yield start, vectors[start : start + _BLOCK] @ vectors.T


def _window_rows(windows: np.ndarray, corners: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, best cosine (rows, N) of either corner of a with any window of b) block after block."""
    count = windows.shape[1]
    for start in range(0, count, _BLOCK):
        best = np.full((min(_BLOCK, count - start), count), -1, dtype=np.float32)
        for other in range(0, count, _BLOCK):
            target = best[:, other : other + _BLOCK]
            tile = np.ascontiguousarray(target)
            product = np.empty_like(tile)
            for corner in corners:
                query = corner[start : start + _BLOCK]
                for window in windows:
                    np.matmul(query, window[other : other + _BLOCK].T, out=product)
                    np.maximum(tile, product, out=tile)
            target[...] = tile
        yield start, best


def _best_partners(rows: Iterator[tuple[int, np.ndarray]], least: float, partners: int) -> np.ndarray:
    """Pairs `(P, 2)`, smaller row first: every image's `partners` most similar ones that reach `least`."""
    found = []
    for start, cosines in rows:
        count = cosines.shape[1]
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -2
        k = min(partners, count - 1)
        top = np.argpartition(cosines, count - k, axis=1)[:, count - k :]
        enough = np.take_along_axis(cosines, top, axis=1) >= least
        a = np.repeat(start + np.arange(len(cosines)), k)[enough.ravel()]
        found.append(np.sort(np.stack([a, top.ravel()[enough.ravel()]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def candidate_pairs(thumbnails: np.ndarray, *, partners: int = PARTNERS) -> np.ndarray:
    """Pairs `(P, 2)` int64 of rows, smaller first, in order, that may show the same thing.

    thumbnails: `(N, 64, 64)` uint8. Four searches, each bringing at most `partners` of every image: layout
    (another exposure), perceptual hash, spectrum (small shifts), windows (shifts up to 3/8 of the side). N²
    scalar products of short vectors, in blocks of about 80 MB for 20,000 images.
    """
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64)
    signs = np.where(perceptual_hash(thumbnails), 1, -1).astype(np.float32) / np.sqrt(63)
    pairs = [
        _best_partners(_product_rows(layout_descriptor(thumbnails)), LEAST["layout"], partners),
        _best_partners(_product_rows(signs.astype(np.float32)), LEAST["hash"], partners),
        _best_partners(_product_rows(spectrum_descriptor(thumbnails)), LEAST["spectrum"], partners),
        _best_partners(_window_rows(*window_descriptors(thumbnails)), LEAST["window"], partners),
    ]
    return np.unique(np.concatenate(pairs), axis=0)
