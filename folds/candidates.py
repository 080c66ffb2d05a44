"""Candidate pairs out of descriptors: blocked matrix products, the few best partners of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from folds.descriptors import (
    layout_descriptor,
    perceptual_hash,
    spectrum_descriptor,
    unit_rows,
    window_descriptors,
)

PARTNERS = 6
LEAST = {"layout": 0.85, "spectrum": 0.25, "window": 0.85, "hash": 0.75}
BUCKETS = 512
PROBES = 24
SEARCHES = 4
_BLOCK = 1024


def _product_rows(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, cosines (rows, N)) block after block."""
    for start in range(0, len(vectors), _BLOCK):
        yield start, vectors[start : start + _BLOCK] @ vectors.T


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


def _centres(vectors: np.ndarray, count: int) -> np.ndarray:
    """`(count, D)` unit vectors that the rows gather round: a few rounds of spherical k-means on a sample."""
    sample = vectors[:: max(1, len(vectors) // (100 * count))]
    centres = sample[:: max(1, len(sample) // count)][:count]
    for _ in range(5):
        nearest = (sample @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        centres = np.where(np.abs(sums).sum(axis=1, keepdims=True) > 0, unit_rows(sums), centres)
    return centres


def _window_pairs(windows: np.ndarray, corners: np.ndarray, least: float, partners: int) -> np.ndarray:
    """Pairs `(P, 2)`, smaller first, of images of which a corner of one looks like some window of the other.

    windows `(49, N, D)`, corners `(2, N, D)`. The windows lie in buckets round common centres, and a corner
    is compared with those in its `PROBES` nearest buckets only: most of the 98 N² products are never made.
    """
    count, size = windows.shape[1], windows.shape[2]
    flat, queries = windows.reshape(-1, size), corners.reshape(-1, size)
    centres = _centres(flat, max(1, min(BUCKETS, len(flat) // 1000)))
    probes = min(PROBES, len(centres))
    bucket = np.concatenate([(part @ centres.T).argmax(axis=1) for part in np.array_split(flat, 49)])
    bucket[np.abs(flat).sum(axis=1) == 0] = -1
    probed = np.argsort(-(queries @ centres.T), axis=1, kind="stable")[:, :probes]
    probed[np.abs(queries).sum(axis=1) == 0] = -1
    found = [np.empty((0, 3))]
    for number in range(len(centres)):
        members = np.flatnonzero(bucket == number)
        askers = np.flatnonzero((probed == number).any(axis=1))
        for part in np.array_split(askers, 1 + len(askers) * len(members) // 20_000_000):
            found.append(_bucket_hits(queries, flat, part, members, count, least, 2 * partners))
    hits = np.concatenate(found)
    hits = hits[np.lexsort((hits[:, 1], -hits[:, 2], hits[:, 0]))]
    _, once = np.unique(hits[:, :2], axis=0, return_index=True)
    hits = hits[np.sort(once)]
    rank = np.arange(len(hits)) - np.searchsorted(hits[:, 0], hits[:, 0], side="left")
    return np.unique(np.sort(hits[rank < partners, :2].astype(np.int64), axis=1), axis=0)


def _bucket_hits(
    queries: np.ndarray,
    windows: np.ndarray,
    askers: np.ndarray,
    members: np.ndarray,
    count: int,
    least: float,
    most: int,
) -> np.ndarray:
    """`(H, 3)` image of the query, image of the window, cosine: at most `most` for each query."""
    if not len(askers) or not len(members):
        return np.empty((0, 3))
    cosines = queries[askers] @ windows[members].T
    cosines[(askers[:, None] % count) == (members[None, :] % count)] = -2
    busy = np.flatnonzero((cosines >= least).any(axis=1))
    cosines = cosines[busy]
    k = min(most, len(members))
    top = np.argpartition(cosines, len(members) - k, axis=1)[:, len(members) - k :]
    values = np.take_along_axis(cosines, top, axis=1)
    row, col = np.nonzero(values >= least)
    return np.stack([askers[busy][row] % count, members[top[row, col]] % count, values[row, col]], axis=1)


def candidate_pairs(
    thumbnails: np.ndarray, *, partners: int = PARTNERS, searched: Callable[[], None] | None = None
) -> np.ndarray:
    """Pairs `(P, 2)` int64 of rows, smaller first, in order, that may show the same thing.

    thumbnails: `(N, 64, 64)` uint8. Four searches, each bringing at most `partners` of every image: layout
    (another exposure), perceptual hash, spectrum (small shifts), windows (shifts up to 3/8 of the side). N²
    scalar products of short vectors, in blocks of about 80 MB for 20,000 images. `searched` is called after
    each of the SEARCHES searches.
    """
    if len(thumbnails) < 2:
        return np.empty((0, 2), dtype=np.int64)
    signs = np.where(perceptual_hash(thumbnails), 1, -1).astype(np.float32) / np.sqrt(63)
    searches: list[Callable[[], np.ndarray]] = [
        lambda: _best_partners(_product_rows(layout_descriptor(thumbnails)), LEAST["layout"], partners),
        lambda: _best_partners(_product_rows(signs.astype(np.float32)), LEAST["hash"], partners),
        lambda: _best_partners(_product_rows(spectrum_descriptor(thumbnails)), LEAST["spectrum"], partners),
        lambda: _window_pairs(*window_descriptors(thumbnails), LEAST["window"], partners),
    ]
    assert len(searches) == SEARCHES
    pairs = []
    for search in searches:
        pairs.append(search())
        if searched is not None:
            searched()
    return np.unique(np.concatenate(pairs), axis=0)
