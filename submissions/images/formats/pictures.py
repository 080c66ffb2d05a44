"""GIF, WebP and AVIF through Pillow, JPEG 2000 and deep AVIF through imagecodecs; frames are slices."""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import ExifTags, Image

from submissions.images.readers import MAX_DECODED_PIXELS, FileReader, check_pixels, check_window, image_dtype
from submissions.images.reading import AS_STORED, Reading

_SIZE_MARKER = b"\xff\x4f\xff\x51"
_PREFIX = 1 << 16


@dataclass(frozen=True)
class _Header:
    """codec: 'pillow', 'jpeg2k' or 'avif' (imagecodecs); alpha: whether the last sample is transparency."""

    codec: str
    frames: int
    height: int
    width: int
    channels: int
    alpha: bool
    dtype: np.dtype
    orientation: int = 1


class PictureReader(FileReader):
    """A GIF, WebP, AVIF or JPEG 2000 file as a reader (frames, H, W, C), one frame decoded whole and kept.

    as_mask: one channel; of a GIF whose palette is not grey the palette indices, else the grey values.
    """

    decodes_whole = True

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        self.as_mask = as_mask
        self.header = _read_header(path)
        a = self.header
        check_pixels(path, a.height, a.width, limit=MAX_DECODED_PIXELS)
        self.shape = (a.frames, a.height, a.width, 1 if as_mask else a.channels)
        self.dtype = image_dtype(a.dtype)
        self.void = a.alpha and not as_mask
        self.orientation = a.orientation
        self._frame: tuple[int, np.ndarray] | None = None

    def _open(self) -> Any:
        return _pillow(self.path) if self.header.codec == "pillow" else None

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of frame z as (h, w, C)."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        samples = self._samples(z)
        if self.as_mask:
            colours = samples[..., : self.header.channels]
            if (colours != colours[..., :1]).any():
                raise ValueError(
                    f"{self.path}: a mask has one value per pixel, found colours: read it as an image and map them"
                )
        keep = self.shape[3]
        return np.ascontiguousarray(samples[top:bottom, left:right, :keep], dtype=self.dtype)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where a frame is transparent."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        return np.asarray(self._samples(z)[top:bottom, left:right, -1] > 0)

    def close(self) -> None:
        """Close the file and forget the decoded frame."""
        self._frame = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_frame": None}

    def _samples(self, z: int) -> np.ndarray:
        """Frame z with all samples, (H, W, channels [+ alpha])."""
        if self._frame is None or self._frame[0] != z:
            self._frame = (z, self._decode(z))
        return self._frame[1]

    def _decode(self, z: int) -> np.ndarray:
        a = self.header
        if a.codec == "pillow":
            image = self.handle()
            image.seek(z)
            decoded = np.asarray(image if self.as_mask and _indexed(image) else image.convert(_mode(a)))
        else:
            decoded = getattr(imagecodecs, f"{a.codec}_decode")(self.path.read_bytes())
        decoded = decoded.reshape(*decoded.shape[:2], -1)
        wanted = (a.height, a.width)
        if decoded.shape[:2] != wanted or decoded.shape[2] not in (1, a.channels + a.alpha):
            raise ValueError(f"{decoded.shape} decoded, {(*wanted, a.channels + a.alpha)} announced")
        return decoded


def _mode(header: _Header) -> str:
    return {1: "L", 3: "RGB"}[header.channels] + ("A" if header.alpha else "")


def _pillow(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _indexed(image: Any) -> bool:
    """Whether a frame is a palette with colours: of a grey palette the values count, whatever their numbers."""
    return image.mode == "P" and not _grey_palette(image)


def _grey_palette(image: Any) -> bool:
    colours = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _read_header(path: Path) -> _Header:
    with path.open("rb") as stream:
        head = stream.read(_PREFIX)
    marker = head.find(_SIZE_MARKER)
    if head[4:8] == b"jP  " or marker == 0:
        return _jpeg2000_header(path, head, marker)
    with _pillow(path) as image:
        return _pillow_header(image, path, re.search(rb"av1C..(.)", head, re.DOTALL))


def _pillow_header(image: Any, path: Path, deep: re.Match[bytes] | None) -> _Header:
    """deep: the configuration box of an AVIF, whose third byte tells bits beyond 8, which Pillow would cut off."""
    frames, alpha = int(getattr(image, "n_frames", 1)), bool(image.has_transparency_data)
    if deep and deep.group(1)[0] & 0x40:
        if frames > 1:
            raise ValueError(f"{path}: an AVIF sequence of more than 8 bits a sample: store its frames as files")
        channels = 1 if deep.group(1)[0] & 0x10 else 3
        return _Header("avif", 1, image.height, image.width, channels, alpha, np.dtype(np.uint16))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    orientation = int(orientation) if orientation in range(1, 9) else 1
    grey = image.mode in ("L", "LA", "1") or (image.mode == "P" and frames == 1 and _grey_palette(image))
    return _Header(
        "pillow", frames, image.height, image.width, 1 if grey else 3, alpha, np.dtype(np.uint8), orientation
    )


def _jpeg2000_header(path: Path, head: bytes, marker: int) -> _Header:
    """From the SIZ marker segment (ISO/IEC 15444-1, A.5.1), which says the size, the samples and their bits."""
    if marker < 0 or len(head) < marker + 43:
        raise ValueError(
            f"{path}: a JPEG 2000 file without a code stream in its first {len(head)} bytes: copy it again"
        )
    fields = struct.unpack(">HHIIIIIIIIHB", head[marker + 4 : marker + 43])
    width, height, samples, depth = fields[2] - fields[4], fields[3] - fields[5], fields[10], fields[11]
    bits, signed = (depth & 0x7F) + 1, bool(depth & 0x80)
    if bits > 16:
        raise ValueError(f"{path}: JPEG 2000 of {bits} bits a sample, expected at most 16: store it as TIFF")
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    alpha = samples == 2 or (samples == 4 and b"cdef" in head[:marker])
    return _Header("jpeg2k", 1, height, width, samples - alpha, alpha, dtype)
