"""PNG, JPEG, BMP, PPM and PGM: headers read without decoding, damage found that OpenCV passes over, masks as indices.

OpenCV returns None for what it cannot read and, in several versions, half a picture for a truncated file; so
the container is checked first (PNG: the CRC of every chunk; JPEG: the end marker; others: the length).
Pixels come as stored, as annotations count them; EXIF orientation is applied where the contract says so.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from submissions.images.readers import MAX_DECODED_PIXELS, FileReader, check_pixels, check_window
from submissions.images.reading import AS_STORED, Reading

NETPBM_MAGIC = (b"P5", b"P6")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PREFIX = 1 << 16
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(rb"P([56])" + _SPACE + rb"([0-9]+)" + _SPACE + rb"([0-9]+)" + _SPACE + rb"([0-9]+)\s")
_AGAIN = "copy it again from the host"


@dataclass(frozen=True)
class RasterHeader:
    """Header of a raster file: colour is 'grey', 'rgb' or 'palette'; bits are those of one sample."""

    format: str
    height: int
    width: int
    bits: int
    colour: str
    alpha: bool = False  # whether some places can be transparent: an alpha channel, or a PNG's transparent colour
    orientation: int = 1  # as EXIF counts it

    @property
    def channels(self) -> int:
        return 1 if self.colour == "grey" else 3


def parse_header(data: bytes, path: Path) -> RasterHeader | None:
    """Header from the first bytes of a file, None where `data` ends before it does."""
    if data.startswith(PNG_MAGIC):
        return _png_header(data)
    if data.startswith(b"BM"):
        return _bmp_header(data, path)
    if data.startswith(NETPBM_MAGIC):
        return _netpbm_header(data)
    return _jpeg_header(data)


def _png_header(data: bytes) -> RasterHeader | None:
    if len(data) < 33:
        return None
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    kind = {0: "grey", 4: "grey", 3: "palette"}.get(colour, "rgb")
    return RasterHeader("PNG", height, width, bits, kind, colour in (4, 6) or _transparent(data) is not None)


def _transparent(data: bytes) -> bytes | None:
    """What a PNG's chunk of transparency says, which stands before the pixels; None where there is none."""
    position = len(PNG_MAGIC)
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"tRNS":
            return data[position + 8 : position + 8 + length]
        position += 12 + length
    return None


def _bmp_header(data: bytes, path: Path) -> RasterHeader | None:
    if len(data) < 54:
        return None
    offset, header, width, height, _, bits = struct.unpack("<IIiiHH", data[10:30])
    if header < 40:
        raise ValueError(f"{path}: a BMP header of {header} bytes, expected 40 or more: store it as PNG")
    palette = np.frombuffer(data[14 + header : min(offset, len(data))], np.uint8)
    grey = bits <= 8 and not np.ptp(palette[: palette.size // 4 * 4].reshape(-1, 4)[:, :3], axis=1).any()
    return RasterHeader("BMP", abs(height), width, min(bits, 8), "grey" if grey else "rgb")


def _netpbm_header(data: bytes) -> RasterHeader | None:
    match = _NETPBM.match(data)
    if match is None:
        return None
    kind, width, height, most = map(int, match.groups())
    return RasterHeader("Netpbm", height, width, 8 if most < 256 else 16, "grey" if kind == 5 else "rgb")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start of payload, end) of each segment, the end marker included."""
    position = 2
    while (match := _JPEG_MARKER.search(data, position)) is not None:
        marker = data[match.start() + 1]
        if marker == 0xD9 or match.end() + 2 > len(data):
            yield marker, match.end(), match.end()
            return
        end = match.end() + struct.unpack(">H", data[match.end() : match.end() + 2])[0]
        yield marker, match.end() + 2, end
        position = end


def _jpeg_header(data: bytes) -> RasterHeader | None:
    for marker, start, end in _jpeg_segments(data):
        if marker in _JPEG_FRAMES and start + 6 <= min(end, len(data)):
            bits, height, width, channels = struct.unpack(">BHHB", data[start : start + 6])
            return RasterHeader("JPEG", height, width, bits, "grey" if channels == 1 else "rgb")
    return None


def find_damage(data: bytes, header: RasterHeader) -> str | None:
    """What is wrong with a file's container, in words, or None."""
    if header.format == "PNG":
        return _png_damage(data)
    if header.format == "JPEG":
        markers = [marker for marker, _, _ in _jpeg_segments(data)]
        return None if markers[-1:] == [0xD9] else f"no end-of-image marker in {len(data)} bytes"
    if header.format == "Netpbm":
        match = _NETPBM.match(data)
        begin = match.end() if match else 0
        expected = begin + header.height * header.width * header.channels * header.bits // 8
        return None if len(data) >= expected else f"{len(data)} bytes, expected {expected}"
    expected = struct.unpack("<I", data[10:14])[0]
    bits = struct.unpack("<H", data[28:30])[0]
    if struct.unpack("<I", data[30:34])[0] in (0, 3):  # not run-length coded
        expected += (header.width * bits + 31) // 32 * 4 * header.height
    return None if len(data) >= expected else f"{len(data)} bytes, expected {expected}"


def _png_damage(data: bytes) -> str | None:
    position = len(PNG_MAGIC)
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        end = position + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[position + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            return f"wrong checksum in the {kind.decode('latin-1')} chunk at byte {position}"
        if kind == b"IEND":
            return None
        position = end
    return f"no end chunk in {len(data)} bytes"


def _palette_as_grey(data: bytes) -> bytes:
    """A palette PNG rewritten as a grey one: the same compressed samples, shown as indices."""
    parts, position = [PNG_MAGIC], len(PNG_MAGIC)
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        chunk = data[position : position + 12 + length]
        if kind == b"IHDR":
            body = chunk[4:17] + b"\x00" + chunk[18:21]  # byte 9 of the header is the colour type: 0 is grey
            chunk = chunk[:4] + body + struct.pack(">I", zlib.crc32(body))
        if kind not in (b"PLTE", b"tRNS", b"bKGD"):
            parts.append(chunk)
        position += 12 + length
    return b"".join(parts)


def read_header(path: Path) -> RasterHeader:
    """Header of a PNG, JPEG, BMP, PPM or PGM file; reads 64 KB, more only where the header is that long."""
    with path.open("rb") as stream:
        data = stream.read(_PREFIX)
        header = parse_header(data, path)
        if header is None:
            header = parse_header(data + stream.read(), path)
    if header is None:
        raise ValueError(f"{path}: the file ends inside its header ({path.stat().st_size} bytes): {_AGAIN}")
    check_pixels(path, header.height, header.width, limit=MAX_DECODED_PIXELS)
    if b"Exif\x00\x00" in data or b"eXIf" in data:
        return replace(header, orientation=_orientation(path))
    return header


def _orientation(path: Path) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none or what is there cannot be read."""
    try:
        with Image.open(path) as image:
            found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 1
    return int(found) if found in range(1, 9) else 1


def _decoded(data: bytes, path: Path, *, as_mask: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels of a PNG, JPEG, BMP, PPM or PGM file (H, W, C) uint8 or uint16, RGB order, and bool (H, W) of what is not
    transparent, None where all is opaque.

    as_mask: (H, W, 1), palette indices and samples of fewer than 8 bits as stored, not expanded to colours.
    Raises ValueError naming `path` for a damaged file, and for a mask whose colour channels differ.
    """
    header = parse_header(data, path)
    if header is None:
        raise ValueError(f"{path}: the file ends inside its header ({len(data)} bytes): {_AGAIN}")
    check_pixels(path, header.height, header.width, limit=MAX_DECODED_PIXELS)
    damage = find_damage(data, header)
    if damage is not None:
        raise ValueError(f"{path}: damaged {header.format}: {damage}: {_AGAIN}")
    indexed = as_mask and header.format == "PNG" and header.colour == "palette"
    try:
        buffer = np.frombuffer(_palette_as_grey(data) if indexed else data, np.uint8)
        pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"{path}: OpenCV cannot decode this {header.format} ({error.err}): {_AGAIN}") from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        found = "nothing" if pixels is None else f"{pixels.shape[0]} x {pixels.shape[1]} pixels"
        raise ValueError(
            f"{path}: {found} decoded, {header.format} of {header.height} x {header.width} expected: {_AGAIN}"
        )
    if as_mask:
        return _mask_plane(pixels, header, path), None
    return _to_rgb(pixels, header.channels), _opaque(pixels, header, data) if header.alpha else None


def _opaque(pixels: np.ndarray, header: RasterHeader, data: bytes) -> np.ndarray | None:
    """bool (H, W), False where a PNG is wholly transparent; None where it is nowhere."""
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        opaque = pixels[..., 3] > 0
    else:  # OpenCV leaves the transparent value of a grey picture alone, and stretches 1, 2 and 4 bits to 0..255
        value = struct.unpack(">H", (_transparent(data) or b"\x00\x00")[:2])[0]
        stretched = value * 255 // ((1 << header.bits) - 1) if header.bits < 8 else value
        opaque = pixels.reshape(*pixels.shape[:2], -1)[..., 0] != stretched
    return None if opaque.all() else opaque


def _to_rgb(pixels: np.ndarray, channels: int) -> np.ndarray:
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if channels == 1:
        return np.ascontiguousarray(pixels[..., :1])
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def _mask_plane(pixels: np.ndarray, header: RasterHeader, path: Path) -> np.ndarray:
    """Values of a mask (H, W, 1); what is transparent is 0, as nothing was painted there."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    colours = pixels[..., :3]
    if pixels.shape[2] == 4 and pixels[..., 3].any():
        colours = np.where(pixels[..., 3:] > 0, colours, 0).astype(pixels.dtype)
    if (colours != colours[..., :1]).any():
        raise ValueError(f"{path}: a mask has one value per pixel, found colours: read it as an image and map them")
    if header.format == "PNG" and header.bits < 8:  # libpng stretches 1, 2 and 4 bits to 0..255
        return colours[..., :1] // (255 // ((1 << header.bits) - 1))
    return np.ascontiguousarray(colours[..., :1])


class RasterReader(FileReader):
    """A PNG, JPEG, BMP, PPM or PGM file as a reader (1, H, W, C); the first window decodes the picture and keeps it."""

    decodes_whole = True

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path)
        header = read_header(path)
        self.as_mask, self.orientation = as_mask, header.orientation
        self.shape = (1, header.height, header.width, 1 if as_mask else header.channels)
        self.dtype = np.dtype(np.uint16 if header.bits == 16 else np.uint8)
        self.void = header.alpha and not as_mask
        self._opaque: tuple[int, np.ndarray | None] | None = None

    def _open(self) -> np.ndarray:
        pixels, opaque = _decoded(self.path.read_bytes(), self.path, as_mask=self.as_mask)
        self._opaque = (os.getpid(), opaque)
        return pixels

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where the picture is wholly transparent."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        if self._opaque is None or self._opaque[0] != os.getpid():
            self._open()
        assert self._opaque is not None
        opaque = self._opaque[1]
        return None if opaque is None else opaque[top:bottom, left:right]

    def close(self) -> None:
        """Forget the decoded picture."""
        self._opaque = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opaque": None}

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of the picture as (h, w, C); a whole picture is handed over without being kept."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        if self._held is None and (bottom - top, right - left) == self.shape[1:3]:
            return self._open()
        return self.handle()[top:bottom, left:right].copy()
