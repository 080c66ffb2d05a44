"""Declared shifts: an image as another scanner, stain, focus or file format would have given it.

A shift is spelled KIND:NUMBER. "stain:D" haematoxylin times 1 + D, eosin times 1 - D (Ruifrok and Johnston,
2001); "brightness:D" adds D of the type's range; "blur:S" a Gaussian of S pixels; "jpeg:Q" JPEG of quality Q;
"scale:F" everything F times as large as the network is used to. All follow from the pixels: nothing is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from inference.config import InputConfig
from inference.predict.inputs import value_maximum
from submissions.images.opening import ImageSource
from submissions.images.sources import check_window

LIMITS = {
    "stain": (-0.9, 0.9),
    "brightness": (-1.0, 1.0),
    "blur": (0.1, 50.0),
    "jpeg": (1.0, 100.0),
    "scale": (0.1, 10.0),
}
# Haematoxylin, eosin and residual in optical density of R, G, B (Ruifrok and Johnston, 2001).
STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
JPEG_BLOCK = 16  # pixels of a block whose colours are coded together


def parse_shift(text: str) -> tuple[str, float]:
    """Kind and amount of a shift such as "blur:1.5"; raises ValueError for anything else."""
    kind, _, amount = text.partition(":")
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if kind not in LIMITS or not LIMITS[kind][0] <= value <= LIMITS[kind][1]:
        known = ", ".join(f"{name}:{low:g}..{high:g}" for name, (low, high) in LIMITS.items())
        raise ValueError(f"shift {text!r}, expected one of {known}")
    return kind, value


def unfit(text: str, channels: int, dtype: np.dtype | str) -> str | None:
    """Why a shift says nothing about images of so many channels and that type; None where it does."""
    kind, _ = parse_shift(text)
    if kind == "stain" and channels != 3:
        return f"images have {channels} channel(s), stains are seen in RGB"
    if kind == "jpeg" and np.dtype(dtype) != np.uint8:
        return f"images are {np.dtype(dtype)}, JPEG holds uint8"
    return None


def shifted_input(config: InputConfig, text: str) -> InputConfig:
    """The input under which a network sees everything F times as large, for "scale:F"; unchanged for others."""
    kind, amount = parse_shift(text)
    if kind != "scale":
        return config
    if config.pixel_size_um is not None:
        return config.model_copy(update={"pixel_size_um": config.pixel_size_um / amount})
    return config.model_copy(update={"scale": config.scale * amount})


class ShiftedSource:
    """An opened image seen under a shift, window by window as if the whole image had been changed.

    Same shape (Z, H, W, C) and dtype as `source`. "scale" leaves the pixels as they are: see `shifted_input`.
    Raises ValueError for a shift that says nothing about such images.
    """

    def __init__(self, source: ImageSource, text: str) -> None:
        reason = unfit(text, source.shape[3], source.dtype)
        if reason is not None:
            raise ValueError(f"shift {text!r}: {reason}; take it out of tune.shifts")
        self.source, self.shape, self.dtype = source, source.shape, source.dtype
        self.decodes_whole = bool(getattr(source, "decodes_whole", False))
        kind, amount = parse_shift(text)
        self._margin, self._align = 0, 1
        self._change: Callable[[np.ndarray], np.ndarray] | None = None
        if kind == "stain":
            self._change = lambda pixels: _stained(pixels, amount)
        elif kind == "brightness":
            self._change = lambda pixels: _as(pixels + amount * value_maximum(pixels.dtype), pixels.dtype)
        elif kind == "blur":
            self._margin = math.ceil(4 * amount)
            self._change = lambda pixels: _blurred(pixels, amount)
        elif kind == "jpeg":
            self._margin = self._align = JPEG_BLOCK
            self._change = lambda pixels: _through_jpeg(pixels, round(amount))

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        if self._change is None:
            return self.source.read(z, rows, cols)
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        y, x = self._widened(top, bottom, self.shape[1]), self._widened(left, right, self.shape[2])
        changed = self._change(self.source.read(z, y, x))
        return np.ascontiguousarray(changed[top - y.start : bottom - y.start, left - x.start : right - x.start])

    def close(self) -> None:
        """Close the image."""
        self.source.close()

    def _widened(self, start: int, stop: int, size: int) -> slice:
        """The pixels that those from start to stop depend on."""
        first = max(0, start - self._margin) // self._align * self._align
        return slice(first, min(size, -(-(stop + self._margin) // self._align) * self._align))


def _as(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in the host's type again, rounded and clipped where that has limits."""
    if dtype == np.bool_:
        return values >= 0.5
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


def _stained(pixels: np.ndarray, amount: float) -> np.ndarray:
    """RGB (h, w, 3) with the amounts of both stains changed, in optical density."""
    stains = np.array(STAINS)
    change = np.linalg.inv(stains) @ np.diag([1 + amount, 1 - amount, 1.0]) @ stains
    top = value_maximum(pixels.dtype)
    density = -np.log(np.clip(pixels.astype(np.float32) / top, 1 / 255, 1)) @ change.astype(np.float32)
    return _as(top * np.clip(np.exp(-density), 0, 1), pixels.dtype)


def _blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    size = 2 * math.ceil(4 * sigma) + 1
    values = pixels.astype(np.float32)
    made = [cv2.GaussianBlur(values[..., c], (size, size), sigma) for c in range(values.shape[2])]
    return _as(np.stack(made, axis=2), pixels.dtype)


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels uint8 (h, w, C) after JPEG; of RGB in colour, of other numbers of channels each alone."""
    colour = pixels.shape[2] == 3
    layers = [pixels[..., ::-1]] if colour else [pixels[..., c] for c in range(pixels.shape[2])]
    read = []
    for layer in layers:
        _, coded = cv2.imencode(".jpg", np.ascontiguousarray(layer), [cv2.IMWRITE_JPEG_QUALITY, quality])
        read.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)))
    return read[0][..., ::-1] if colour else np.stack(read, axis=2)
