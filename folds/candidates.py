"""Candidate pairs out of descriptors: blocked matrix products, the few best partners of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from folds.descriptors import (
    SIDE,
    layout_descriptors,
    spectrum_descriptor,
    unit_rows,
    window_descriptors,
    zoom_boxes,
    zoom_descriptors,
)

PARTNERS = 6
LEAST = {"layout": 0.6, "turned": 0.7, "spectrum": 0.25, "window": 0.85, "zoom": 0.85}
TURNS_SEARCHED = (1, 2, 4, 5, 6, 7)
BUCKETS = 512
PROBES = 24
SEARCHES = 4
_BLOCK = 1024


@dataclass(frozen=True)
class Candidates:
    """P pairs of images a and b that may show the same: how b is turned, and with which part of a it is compared.

    pairs `(P, 2)` rows a, b; turns `(P,)` 0..7 of b as in `turned`; boxes `(P, 4)` top, left, height, width in a. All
    int64. Where nothing is turned or enlarged a < b.
    """

    pairs: np.ndarray
    turns: np.ndarray
    boxes: np.ndarray


def _product_rows(vectors: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, cosines (rows, N)) block after block."""
    for start in range(0, len(vectors), _BLOCK):
        yield start, vectors[start : start + _BLOCK] @ others.T


def _best_partners(vectors: np.ndarray, others: np.ndarray, least: float) -> np.ndarray:
    """Pairs `(P, 2)`, row of `vectors`, row of `others`: the PARTNERS most similar ones that reach `least`."""
    found = []
    for start, cosines in _product_rows(vectors, others):
        count = cosines.shape[1]
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -2
        k = min(PARTNERS, count - 1)
        top = np.argpartition(cosines, count - k, axis=1)[:, count - k :]
        enough = np.take_along_axis(cosines, top, axis=1) >= least
        a = np.repeat(start + np.arange(len(cosines)), k)[enough.ravel()]
        found.append(np.stack([a, top.ravel()[enough.ravel()]], axis=1))
    return np.concatenate(found)


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


def _window_hits(windows: np.ndarray, corners: np.ndarray, least: float) -> np.ndarray:
    """`(H, 3)` int64 image asking, image answering, number of its window: the best of each two images, few an asker.

    windows `(W, N, D)`, corners (or whole images) that ask `(Q, N, D)`. The windows lie in buckets round common
    centres, and one that asks is compared with those in its `PROBES` nearest buckets only: most of the Q W N² products
    are never made.
    """
    count, size = windows.shape[1], windows.shape[2]
    flat, queries = windows.reshape(-1, size), corners.reshape(-1, size)
    centres = _centres(flat, max(1, min(BUCKETS, len(flat) // 1000)))
    probes = min(PROBES, len(centres))
    bucket = np.concatenate([(part @ centres.T).argmax(axis=1) for part in np.array_split(flat, len(windows))])
    bucket[np.abs(flat).sum(axis=1) == 0] = -1
    probed = np.argsort(-(queries @ centres.T), axis=1, kind="stable")[:, :probes]
    probed[np.abs(queries).sum(axis=1) == 0] = -1
    found = [np.empty((0, 4))]
    for number in range(len(centres)):
        members = np.flatnonzero(bucket == number)
        askers = np.flatnonzero((probed == number).any(axis=1))
        for part in np.array_split(askers, 1 + len(askers) * len(members) // 20_000_000):
            found.append(_bucket_hits(queries, flat, part, members, count, least, 2 * PARTNERS))
    hits = np.concatenate(found)
    hits = hits[np.lexsort((hits[:, 1], -hits[:, 2], hits[:, 0]))]
    _, once = np.unique(hits[:, :2], axis=0, return_index=True)
    hits = hits[np.sort(once)]
    rank = np.arange(len(hits)) - np.searchsorted(hits[:, 0], hits[:, 0], side="left")
    return np.asarray(hits[rank < PARTNERS][:, [0, 1, 3]].astype(np.int64))


def _bucket_hits(
    queries: np.ndarray,
    windows: np.ndarray,
    askers: np.ndarray,
    members: np.ndarray,
    count: int,
    least: float,
    most: int,
) -> np.ndarray:
    """`(H, 4)` image of the query, image and cosine and number of the window: at most `most` for each query."""
    if not len(askers) or not len(members):
        return np.empty((0, 4))
    cosines = queries[askers] @ windows[members].T
    cosines[(askers[:, None] % count) == (members[None, :] % count)] = -2
    busy = np.flatnonzero((cosines >= least).any(axis=1))
    cosines = cosines[busy]
    k = min(most, len(members))
    top = np.argpartition(cosines, len(members) - k, axis=1)[:, len(members) - k :]
    values = np.take_along_axis(cosines, top, axis=1)
    row, col = np.nonzero(values >= least)
    answer = members[top[row, col]]
    return np.stack([askers[busy][row] % count, answer % count, values[row, col], answer // count], axis=1)


def candidate_pairs(thumbnails: np.ndarray, *, searched: Callable[[], None] | None = None) -> Candidates:
    """Pairs of rows that may show the same thing, in order.

    thumbnails: `(N, 64, 64)` uint8. Four searches, each bringing at most PARTNERS of every image: layout (another
    exposure; and once more for each way to turn or mirror), spectrum (small shifts), windows (shifts up to 3/8 of the
    side), enlarged parts (magnified by up to 1.45). N² scalar products of short vectors, in blocks of about 80 MB for
    20,000 images. `searched` is called after each of the SEARCHES searches.
    """
    if len(thumbnails) < 2:
        return _joined([])
    searches: tuple[Callable[[np.ndarray], list[Candidates]], ...]
    searches = (_layout_search, _spectrum_search, _window_search, _zoom_search)
    assert len(searches) == SEARCHES
    found = []
    for search in searches:
        found += search(thumbnails)
        if searched is not None:
            searched()
    return _joined(found)


def _layout_search(thumbnails: np.ndarray) -> list[Candidates]:
    """The same place under another exposure, and turned by quarters or mirrored."""
    views = layout_descriptors(thumbnails)
    found = [_upright(_best_partners(views[0], views[0], LEAST["layout"]))]
    for turn in TURNS_SEARCHED:
        pairs = _best_partners(views[0], views[turn], LEAST["turned"])
        found.append(_upright(pairs, turn=turn))
    return found


def _spectrum_search(thumbnails: np.ndarray) -> list[Candidates]:
    spectra = spectrum_descriptor(thumbnails)
    return [_upright(_best_partners(spectra, spectra, LEAST["spectrum"]))]


def _window_search(thumbnails: np.ndarray) -> list[Candidates]:
    hits = _window_hits(*window_descriptors(thumbnails), LEAST["window"])
    return [_upright(hits[:, :2])]


def _zoom_search(thumbnails: np.ndarray) -> list[Candidates]:
    hits = _window_hits(*zoom_descriptors(thumbnails), LEAST["zoom"])
    return [Candidates(hits[:, 1::-1], np.zeros(len(hits), np.int64), zoom_boxes()[hits[:, 2]])]


def _upright(pairs: np.ndarray, turn: int = 0) -> Candidates:
    """Candidates whole against whole; the two of a pair in order where neither is turned."""
    pairs = pairs if turn else np.sort(pairs, axis=1)
    boxes = np.tile(np.array([0, 0, SIDE, SIDE]), (len(pairs), 1))
    return Candidates(pairs, np.full(len(pairs), turn, np.int64), boxes)


def _joined(found: list[Candidates]) -> Candidates:
    """All of them, each once, in order."""
    rows = [np.empty((0, 7), np.int64)]
    rows += [np.column_stack([each.pairs, each.turns, each.boxes]) for each in found]
    table = np.unique(np.concatenate(rows).astype(np.int64), axis=0)
    return Candidates(table[:, :2], table[:, 2], table[:, 3:])
