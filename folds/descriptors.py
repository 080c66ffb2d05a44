"""Thumbnails as vectors whose scalar products say which pairs are worth a closer look.

Thumbnails are `(N, 64, 64)` uint8; every descriptor is float32 with rows of length 1, so a product is a
cosine.
"""

from __future__ import annotations

import numpy as np

SIDE = 64
CELLS = 16
WINDOW = 10
WINDOW_DIMENSIONS = 32
COMMON_DIRECTIONS = 20
_SAMPLE = 60_000


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 (float32); rows of zeros stay zeros."""
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6))


def cell_means(thumbnails: np.ndarray, cells: int) -> np.ndarray:
    """`(N, cells, cells)` float32 means over squares; `cells` divides 64."""
    step = SIDE // cells
    return np.asarray(thumbnails.reshape(len(thumbnails), cells, step, cells, step).mean(axis=(2, 4), dtype=np.float32))


def layout_descriptor(thumbnails: np.ndarray) -> np.ndarray:
    """`(N, 256)`: the thumbnail at 16×16 without its mean; a product is a correlation, exposure cancels."""
    cells = cell_means(thumbnails, CELLS).reshape(len(thumbnails), CELLS * CELLS)
    return unit_rows(cells - cells.mean(axis=1, keepdims=True))


def perceptual_hash(thumbnails: np.ndarray) -> np.ndarray:
    """`(N, 63)` bool: signs, about their median, of the 8×8 lowest cosine frequencies but the mean (pHash).

    After Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    size = 32
    k, x = np.arange(8)[:, None], np.arange(size)[None, :]
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * size)).astype(np.float32)
    waves = cosines @ cell_means(thumbnails, size) @ cosines.T
    waves = waves.reshape(len(thumbnails), 64)[:, 1:]
    return np.asarray(waves > np.median(waves, axis=1, keepdims=True))


def taper(share: float) -> np.ndarray:
    """`(64, 64)` float32 weights that fall to 0 over the outer `share` of each axis (a Tukey window)."""
    edge = int(SIDE * share / 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    line = np.ones(SIDE)
    line[:edge], line[-edge:] = ramp, ramp[::-1]
    return (line[:, None] * line[None, :]).astype(np.float32)


def spectrum_descriptor(thumbnails: np.ndarray) -> np.ndarray:
    """`(N, D)`: logarithm of the power spectrum, standardised over the data set. A shift hardly changes it.

    The directions in which the data set varies most (sharp or soft, striped or not: what images of one kind
    have in common) are taken out, so that what is left belongs to one scene. Best for shifts up to a sixth
    of the side.
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
    """`(D, count)` orthonormal: the directions rows vary in most, nearly, by orthogonal iteration."""
    directions = np.random.default_rng(0).standard_normal((vectors.shape[1], count)).astype(np.float32)
    for _ in range(8):
        directions = np.linalg.qr(vectors.T @ (vectors @ directions))[0]
    return directions


def window_descriptors(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All 40×40 windows (step 4) of thumbnails, `(49, N, 32)`, and the two lower corners, `(2, N, 32)`.

    Where image b is image a moved by up to 24 of 64 pixels in both directions, a lower corner of one of the
    two is a window of the other. Windows are freed of their mean, scaled, and half-whitened over the data
    set, so that common layouts (bright sky above) count for less. Windows without contrast are zeros.
    """
    places = CELLS - WINDOW + 1
    cells = cell_means(thumbnails, CELLS)
    windows = np.lib.stride_tricks.sliding_window_view(cells, (WINDOW, WINDOW), axis=(1, 2))
    windows = windows.reshape(len(cells), places * places, WINDOW * WINDOW).transpose(1, 0, 2)
    flat = windows.reshape(-1, WINDOW * WINDOW)
    flat = flat - flat.mean(axis=1, keepdims=True)
    dull = np.linalg.norm(flat, axis=1) < 1.5 * WINDOW
    flat = unit_rows(flat)
    flat[dull] = 0
    sample = flat[:: max(1, len(flat) // _SAMPLE)]
    spread, directions = np.linalg.eigh(sample.T @ sample / len(sample))
    keep = slice(-1, -WINDOW_DIMENSIONS - 1, -1)
    scale = np.sqrt(np.maximum(spread[keep], 1e-6))
    vectors = unit_rows(flat @ (directions[:, keep] / scale).astype(np.float32))
    vectors = vectors.reshape(places * places, len(thumbnails), WINDOW_DIMENSIONS)
    corners = [places * (places - 1), places * places - 1]
    return vectors, vectors[corners]
