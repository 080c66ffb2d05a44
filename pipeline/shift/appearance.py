"""Images as rows of numbers that can be compared: what stage 01 measured of each, and the texture of its thumbnail."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd

from submissions.images.measures import MEASURES, QUANTILES, is_quantile

FULL = {"uint8": 255.0, "uint16": 65535.0, "bool": 1.0}
EACH_CHANNEL = 4
BANDS = (0.5, 1.5, 3, 6, 11, 19, 33)  # cycles an image: edges of the bands of a thumbnail's spectrum
TAIL = 0.005
_LEAST = 1e-3
_LOGARITHMS = {"image_colourfulness": 1.0, "image_sharpness": _LEAST, "image_noise": 1e-4}


def require_measures(table: pd.DataFrame, names: Iterable[str] = MEASURES) -> None:
    """Raises ValueError where an inventory was made before images were measured."""
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"the inventory has no column {missing[0]!r}; run 01_check_data.py again with --overwrite")


def appearance(table: pd.DataFrame, thumbnails: np.ndarray) -> pd.DataFrame:
    """A row of float64 an image, NaN where a measure is missing; columns are called as in the inventory.

    table: rows of the inventory with its measures, thumbnails: uint8 (N, 64, 64), row for row. Sizes, noise and the
    like are logarithms; quantiles are shares of what the type can hold (of floats their signed logarithm), of more than
    four channels their mean; an orientation is the two parts of its doubled angle; a thumbnail is the
    logarithms of the shares of its power in six bands of frequencies. Raises ValueError for an inventory without
    measures.
    """
    require_measures(table)
    found: dict[str, np.ndarray] = {}
    for name in ("depth", "height", "width", "pixel_size_um"):
        if name in table:
            found[name] = np.log2(_numbers(table, name))
    found["channels"] = _numbers(table, "channels")
    types = table["dtype"].astype(str).to_numpy(dtype=object)
    found |= {f"dtype {name}": (types == name).astype(float) for name in sorted(set(types))}
    found |= _quantiles(table, types)
    for name in MEASURES:
        if name not in ("image_orientation", "image_coherence"):
            values = _numbers(table, name)
            found[name] = np.log(values + _LOGARITHMS[name]) if name in _LOGARITHMS else values
    angle, strength = np.deg2rad(2 * _numbers(table, "image_orientation")), _numbers(table, "image_coherence")
    found["image_orientation cos"], found["image_orientation sin"] = (
        np.nan_to_num(strength * part) for part in (np.cos(angle), np.sin(angle))
    )
    powers = spectrum(thumbnails)
    found |= {f"thumbnail band {band}": powers[:, band] for band in range(powers.shape[1])}
    return pd.DataFrame(found, index=table.index)


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    return pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)


def _quantiles(table: pd.DataFrame, types: np.ndarray) -> dict[str, np.ndarray]:
    """Quantiles of each channel, or their mean over more channels than four."""
    full = np.array([FULL.get(name, np.nan) for name in types])
    found = {}
    for name in table.columns:
        if is_quantile(str(name)):
            values = _numbers(table, str(name))
            found[str(name)] = np.where(np.isnan(full), np.sign(values) * np.log10(1 + np.abs(values)), values / full)
    if len({name.rsplit("_", 1)[0] for name in found}) <= EACH_CHANNEL:
        return found
    frame = pd.DataFrame(found)
    means = {f"image_{part}": frame.filter(like=f"_{part}").mean(axis=1).to_numpy() for part in QUANTILES}
    return {name: values for name, values in means.items() if np.isfinite(values).any()}


def spectrum(thumbnails: np.ndarray) -> np.ndarray:
    """float64 (N, 6): logarithms of the shares of a thumbnail's power in BANDS, from coarse to fine."""
    side = thumbnails.shape[1]
    window = np.hanning(side).astype(np.float32)
    down = np.fft.fftfreq(side)[:, None] * side
    radius = np.hypot(down, np.fft.rfftfreq(side)[None] * side)
    rings = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(BANDS)]
    found = np.zeros((len(thumbnails), len(rings)))
    for start in range(0, len(thumbnails), 512):
        images = thumbnails[start : start + 512].astype(np.float32)
        images = (images - images.mean(axis=(1, 2), keepdims=True)) * window[:, None] * window
        power = np.abs(np.fft.rfft2(images)) ** 2
        found[start : start + 512] = np.stack([power[:, ring].sum(axis=1) for ring in rings], axis=1)
    return np.asarray(np.log(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9) + _LEAST / 10))


def standardised(features: pd.DataFrame) -> np.ndarray:
    """float64 (N, F'): columns that vary, with mean 0 and deviation 1, missing values at the column's median.

    Values beyond the outermost half percent are brought to it: one strange image shall not flatten all others.
    """
    filled = features.fillna(features.median()).fillna(0.0)
    clipped = filled.clip(filled.quantile(TAIL), filled.quantile(1 - TAIL), axis=1)
    spread = clipped.std(ddof=0)
    kept = clipped.loc[:, spread > 1e-9]
    return np.asarray((kept - kept.mean()) / spread[spread > 1e-9], dtype=np.float64).reshape(len(features), -1)


def principal(values: np.ndarray, *, most: int = 8, share: float = 0.9) -> np.ndarray:
    """float64 (N, P): the first principal components, as many as hold `share` of the variance, at most `most`.

    Signs are fixed, so that the same rows give the same numbers.
    """
    from sklearn.decomposition import PCA

    if min(values.shape) == 0:
        return np.zeros((len(values), 0))
    components = PCA(min(most, *values.shape), svd_solver="full")
    found = components.fit_transform(values)
    held = np.cumsum(components.explained_variance_ratio_)
    return np.asarray(found[:, : int(np.searchsorted(held, share)) + 1])
