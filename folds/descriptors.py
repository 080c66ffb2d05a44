"""Thumbnails as vectors: a large scalar product marks two images as worth comparing closely.

Thumbnails are `(N, 64, 64)` uint8; every descriptor is float32 with rows of length 1, so a product is a
cosine.
"""

from __future__ import annotations

import numpy as np

SIDE = 64
CELLS = 16
WINDOW = 10
WINDOW_DIMENSIONS = 32
LAYOUT_DIMENSIONS = 96
COMMON_DIRECTIONS = 20
TURNS = 8
ZOOMED = (60, 56, 52, 48, 44)
STRIPS = (56, 48)
ZOOM_STEP = 4
_SAMPLE = 60_000
_BLOCK = 512  # images described at once: the windows of all of them would take 80 kB an image


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 (float32); rows of zeros stay zeros."""
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6))


def cell_means(thumbnails: np.ndarray, cells: int) -> np.ndarray:
    """`(N, cells, cells)` float32 means over squares; `cells` divides 64."""
    step = SIDE // cells
    return np.asarray(thumbnails.reshape(len(thumbnails), cells, step, cells, step).mean(axis=(2, 4), dtype=np.float32))


def turned(images: np.ndarray, turn: int) -> np.ndarray:
    """Square images `(N, S, S)` turned and mirrored in one of the eight ways a square can be.

    turn: 0 to 7: `turn % 4` quarter turns, then from 4 on mirrored left to right; 0 leaves them as they are.
    """
    quarter = np.rot90(images, turn % 4, axes=(1, 2))
    return np.asarray(quarter[:, :, ::-1] if turn >= TURNS // 2 else quarter)


def layout_descriptors(thumbnails: np.ndarray) -> list[np.ndarray]:
    """For each of the eight turns `(N, D)`, D up to 96: the turned thumbnail at 16×16, compared with turn 0.

    Each image's mean is subtracted and its contrast divided out (exposure cancels), then the set's mean is subtracted,
    and each principal direction is divided by the square root of its spread, so that what all images of the set share
    (a bright disc, sky above) counts for less. Mean and directions are taken over the set in all its turns, so that
    one turn's vectors can be compared with another's.
    """
    cells = cell_means(thumbnails, CELLS)
    flat = unit_rows((cells - cells.mean(axis=(1, 2), keepdims=True)).reshape(len(cells), CELLS * CELLS))
    cells = flat.reshape(-1, CELLS, CELLS)
    views = [turned(cells, turn).reshape(flat.shape) for turn in range(TURNS)]
    views = [view - np.mean([each.mean(axis=0) for each in views], axis=0) for view in views]
    spread, directions = np.linalg.eigh(sum(view.T @ view for view in views) / (TURNS * len(flat)))
    basis = (
        directions[:, : -LAYOUT_DIMENSIONS - 1 : -1] / np.maximum(spread[: -LAYOUT_DIMENSIONS - 1 : -1], 1e-9) ** 0.25
    )
    return [unit_rows(view @ basis.astype(np.float32)) for view in views]


def taper(share: float) -> np.ndarray:
    """`(64, 64)` float32 weights that fall to 0 over the outer `share` of each axis (a Tukey window)."""
    edge = int(SIDE * share / 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    line = np.ones(SIDE)
    line[:edge], line[-edge:] = ramp, ramp[::-1]
    return (line[:, None] * line[None, :]).astype(np.float32)


def spectrum_descriptor(thumbnails: np.ndarray) -> np.ndarray:
    """`(N, D)`: logarithm of the power spectrum, standardised over the data set. A shift hardly changes it.

    The directions in which the data set varies most (sharp or soft, striped or not) are removed: they tell kinds of
    images apart, and what is left tells one scene from another. Best for shifts up to a sixth of the side.
    """
    ky, kx = np.fft.fftfreq(SIDE)[:, None] * SIDE, np.fft.rfftfreq(SIDE)[None, :] * SIDE
    kept = (np.hypot(ky, kx) >= 1) & (np.hypot(ky, kx) <= SIDE // 2 - 1) & ~((kx == 0) & (ky < 0))
    window = taper(0.6)
    spectra = np.empty((len(thumbnails), int(kept.sum())), dtype=np.float32)
    for start in range(0, len(thumbnails), 1024):
        block = thumbnails[start : start + 1024].astype(np.float32)
        block -= block.mean(axis=(1, 2), keepdims=True)
        power = np.abs(np.fft.rfft2(block * window)[:, kept]) ** 2
        spectra[start : start + 1024] = np.log(power + 1e-3 * power.mean(axis=1, keepdims=True) + 1e-6)
    spectra -= spectra.mean(axis=0)
    spectra /= spectra.std(axis=0) + 1e-6
    sample = spectra[:: max(1, len(spectra) // 5000)]
    if len(sample) > 10 * COMMON_DIRECTIONS:
        common = _main_directions(sample, COMMON_DIRECTIONS)
        spectra -= (spectra @ common) @ common.T
    return unit_rows(spectra)


def _main_directions(vectors: np.ndarray, count: int) -> np.ndarray:
    """`(D, count)` orthonormal: nearly the directions in which rows vary most, by orthogonal iteration."""
    directions = np.random.default_rng(0).standard_normal((vectors.shape[1], count)).astype(np.float32)
    for _ in range(8):
        directions = np.linalg.qr(vectors.T @ (vectors @ directions))[0]
    return directions


def _contrasts(windows: np.ndarray) -> np.ndarray:
    """Windows `(M, 100)` of grey levels minus their mean, scaled to length 1; zeros where there is no contrast."""
    flat = windows - windows.mean(axis=1, keepdims=True)
    dull = np.linalg.norm(flat, axis=1) < 1.5 * WINDOW
    flat = unit_rows(flat)
    flat[dull] = 0
    return flat


def _whitening(sample: np.ndarray) -> np.ndarray:
    """`(100, 32)`: the directions in which windows of the data set vary most, each divided by its spread."""
    spread, directions = np.linalg.eigh(sample.T @ sample / len(sample))
    keep = slice(-1, -WINDOW_DIMENSIONS - 1, -1)
    return np.asarray((directions[:, keep] / np.sqrt(np.maximum(spread[keep], 1e-6))).astype(np.float32))


def window_descriptors(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All 40×40 windows (step 4) of thumbnails, `(49, N, 32)`, and the two lower corners, `(2, N, 32)`.

    Where image b is image a moved by up to 24 of 64 pixels in both directions, a lower corner of one of the
    two is a window of the other. A window's mean is subtracted, its length made 1, and it is whitened over the data
    set, so that common layouts (bright sky above) count for less. Windows without contrast are zeros.
    """
    places = CELLS - WINDOW + 1
    count = places * places
    cells = cell_means(thumbnails, CELLS)
    windows = np.lib.stride_tricks.sliding_window_view(cells, (WINDOW, WINDOW), axis=(1, 2))
    number = count * len(cells)
    which, image = np.divmod(np.arange(0, number, max(1, number // _SAMPLE)), len(cells))
    sample = windows[image, which // places, which % places].reshape(-1, WINDOW * WINDOW)
    basis = _whitening(_contrasts(sample))
    vectors = np.empty((count, len(cells), WINDOW_DIMENSIONS), np.float32)
    for start in range(0, len(cells), _BLOCK):
        block = windows[start : start + _BLOCK]
        flat = block.reshape(len(block), count, WINDOW * WINDOW).transpose(1, 0, 2).reshape(-1, WINDOW * WINDOW)
        vectors[:, start : start + _BLOCK] = unit_rows(_contrasts(flat) @ basis).reshape(count, len(block), -1)
    corners = [places * (places - 1), places * places - 1]
    return vectors, vectors[corners]


def zoom_boxes() -> np.ndarray:
    """`(B, 4)` top, left, height, width: the parts of a thumbnail that could be, enlarged, another image.

    Squares of 60 to 44 pixels at every place (enlarged by up to 1.45), and strips cut short along one axis.
    """
    shapes = [(size, size) for size in ZOOMED]
    shapes += [shape for size in STRIPS for shape in ((SIDE, size), (size, SIDE))]
    return np.array(
        [
            (top, left, height, width)
            for height, width in shapes
            for top in range(0, SIDE - height + 1, ZOOM_STEP)
            for left in range(0, SIDE - width + 1, ZOOM_STEP)
        ]
    )


def zoom_descriptors(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each of the `zoom_boxes` of every image, `(B, N, 32)`, and the whole images, `(1, N, 32)`, to compare them with.

    Where image b is a part of image a, enlarged, the whole of b looks like one box of a. Each is reduced to 10×10
    means and treated as the windows of `window_descriptors` are.
    """
    boxes = np.vstack([zoom_boxes(), [[0, 0, SIDE, SIDE]]])

    def contrasts(of: np.ndarray, box: np.ndarray) -> np.ndarray:
        top, left, height, width = box.tolist()
        means = _span_means(top, height) @ of @ _span_means(left, width).T
        return _contrasts(means.reshape(len(of), WINDOW * WINDOW))

    sample = thumbnails[:: max(1, len(thumbnails) * len(boxes) // _SAMPLE)].astype(np.float32)
    basis = _whitening(np.concatenate([contrasts(sample, box) for box in boxes]))
    vectors = np.empty((len(boxes), len(thumbnails), WINDOW_DIMENSIONS), np.float32)
    for start in range(0, len(thumbnails), _BLOCK):
        block = thumbnails[start : start + _BLOCK].astype(np.float32)
        for row, box in zip(vectors, boxes, strict=True):
            row[start : start + _BLOCK] = unit_rows(contrasts(block, box) @ basis)
    return vectors[:-1], vectors[-1:]


def _span_means(start: int, length: int) -> np.ndarray:
    """`(10, 64)` float32 weights: the means of ten equal parts of `length` pixels from `start`; edges may cut them."""
    edges = start + np.arange(WINDOW + 1) * (length / WINDOW)
    pixels = np.arange(SIDE)[None, :]
    shares = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    return np.asarray((np.clip(shares, 0, None) * (WINDOW / length)).astype(np.float32))
