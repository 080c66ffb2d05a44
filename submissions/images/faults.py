"""What can be wrong with pixels that decode: not a number, no data, saturated, constant, bytes in the other order."""

from __future__ import annotations

from typing import Any

import numpy as np

from submissions.images.readers import ImageReader, WrappedReader, valid_pixels

ROWS = 1024
SATURATED = 0.25  # share of a channel at its largest value that is worth a word
ROUGHER = 4.0  # an image this much rougher than itself with swapped bytes was written in the other byte order
FAULTS = ("nodata", "nan", "constant", "saturated", "byte_order", "orientation")


class FiniteReader(WrappedReader):
    """A reader of floats in which what is no number (NaN, infinity) is a value, or refused.

    value: what is shown instead; None: reading such a window raises ValueError with the number of them in the image.
    """

    def __init__(self, reader: ImageReader, value: float | None, where: str) -> None:
        super().__init__(reader)
        self.value, self.where = value, where
        self.replaced = 0  # pixels of the windows that were read

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), all of it finite."""
        pixels = self.reader.read(z, rows, cols)
        finite = np.isfinite(pixels)
        if finite.all():
            return pixels
        if self.value is None:
            raise ValueError(
                f"{self.where}: {count_not_finite(self.reader)} pixels are not a number (NaN or infinite): "
                "images.nan: 0 (or another value) says what they are, or mend the file"
            )
        self.replaced += int((~finite).any(axis=2).sum())
        pixels[~finite] = self.value
        return pixels

    def __getattr__(self, name: str) -> Any:
        if name in ("reader", "__setstate__"):
            raise AttributeError(name)
        return getattr(self.reader, name)


def count_not_finite(reader: ImageReader) -> int:
    """Pixels of an image, all slices, of which a channel is NaN or infinite; read in strips."""
    depth, height = reader.shape[:2]
    return sum(
        int((~np.isfinite(reader.read(z, slice(top, min(top + ROWS, height)), None))).any(axis=2).sum())
        for z in range(depth)
        for top in range(0, height, ROWS)
    )


class FaultCounter:
    """Counts what is wrong with an image while it is read in strips."""

    def __init__(self, reader: ImageReader) -> None:
        self.reader = reader
        self.replaced = reader.replaced if isinstance(reader, FiniteReader) else 0
        self.nodata = self.seen = 0
        channels = reader.shape[3]
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.top = np.zeros(channels, np.int64)  # pixels at `high`, of each channel
        self.roughness = np.zeros(2)

    def add(self, z: int, rows: slice, pixels: np.ndarray) -> None:
        """A strip (h, w, C) of slice z as it was read."""
        valid = valid_pixels(self.reader, z, rows, None)
        if valid is not None:
            self.nodata += int((~valid).sum())
            pixels = pixels[valid][None]
        if not pixels.size:
            return
        self.seen += pixels.shape[0] * pixels.shape[1]
        high = pixels.max(axis=(0, 1))
        top = (pixels == high).sum(axis=(0, 1))
        self.top = np.where(high > self.high, top, self.top + np.where(high == self.high, top, 0))
        self.low, self.high = np.minimum(self.low, pixels.min(axis=(0, 1))), np.maximum(self.high, high)
        if pixels.dtype == np.uint16 and valid is None:
            self.roughness += [_steps(pixels), _steps(pixels.byteswap())]

    def found(self) -> dict[str, float]:
        """Columns of the inventory: pixels without data and that are no number, 0 or 1 of the others."""
        straight, swapped = self.roughness
        return {
            "nodata": self.nodata,
            "nan": self.reader.replaced - self.replaced if isinstance(self.reader, FiniteReader) else 0,
            "constant": int(self.seen > 0 and self.low.min() == self.high.max()),
            "saturated": int(self._is_saturated()),
            "byte_order": int(straight > ROUGHER * swapped and swapped > 0),
            "orientation": int(getattr(self.reader, "orientation", 1)),
        }

    def _is_saturated(self) -> bool:
        """Whether in a channel that varies much is at the largest value: of 8 bits that of the type, of other types,
        of which detectors fill a part (12 of 16 bits), the image's own."""
        ends = self.high == 255 if self.reader.dtype == np.uint8 else np.isfinite(self.high)
        varies = (self.low < self.high) & (self.reader.dtype != np.bool_)
        return bool((ends & varies & (self.top >= SATURATED * max(self.seen, 1))).any())


def _steps(pixels: np.ndarray) -> float:
    """Mean difference of neighbours in a row."""
    return float(np.abs(np.diff(pixels.astype(np.int32), axis=1)).mean()) if pixels.shape[1] > 1 else 0.0


def describe_faults(counts: dict[str, tuple[int, int]], *, turned: bool, nan: float | None) -> list[str]:
    """Lines for a person. counts: column -> (images, pixels) with that fault; what is done with each is said."""
    done = {
        "nodata": "no data in {1} pixels of {0} image(s): not learned, not scored, nothing predicted there",
        "nan": f"{{1}} pixels of {{0}} image(s) are no number: read as {nan} (images.nan)",
        "constant": "{0} image(s) of one value only: look at them",
        "saturated": "{0} image(s) of which a quarter or more is at the largest value of a channel: look at them",
        "byte_order": "{0} image(s) look as if their bytes were in the other order: much smoother when swapped",
        "orientation": "{0} image(s) carry an orientation (EXIF, or the tag of TIFF): "
        + ("turned by it (images.exif: turned)" if turned else "read as stored (images.exif: turned would turn them)"),
    }
    return [done[name].format(*counts[name]) for name in FAULTS if counts.get(name, (0, 0))[0]]
