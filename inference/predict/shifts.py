"""Declared shifts: an image as another scanner, stain, focus or file format would have given it.

A shift is spelled KIND:NUMBER, several in turn with a + between them: "blur:1.5+contrast:0.5".

"stain:D" haematoxylin times 1 + D, eosin times 1 - D (Ruifrok and Johnston, 2001); "brightness:D" adds D of the range
of values; "contrast:F" distances from the middle of that range times F; "gamma:G" the share of the range to the power
G; "polarity:1" light and dark change places; "noise:D" normal noise of D of the range; "blur:S" a Gaussian of S
pixels; "jpeg:Q" JPEG of quality Q; "scale:F" everything F times as large as the network is used to. The range is that
of an integer type; of floats, which have none, that of the image's own values.
All follow from the pixels and their places, noise too: the same image is the same again, window by window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from inference.config import InputConfig
from inference.predict.inputs import value_maximum
from inference.predict.resample import restore_dtype
from submissions.images.opening import ImageReader
from submissions.images.readers import WrappedReader, check_window

LIMITS = {
    "stain": (-0.9, 0.9),
    "brightness": (-1.0, 1.0),
    "contrast": (0.05, 10.0),
    "gamma": (0.1, 10.0),
    "polarity": (1.0, 1.0),
    "noise": (0.001, 1.0),
    "blur": (0.1, 50.0),
    "jpeg": (1.0, 100.0),
    "scale": (0.1, 10.0),
}
Corner = tuple[int, int, int]  # slice, row and column where a window begins
# Haematoxylin, eosin and residual in optical density of R, G, B (Ruifrok and Johnston, 2001).
STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
JPEG_BLOCK = 16  # pixels of a block whose colours are coded together
RANGE_SAMPLES = 1 << 16  # values of a float image that its range is taken from, a slice
POINTWISE = ("brightness", "contrast", "gamma", "polarity")


def parse_shifts(text: str) -> list[tuple[str, float]]:
    """Kind and amount of each of the shifts that a text such as "blur:1.5+gamma:2" names, in order.

    Raises ValueError for anything else, and where one kind is named twice.
    """
    found = [parse_shift(part) for part in text.split("+")]
    kinds = [kind for kind, _ in found]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"shift {text!r} names a kind twice, expected each once")
    return found


def parse_shift(text: str) -> tuple[str, float]:
    """Kind and amount of one shift such as "blur:1.5"; raises ValueError for anything else."""
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
    kinds = [kind for kind, _ in parse_shifts(text)]
    if "stain" in kinds and channels != 3:
        return f"images have {channels} channel(s), but stain needs RGB"
    if "jpeg" in kinds and np.dtype(dtype) != np.uint8:
        return f"images are {np.dtype(dtype)}, but JPEG needs uint8"
    return None


def shifted_input(config: InputConfig, text: str) -> InputConfig:
    """The input under which a network sees everything F times as large, for "scale:F"; unchanged for others."""
    amount = dict(parse_shifts(text)).get("scale")
    if amount is None:
        return config
    if config.pixel_size_um is not None:
        return config.model_copy(update={"pixel_size_um": config.pixel_size_um / amount})
    return config.model_copy(update={"scale": config.scale * amount})


class ShiftedReader(WrappedReader):
    """An opened image seen under a shift, or several in turn, window by window as if the whole image had been changed.

    "scale" leaves the pixels as they are: see `shifted_input`.
    Raises ValueError for a shift that says nothing about such images.
    """

    def __init__(self, reader: ImageReader, text: str) -> None:
        reason = unfit(text, reader.shape[3], reader.dtype)
        if reason is not None:
            raise ValueError(f"shift {text!r}: {reason}; remove it from tune.shifts")
        before, _, last = text.rpartition("+")
        super().__init__(ShiftedReader(reader, before) if before else reader)
        kind, amount = parse_shift(last)
        self._margin, self._align = 0, 1
        self._change: Callable[[np.ndarray, Corner], np.ndarray] | None = None
        if kind == "stain":
            self._change = lambda pixels, _: _stained(pixels, amount)
        elif kind in POINTWISE or kind == "noise":
            low, high = value_range(reader)
            change = _noisy if kind == "noise" else partial(_moved, kind=kind)
            self._change = lambda pixels, corner: change(pixels, corner, amount=amount, low=low, high=high)
        elif kind == "blur":
            self._margin = math.ceil(4 * amount)
            self._change = lambda pixels, _: _blurred(pixels, amount)
        elif kind == "jpeg":
            self._margin = self._align = JPEG_BLOCK
            self._change = lambda pixels, _: _through_jpeg(pixels, round(amount))

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        if self._change is None:
            return self.reader.read(z, rows, cols)
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        y, x = self._widened(top, bottom, self.shape[1]), self._widened(left, right, self.shape[2])
        changed = self._change(self.reader.read(z, y, x), (z, y.start, x.start))
        return np.ascontiguousarray(changed[top - y.start : bottom - y.start, left - x.start : right - x.start])

    def _widened(self, start: int, stop: int, size: int) -> slice:
        """The pixels that those from start to stop depend on."""
        first = max(0, start - self._margin) // self._align * self._align
        return slice(first, min(size, -(-(stop + self._margin) // self._align) * self._align))


def value_range(reader: ImageReader) -> tuple[float, float]:
    """Least and largest value that an image of this type may have; of floats that this image has.

    Of floats up to about RANGE_SAMPLES values a slice are read, on a regular grid, of at most nine slices.
    """
    if not np.issubdtype(reader.dtype, np.floating):
        return 0.0, value_maximum(reader.dtype)
    depth, height, width, _ = reader.shape
    step = max(1, math.isqrt(height * width // RANGE_SAMPLES))
    ends = []
    for z in sorted({index * (depth - 1) // 8 for index in range(9)}):
        values = np.concatenate([reader.read(z, slice(y, y + 1))[:, ::step] for y in range(0, height, step)])
        ends += [float(np.nanmin(values)), float(np.nanmax(values))]
    return min(ends), max(max(ends), min(ends) + 1e-6)


def _moved(pixels: np.ndarray, _: Corner, *, kind: str, amount: float, low: float, high: float) -> np.ndarray:
    """Every value by itself: brightness, contrast, gamma or polarity of the range from low to high."""
    share = (pixels.astype(np.float32) - low) / (high - low)
    if kind == "brightness":
        share = share + amount
    elif kind == "contrast":
        share = (share - 0.5) * amount + 0.5
    elif kind == "gamma":
        share = np.clip(share, 0, 1) ** amount
    else:
        share = 1 - share
    return restore_dtype(low + share * (high - low), pixels.dtype)


def _noisy(pixels: np.ndarray, corner: Corner, *, amount: float, low: float, high: float) -> np.ndarray:
    """Values with normal noise added that follows from slice, row, column and channel alone."""
    z, top, left = corner
    height, width, channels = pixels.shape
    rows = np.arange(top, top + height, dtype=np.uint64)[:, None, None]
    cols = np.arange(left, left + width, dtype=np.uint64)[None, :, None]
    key = ((np.uint64(z) << np.uint64(48)) + (rows << np.uint64(26)) + (cols << np.uint64(4))) + np.arange(
        channels, dtype=np.uint64
    )
    bits = _mixed(key)
    parts = [((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float32) for shift in (0, 16, 32, 48)]
    normal = (sum(parts) / np.float32(65535) - 2) * np.float32(math.sqrt(3))  # Irwin and Hall's sum of four
    return restore_dtype(pixels + normal * np.float32(amount * (high - low)), pixels.dtype)


def _mixed(key: np.ndarray) -> np.ndarray:
    """64 well mixed bits of each number: SplitMix64's finaliser (Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        key = (key + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return key ^ (key >> np.uint64(31))


def _stained(pixels: np.ndarray, amount: float) -> np.ndarray:
    """RGB (h, w, 3) with the amounts of both stains changed, in optical density."""
    stains = np.array(STAINS)
    change = np.linalg.inv(stains) @ np.diag([1 + amount, 1 - amount, 1.0]) @ stains
    top = value_maximum(pixels.dtype)
    density = -np.log(np.clip(pixels.astype(np.float32) / top, 1 / 255, 1)) @ change.astype(np.float32)
    return restore_dtype(top * np.clip(np.exp(-density), 0, 1), pixels.dtype)


def _blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    size = 2 * math.ceil(4 * sigma) + 1
    values = pixels.astype(np.float32)
    made = [cv2.GaussianBlur(values[..., c], (size, size), sigma) for c in range(values.shape[2])]
    return restore_dtype(np.stack(made, axis=2), pixels.dtype)


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels uint8 (h, w, C) after JPEG; of RGB in colour, of other numbers of channels each alone."""
    colour = pixels.shape[2] == 3
    layers = [pixels[..., ::-1]] if colour else [pixels[..., c] for c in range(pixels.shape[2])]
    read = []
    for layer in layers:
        _, coded = cv2.imencode(".jpg", np.ascontiguousarray(layer), [cv2.IMWRITE_JPEG_QUALITY, quality])
        read.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)))
    return read[0][..., ::-1] if colour else np.stack(read, axis=2)
