"""DICOM images through pydicom: stored values rescaled, MONOCHROME1 turned bright on dark, frames as slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, pixel_array

from submissions.images.formats.dicom_codecs import add_codecs
from submissions.images.readers import FileReader, as_integers, check_pixels, check_window, image_dtype
from submissions.images.reading import AS_STORED, Reading

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "PALETTE COLOR")


class DicomReader(FileReader):
    """A DICOM file as a reader (frames, H, W, C), C = 1 of grey and 3 of colour.

    Grey values are those the modality means (slope and intercept applied; float32 where they change something);
    MONOCHROME1, in which small is bright, is turned round within its range. With a window they are uint8, 0 to 255
    (DICOM PS3.3, C.11.2.1.2). as_mask: values as stored.
    """

    decodes_whole = True

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        add_codecs()
        self.as_mask = as_mask
        header = _header(path)
        self.photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
        colour = self.photometric in _COLOURS
        if not colour and not self.photometric.startswith("MONOCHROME"):
            raise ValueError(f"{path}: colours written as {self.photometric}, expected MONOCHROME1, MONOCHROME2 or RGB")
        height, width, frames = int(header.Rows), int(header.Columns), int(header.get("NumberOfFrames") or 1)
        check_pixels(path, height, width)
        self.shape = (frames, height, width, 3 if colour and not as_mask else 1)
        self.slope = float(header.get("RescaleSlope") or 1)
        self.intercept = float(header.get("RescaleIntercept") or 0)
        self.stored, self._range = _stored(header, path)
        self.window = None if colour or as_mask else _window(header, reading, path)
        self.dtype = self._returned(colour, header)
        self.spacing = _spacing(header)
        self.pixel_size_um = self.spacing[2] * 1000 if self.spacing else None
        self.position = _numbers(header, "ImagePositionPatient", 3)
        self.directions = _numbers(header, "ImageOrientationPatient", 6)
        self._frame: tuple[int, np.ndarray] | None = None

    def _returned(self, colour: bool, header: Any) -> np.dtype:
        if self.as_mask:
            return self.stored
        if self.window is not None:
            return np.dtype(np.uint8)
        if colour:
            palette = self.photometric == "PALETTE COLOR"
            bits = int(header.RedPaletteColorLookupTableDescriptor[2]) if palette else 8 * self.stored.itemsize
            return np.dtype(np.uint8 if bits <= 8 else np.uint16)
        rescaled = (self.slope, self.intercept) != (1.0, 0.0)
        return np.dtype(np.float32) if rescaled else image_dtype(self.stored)

    def _open(self) -> Any:
        return self.path  # pydicom reads one frame at a time from the path

    def close(self) -> None:
        """Forget the decoded frame."""
        self._frame, self._held = None, None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_frame": None}

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of frame z as (h, w, C)."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        if self._frame is None or self._frame[0] != z:
            self._frame = (z, self._decode(z))
        values = self._frame[1][top:bottom, left:right]
        return np.ascontiguousarray(self._meant(values), dtype=self.dtype)

    def _decode(self, z: int) -> np.ndarray:
        """Stored values of frame z, (H, W, samples)."""
        pixels = pixel_array(self.path, ds_out=pydicom.Dataset(), index=z)
        if self.photometric == "PALETTE COLOR" and not self.as_mask:
            pixels = apply_color_lut(pixels, _header(self.path))
        return pixels.reshape(*self.shape[1:3], -1)

    def _meant(self, values: np.ndarray) -> np.ndarray:
        if self.as_mask:
            return as_integers(values[..., :1], self.path)
        if self.shape[3] == 3:
            return values
        low, high = self._range
        if self.window is None and self.photometric == "MONOCHROME1":
            values = (low + high - values.astype(np.int64)).astype(self.stored)
        if (self.slope, self.intercept) != (1.0, 0.0):
            values = values.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        if self.window is None:
            return values
        centre, width = self.window
        shown = (values.astype(np.float32) - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
        shown = np.clip(shown, 0, 1)
        return np.rint((1 - shown if self.photometric == "MONOCHROME1" else shown) * 255)


def _header(path: Path) -> Any:
    """The file's elements without its pixels."""
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    _ = (int(header.Rows), int(header.Columns), int(header.BitsAllocated))
    return header


def _stored(header: Any, path: Path) -> tuple[np.dtype, tuple[int, int]]:
    """Type of the stored samples, and the range that their bits span."""
    allocated, signed = int(header.BitsAllocated), bool(header.get("PixelRepresentation") or 0)
    if allocated not in (1, 8, 16, 32):
        raise ValueError(f"{path}: {allocated} bits a sample, expected 1, 8, 16 or 32")
    bits = int(header.get("BitsStored") or allocated)
    dtype = np.dtype(f"{'i' if signed else 'u'}{max(1, allocated // 8)}")
    return dtype, (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _window(header: Any, reading: Reading, path: Path) -> tuple[float, float] | None:
    """(centre, width) in the modality's units: the contract's own, or the first that the file proposes."""
    if not isinstance(reading.window, str):
        return reading.window
    centre, width = header.get("WindowCenter"), header.get("WindowWidth")
    if centre is None or width is None:
        raise ValueError(f"{path}: images.window is 'file', and the file proposes none: give [centre, width]")
    first = [value[0] if isinstance(value, pydicom.multival.MultiValue) else value for value in (centre, width)]
    return float(first[0]), float(first[1])


def _numbers(header: Any, name: str, count: int) -> tuple[float, ...] | None:
    """An element of so many numbers; None where the file has it not."""
    values = header.get(name)
    return tuple(float(value) for value in values) if values is not None and len(values) == count else None


def _spacing(header: Any) -> tuple[float, float, float] | None:
    """mm a step along (z, y, x); z is 1 where the file says nothing of it."""
    between = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    if not between or not all(float(step) > 0 for step in between):
        return None
    thick = header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1
    return abs(float(thick)) or 1.0, float(between[0]), float(between[1])
