"""Near duplicates among thumbnails: candidates by short descriptors, each verified by correlation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import pandas as pd

from folds.candidates import SEARCHES, Candidates, candidate_pairs
from folds.descriptors import SIDE, taper, turned

LEAST_CONTRAST = 2.0
LEAST_UNMOVED = 0.55
LEAST_MOVED = 0.65
LEAST_AREA = 0.3
LEAST_CHANGED_AREA = 0.5
UNMOVED = 2
MOST_SHIFT = 26
SOFT_CONTRAST = 2.0
LEAST_POWER = 0.02
ZOOM_TRIED = (-2, 0, 2)
_SMOOTH = 9
_COMMON = 2

Progress = Callable[[int, int], None]


def check_thumbnails(thumbnails: np.ndarray, count: int) -> np.ndarray:
    """The thumbnails, or ValueError where they are not `(count, 64, 64)` uint8."""
    if thumbnails.shape != (count, SIDE, SIDE) or thumbnails.dtype != np.uint8:
        raise ValueError(
            f"thumbnails are {thumbnails.shape} {thumbnails.dtype}, expected ({count}, {SIDE}, {SIDE}) uint8: one for "
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


def enlarged(images: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The parts of images `(P, 64, 64)` in boxes `(P, 4)` top, left, height, width, brought to 64×64 (bilinear)."""
    rows, cols = _samples(boxes[:, 0], boxes[:, 2]), _samples(boxes[:, 1], boxes[:, 3])
    return np.asarray(rows @ images.astype(np.float32) @ cols.transpose(0, 2, 1))


def _samples(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """`(P, 64, 64)` float32 weights: row i takes the pixels round the middle of the i-th of 64 equal parts."""
    middles = start[:, None] + (np.arange(SIDE) + 0.5)[None, :] * (length[:, None] / SIDE) - 0.5
    middles = np.clip(middles, 0, SIDE - 1)[:, :, None]
    return np.asarray(np.clip(1 - np.abs(middles - np.arange(SIDE)), 0, None).astype(np.float32))


def _tried(candidates: Candidates) -> Candidates:
    """The candidates, an enlarged part also a little smaller and a little larger."""
    part = (candidates.boxes[:, 2:] < SIDE).any(axis=1)
    tried = [Candidates(candidates.pairs[~part], candidates.turns[~part], candidates.boxes[~part])]
    for more in ZOOM_TRIED:
        sizes = candidates.boxes[part, 2:]
        new = np.where(sizes < SIDE, sizes + more, sizes)
        corners = np.clip(candidates.boxes[part, :2] - (new - sizes) // 2, 0, SIDE - new)
        tried.append(Candidates(candidates.pairs[part], candidates.turns[part], np.hstack([corners, new])))
    return Candidates(
        np.concatenate([each.pairs for each in tried]),
        np.concatenate([each.turns for each in tried]),
        np.concatenate([each.boxes for each in tried]),
    )


def measure_pairs(
    thumbnails: np.ndarray, candidates: Candidates, *, measured: Callable[[float], None] | None = None
) -> pd.DataFrame:
    """How alike the two of each candidate are, where they fit best (unmoved, or at the found shift).

    Columns a, b (rows of the thumbnails), turn, zoom (thumbnail side over the mean side of the part of a; 1: the
    whole), shift_rows, shift_cols (thumbnail pixels), layout (correlation of the grey levels over the overlap), detail
    (of the fine structure less what the set has in common there: the mean over the other images, so that a frame, a
    bright disc or a scale bar in all of them is no evidence), area (share of the thumbnail where the two overlap and
    both have fine structure). An enlarged part is measured at three sizes, a row each. `measured` is told the share
    that is done, 0 to 1.
    """
    candidates = _tried(candidates)
    fine, rich = np.empty(thumbnails.shape, dtype=np.float16), np.empty(thumbnails.shape, dtype=bool)
    total = np.zeros((SIDE, SIDE), dtype=np.float64)
    for start in range(0, len(thumbnails), 256):
        fine[start : start + 256], rich[start : start + 256] = detail(thumbnails[start : start + 256])
        total += fine[start : start + 256].sum(axis=0, dtype=np.float64)
    chunks, parts, done = _alike(candidates), [], 0
    for rows in chunks:
        parts.append(_measure(thumbnails, fine, rich, total, _chosen(candidates, rows)))
        done += len(rows)
        if measured is not None:
            measured(done / len(candidates.pairs) if len(candidates.pairs) else 1.0)
    return pd.concat(parts, ignore_index=True)


def _alike(candidates: Candidates) -> list[np.ndarray]:
    """Rows of at most 256 candidates that are turned alike and all parts, or all whole; one empty chunk of none."""
    kinds = 2 * candidates.turns + (candidates.boxes[:, 2:] < SIDE).any(axis=1)
    chunks = []
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        chunks += [rows[start : start + 256] for start in range(0, len(rows), 256)]
    return chunks or [np.arange(0)]


def _chosen(candidates: Candidates, rows: np.ndarray) -> Candidates:
    return Candidates(candidates.pairs[rows], candidates.turns[rows], candidates.boxes[rows])


def _measure(
    thumbnails: np.ndarray, fine: np.ndarray, rich: np.ndarray, total: np.ndarray, candidates: Candidates
) -> pd.DataFrame:
    """The rows of some candidates that are turned alike, and either all parts or all whole."""
    (a, b), boxes = candidates.pairs.T, candidates.boxes
    turn = int(candidates.turns[0]) if len(a) else 0
    grey_a, grey_b = thumbnails[a].astype(np.float32), turned(thumbnails[b], turn).astype(np.float32)
    common = ((total - fine[a].astype(np.float32) - fine[b]) / (len(fine) - 2 + _COMMON)).astype(np.float32)
    fine_a, rich_a = fine[a].astype(np.float32) - common, rich[a]
    if (boxes[:, 2:] < SIDE).any():
        grey_a = enlarged(grey_a, boxes)
        fine_a, rich_a = detail(grey_a)
        fine_a = fine_a - enlarged(common, boxes)
    fine_b, rich_b = turned(fine[b], turn).astype(np.float32) - common, turned(rich[b], turn)
    shifts = best_shifts(fine_a, fine_b)
    moved = overlap_correlation(fine_a, fine_b, shifts)
    unmoved = overlap_correlation(fine_a, fine_b, np.zeros_like(shifts))
    shifts[unmoved >= moved] = 0
    rich_b, inside = _moved(rich_b, shifts)
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "turn": candidates.turns,
            "zoom": 2 * SIDE / boxes[:, 2:].sum(axis=1),
            "shift_rows": shifts[:, 0],
            "shift_cols": shifts[:, 1],
            "layout": overlap_correlation(grey_a, grey_b, shifts),
            "detail": np.maximum(moved, unmoved),
            "area": (rich_a & rich_b & inside).mean(axis=(1, 2)),
        }
    )


def find_near_duplicates(thumbnails: np.ndarray, *, progress: Progress | None = None) -> pd.DataFrame:
    """Pairs a < b of thumbnails `(N, 64, 64)` uint8 that show the same thing; the columns of `measure_pairs` and kind.

    kind: 'near' (the same place), 'shifted' (by more than 2 pixels), 'turned' (by quarter turns, or mirrored) or
    'rescaled' (one is a part of the other, magnified by up to 1.45). A pair counts when its fine structure, less what
    the set has in common, correlates by 0.55 where it is near, by 0.65 elsewhere (there are more
    ways to fit by chance), over at least 0.3 of the thumbnail, 0.5 where it is turned or rescaled. Where there is less
    structure than that, only near, with a detail of 0.8 and a layout of 0.95. Flat images are left out. Not found:
    turned *and* moved copies, greater magnifications, shifts beyond 3/8 of the side. The thresholds are calibrated on
    seismic sections, road video, brain MRI, H&E, fluorescence and aligned drawings (see benchmarks). `progress` is
    told (images done, of how many): a share of them after each search, and while pairs are measured.
    """
    rows, number = np.flatnonzero(has_contrast(thumbnails)), count(1)

    def reached(share: float) -> None:
        if progress is not None:
            progress(int(len(thumbnails) * share), len(thumbnails))

    pairs = candidate_pairs(thumbnails[rows], searched=lambda: reached(next(number) / (SEARCHES + 1)))
    table = measure_pairs(thumbnails[rows], pairs, measured=lambda share: reached((SEARCHES + share) / (SEARCHES + 1)))
    kinds = [table["turn"] > 0, table["zoom"] > 1, table[["shift_rows", "shift_cols"]].abs().max(axis=1) > UNMOVED]
    table["kind"] = np.select(kinds, ["turned", "rescaled", "shifted"], "near")
    near = table["kind"] == "near"
    area = np.where(table["kind"].isin(["turned", "rescaled"]), LEAST_CHANGED_AREA, LEAST_AREA)
    counts = (table["detail"] >= np.where(near, LEAST_UNMOVED, LEAST_MOVED)) & (table["area"] >= area)
    counts |= near & (table["detail"] >= 0.8) & (table["layout"] >= 0.95)
    found = _once(table[counts])
    return found.assign(a=rows[found["a"].to_numpy(dtype=int)], b=rows[found["b"].to_numpy(dtype=int)])


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Each pair once, a < b, in order: as it is before turned or enlarged, then the better fit."""
    plain = table["kind"].isin(["near", "shifted"])
    ordered = table.assign(plain=~plain, a=table[["a", "b"]].min(axis=1), b=table[["a", "b"]].max(axis=1))
    ordered = ordered.sort_values(["a", "b", "plain", "detail"], ascending=[True, True, True, False], kind="stable")
    return ordered.drop_duplicates(["a", "b"]).drop(columns="plain").reset_index(drop=True)
