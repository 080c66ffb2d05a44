"""Near duplicates among thumbnails: candidates by short descriptors, each verified by correlation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import pandas as pd

from folds.candidates import SEARCHES, candidate_pairs
from folds.descriptors import SIDE, perceptual_hash, taper

LEAST_CONTRAST = 2.0
LEAST_UNMOVED = 0.5
LEAST_MOVED = 0.65
LEAST_AREA = 0.3
UNMOVED = 2
MOST_SHIFT = 26
SOFT_CONTRAST = 2.0
LEAST_POWER = 0.02
_SMOOTH = 9

Progress = Callable[[int, int], None]


def check_thumbnails(thumbnails: np.ndarray, count: int) -> np.ndarray:
    """The thumbnails, or ValueError where they are not `(count, 64, 64)` uint8."""
    if thumbnails.shape != (count, SIDE, SIDE) or thumbnails.dtype != np.uint8:
        raise ValueError(
            f"thumbnails are {thumbnails.shape} {thumbnails.dtype}, expected ({count}, {SIDE}, {SIDE}) "
            "uint8: one for "
            "every row of the inventory; make the inventory anew"
        )
    return thumbnails


def has_contrast(thumbnails: np.ndarray) -> np.ndarray:
    """Bool `(N,)`: standard deviation of at least 2 grey levels. Flat images correlate with none, or all."""
    return np.asarray(thumbnails.reshape(len(thumbnails), SIDE * SIDE).std(axis=1) >= LEAST_CONTRAST)


def _local_mean(images: np.ndarray) -> np.ndarray:
    """Mean over 9×9 pixels, the edge repeated; `(N, 64, 64)` float32."""
    n, reach = _SMOOTH, _SMOOTH // 2
    sums = np.pad(images, ((0, 0), (reach + 1, reach), (reach + 1, reach)), mode="edge")
    sums[:, 0], sums[:, :, 0] = 0, 0
    sums = sums.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    total = sums[:, n:, n:] - sums[:, :-n, n:] - sums[:, n:, :-n] + sums[:, :-n, :-n]
    return np.asarray((total / n**2).astype(np.float32))


def detail(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fine structure `(N, 64, 64)` float32 of thumbnails, and where there is any, bool `(N, 64, 64)`.

    Fine is the thumbnail less its 9×9 mean, over its local contrast plus 2 grey levels: scenes of one kind
    share their layout (sky above road, one bright line on a dull ground), not this.
    """
    images = thumbnails.astype(np.float32)
    fine = images - _local_mean(images)
    contrast = np.sqrt(np.maximum(_local_mean(fine * fine), 0))
    return fine / (contrast + SOFT_CONTRAST), contrast >= SOFT_CONTRAST


def best_shifts(detail_a: np.ndarray, detail_b: np.ndarray) -> np.ndarray:
    """`(P, 2)` int64 rows, columns: b at p + shift looks like a at p; the peak of the cross-correlation."""
    window = taper(0.3)
    product = np.conj(np.fft.rfft2(detail_a * window)) * np.fft.rfft2(detail_b * window)
    peaks = np.fft.irfft2(product, s=(SIDE, SIDE))
    reach = np.abs(np.fft.fftfreq(SIDE) * SIDE) <= MOST_SHIFT
    peaks = np.where(reach[:, None] & reach[None, :], peaks, -np.inf).reshape(len(peaks), SIDE * SIDE)
    shifts = np.stack(np.unravel_index(peaks.argmax(axis=1), (SIDE, SIDE)), axis=1)
    return np.asarray((shifts + SIDE // 2) % SIDE - SIDE // 2)


def _moved(b: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """b at p + shift for every p, and whether that lies inside: both `(P, 64, 64)`."""
    at = np.arange(SIDE)
    rows, cols = at[None, :] + shifts[:, :1], at[None, :] + shifts[:, 1:]
    inside = ((rows >= 0) & (rows < SIDE))[:, :, None] & ((cols >= 0) & (cols < SIDE))[:, None, :]
    rows, cols = np.clip(rows, 0, SIDE - 1)[:, :, None], np.clip(cols, 0, SIDE - 1)[:, None, :]
    return b[np.arange(len(b))[:, None, None], rows, cols], inside


def overlap_correlation(a: np.ndarray, b: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation `(P,)` in -1..1 of a at p with b at p + shift, over the pixels both have.

    a, b: `(P, 64, 64)` float32; shifts `(P, 2)` rows, columns. 0 where the overlap of either has no contrast.
    """
    moved, inside = _moved(b, shifts)
    weight = inside.astype(np.float32)
    count = np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1)
    a = (a - (a * weight).sum(axis=(1, 2), keepdims=True) / count) * weight
    moved = (moved - (moved * weight).sum(axis=(1, 2), keepdims=True) / count) * weight
    power_a, power_b = np.einsum("pij,pij->p", a, a), np.einsum("pij,pij->p", moved, moved)
    least = LEAST_POWER * count[:, 0, 0]
    clear = (power_a > least) & (power_b > least)
    product = np.einsum("pij,pij->p", a, moved)
    return np.where(clear, product / np.sqrt(np.where(clear, power_a * power_b, 1)), 0)


def measure_pairs(
    thumbnails: np.ndarray, pairs: np.ndarray, *, measured: Callable[[float], None] | None = None
) -> pd.DataFrame:
    """How alike the two of each pair `(P, 2)` are, where they fit best (unmoved, or at the found shift).

    Columns a, b (rows of the thumbnails), shift_rows, shift_cols (thumbnail pixels), layout and detail
    (correlation of the grey levels, and of the fine structure, over the overlap), area (share of the
    thumbnail where the two overlap and both have fine structure), hash_distance (0..63). `measured` is told
    the share that is done, 0 to 1.
    """
    hashes, parts = perceptual_hash(thumbnails), []
    fine, rich = np.empty(thumbnails.shape, dtype=np.float16), np.empty(thumbnails.shape, dtype=bool)
    for start in range(0, len(thumbnails), 256):
        fine[start : start + 256], rich[start : start + 256] = detail(thumbnails[start : start + 256])
    for start in range(0, max(len(pairs), 1), 256):
        a, b = pairs[start : start + 256].T
        fine_a, fine_b = fine[a].astype(np.float32), fine[b].astype(np.float32)
        shifts = best_shifts(fine_a, fine_b)
        moved = overlap_correlation(fine_a, fine_b, shifts)
        unmoved = overlap_correlation(fine_a, fine_b, np.zeros_like(shifts))
        shifts[unmoved >= moved] = 0
        grey_a, grey_b = thumbnails[a].astype(np.float32), thumbnails[b].astype(np.float32)
        rich_b, inside = _moved(rich[b], shifts)
        columns = {
            "a": a,
            "b": b,
            "shift_rows": shifts[:, 0],
            "shift_cols": shifts[:, 1],
            "layout": overlap_correlation(grey_a, grey_b, shifts),
            "detail": np.maximum(moved, unmoved),
            "area": (rich[a] & rich_b & inside).mean(axis=(1, 2)),
            "hash_distance": (hashes[a] != hashes[b]).sum(axis=1),
        }
        parts.append(pd.DataFrame(columns))
        if measured is not None:
            measured(min(1.0, (start + 256) / max(len(pairs), 1)))
    return pd.concat(parts, ignore_index=True)


def find_near_duplicates(
    thumbnails: np.ndarray,
    *,
    least_unmoved: float = LEAST_UNMOVED,
    least_moved: float = LEAST_MOVED,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Pairs of thumbnails `(N, 64, 64)` uint8 that show the same thing, with `moved` (bool).

    A pair counts when its fine structure correlates by `least_unmoved` (by `least_moved` where the shift is
    more than 2 pixels: there are many more ways to fit by chance) over at least 0.3 of the thumbnail. Where
    there is less structure than that, only unmoved, with a detail of 0.8 and a layout of 0.95. Flat images
    are left out. Not found: rotated or mirrored copies, other magnifications, shifts beyond 3/8 of the
    side. The thresholds are calibrated on seismic sections, road video, brain MRI, H&E and fluorescence
    (see benchmarks). `progress` is told (images done, of how many): a share of them after each search, and
    while pairs are measured.
    """
    rows, number = np.flatnonzero(has_contrast(thumbnails)), count(1)

    def reached(share: float) -> None:
        if progress is not None:
            progress(int(len(thumbnails) * share), len(thumbnails))

    pairs = candidate_pairs(thumbnails[rows], searched=lambda: reached(next(number) / (SEARCHES + 1)))
    table = measure_pairs(thumbnails[rows], pairs, measured=lambda share: reached((SEARCHES + share) / (SEARCHES + 1)))
    reach = table[["shift_rows", "shift_cols"]].abs().max(axis=1)
    table["moved"] = reach > UNMOVED
    least = np.where(table["moved"], least_moved, least_unmoved)
    counts = (table["detail"] >= least) & (table["area"] >= LEAST_AREA)
    counts |= ~table["moved"] & (table["detail"] >= 0.8) & (table["layout"] >= 0.95)
    found = table[counts].reset_index(drop=True)
    return found.assign(a=rows[found["a"].to_numpy(dtype=int)], b=rows[found["b"].to_numpy(dtype=int)])
