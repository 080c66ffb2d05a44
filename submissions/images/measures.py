"""What an image is like, in a few numbers that need no mask: taken while stage 01 has it open anyway."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

GRID = 40
WINDOW = 192
LEVELS = 32
QUANTILES = {"p01": 0.01, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p99": 0.99}

# column -> what it is, with its unit; `image_channel_<c>_<p01 ... p99>`, quantiles in the host's values, come first
MEASURES = {
    "image_colourfulness": "Hasler and Suesstrunk's, of 8-bit values; 0: grey; missing without 1 or 3 channels",
    "image_contrast": "deviation of the brightness, as a share of what the type can hold (of floats: of p99 - p01)",
    "image_sharpness": "1 less the correlation of neighbouring pixels: 0 smooth, 1 white noise; missing where flat",
    "image_noise": "deviation of the noise (Immerkaer), as a share of the brightness between p01 and p99",
    "image_background": "share of pixels near the commonest brightness, 0 to 1",
    "image_background_level": "that brightness between p01 (0, dark) and p99 (1, bright)",
    "image_orientation": "degrees counter-clockwise from horizontal, 0 to 180, of structures; missing where flat",
    "image_coherence": "how much they run that way: 0 in all directions alike, 1 all in one",
}
_OPPONENT = np.array([[1, -1, 0], [0.5, 0.5, -1]], np.float32)
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


class Meter:
    """Measures of one slice, fed strip by strip: memory does not grow with the image.

    Values (quantiles, colour, contrast, background) are of a grid of at most 40 x 40 pixels spread over the slice;
    sharpness, noise and orientation are of 192 x 192 pixels in the middle of each strip, as stored and not resampled,
    so that they mean the same whatever the image's size; of several strips the median.
    """

    def __init__(self, height: int, width: int) -> None:
        self._steps = max(1, -(-height // GRID)), max(1, -(-width // GRID))
        self._grid: list[np.ndarray] = []
        self._windows: list[tuple[float, ...]] = []

    def add(self, top: int, pixels: np.ndarray, grey: np.ndarray) -> None:
        """The strip from row `top` on: pixels (h, W, C) as read, grey float32 (h, W), their mean over channels."""
        rows, columns = self._steps
        self._grid.append(pixels[-top % rows :: rows, columns // 2 :: columns])
        height, width = grey.shape
        y, x = max(0, (height - WINDOW) // 2), max(0, (width - WINDOW) // 2)
        self._windows.append(_texture(grey[y : y + WINDOW, x : x + WINDOW]))

    def measures(self) -> dict[str, float]:
        """Column -> value, NaN where it is missing; six significant digits, the same on every machine."""
        grid = np.concatenate(self._grid)
        kind = grid.dtype.kind
        top = float(np.iinfo(grid.dtype).max) if kind == "u" else float(kind == "b")
        values = np.ascontiguousarray(grid.reshape(-1, grid.shape[2]).T, dtype=np.float32)
        if kind == "f":
            values = values[:, np.isfinite(values).all(axis=0)]
        found: dict[str, float] = {}
        if values.shape[1]:
            found = _values(values, top)
        span = found.pop("span", 0.0)
        sharpness, sigma, along, across = (_median(column) for column in zip(*self._windows, strict=True))
        found["image_sharpness"] = sharpness
        found["image_noise"] = sigma / span if span > 0 else math.nan
        found |= _direction(along, across)
        return {name: _rounded(found.get(name, math.nan)) for name in [*_channels(found), *MEASURES]}


def _channels(found: Iterable[str]) -> list[str]:
    return [name for name in found if name.startswith("image_channel_")]


def _median(values: Sequence[float]) -> float:
    """Median of those that are not NaN; NaN where there is none."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _values(values: np.ndarray, top: float) -> dict[str, float]:
    """Quantiles, colour, contrast, background of pixels float32 (C, N) whose type holds 0 to `top` (0: any number)."""
    channels, count = values.shape
    lines = np.concatenate([values, np.full((1, channels), 1 / channels, np.float32) @ values])
    places = [round(share * (count - 1)) for share in QUANTILES.values()]
    ordered = np.partition(lines, sorted({*places}), axis=1)[:, places].tolist()
    found = {
        f"image_channel_{channel}_{name}": value
        for channel in range(channels)
        for name, value in zip(QUANTILES, ordered[channel], strict=True)
    }
    grey, low, high = lines[-1], ordered[-1][0], ordered[-1][-1]
    span = high - low
    found |= {"span": span, "image_contrast": float(cv2.meanStdDev(grey)[1].item()) / (top or span or 1.0)}
    if channels == 1:
        found["image_colourfulness"] = 0.0
    elif channels == 3:
        opponent = np.ascontiguousarray((_OPPONENT @ values).T)[:, None]  # red - green, yellow - blue
        centre, spread = (part.ravel().tolist() for part in cv2.meanStdDev(opponent))
        found["image_colourfulness"] = (math.hypot(*spread) + 0.3 * math.hypot(*centre)) * 255 / (top or span or 1.0)
    level = np.zeros(count, np.int64)
    if span > 0:
        level = ((grey - low) * (LEVELS / span)).astype(np.int64).clip(0, LEVELS - 1)
    near = np.convolve(np.bincount(level, minlength=LEVELS), (1, 1, 1), "same")
    commonest = int(near.argmax())
    found["image_background"] = float(near[commonest]) / count
    found["image_background_level"] = (commonest + 0.5) / LEVELS if span > 0 else math.nan
    return found


def _texture(grey: np.ndarray) -> tuple[float, ...]:
    """Sharpness, noise in grey levels, and the doubled-angle vector of the gradient, of a window float32 (h, w).

    J. Immerkaer, "Fast noise variance estimation", 1996. A window without contrast, or of fewer than 3 pixels a side,
    has NaN for all but the noise.
    """
    if min(grey.shape) < 3:
        return math.nan, math.nan, math.nan, math.nan
    mean, deviation = cv2.meanStdDev(grey)
    variance = float(deviation[0, 0]) ** 2
    filtered = cv2.filter2D(grey, cv2.CV_32F, _LAPLACIAN)[1:-1, 1:-1]
    sigma = math.sqrt(math.pi / 2) * cv2.norm(filtered, cv2.NORM_L1) / (6 * filtered.size)
    if not variance > 1e-12 * float(mean[0, 0]) ** 2:
        return math.nan, sigma, math.nan, math.nan
    beside, below = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    steps = (_squares(beside) / beside.size + _squares(below) / below.size) / 2
    columns, rows = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    along, across, both = _squares(columns), _squares(rows), float(np.vdot(columns, rows))
    power = along + across
    if not power > 0:
        return math.nan, sigma, math.nan, math.nan
    return steps / (2 * variance), sigma, (along - across) / power, 2 * both / power


def _squares(values: np.ndarray) -> float:
    return float(cv2.norm(values, cv2.NORM_L2SQR))


def _direction(along: float, across: float) -> dict[str, float]:
    """Angle and coherence of structures from the doubled-angle vector of the gradient, which crosses them."""
    if math.isnan(along):
        return {}
    gradient = math.degrees(0.5 * math.atan2(-across, along))  # rows run down, angles turn up
    return {"image_orientation": (gradient + 90) % 180, "image_coherence": math.hypot(along, across)}


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Mean over the channels of pixels (h, w, C), float32 (h, w)."""
    values, channels = pixels.astype(np.float32), pixels.shape[2]
    if channels == 1:
        return values[:, :, 0]
    if channels > 4:
        return np.asarray(values.mean(axis=2))
    return np.asarray(cv2.transform(values, np.full((1, channels), 1 / channels, np.float32)))  # 15 times as fast


def measured_columns(columns: Iterable[str]) -> list[str]:
    """Those of a table's columns that `Meter` gives, in their order."""
    return [name for name in columns if name in MEASURES or is_quantile(name)]


def is_quantile(column: str) -> bool:
    """Whether the column is a quantile of one channel: image_channel_<number>_<p01 ...>."""
    parts = column.removeprefix("image_channel_").split("_")
    return column.startswith("image_channel_") and len(parts) == 2 and parts[0].isdigit() and parts[1] in QUANTILES
