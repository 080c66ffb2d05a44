"""Pixels that JSON carries: a PNG in base64, plain or compressed once more with zlib, or Label Studio's packed runs."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import cv2
import numpy as np

LARGEST = 1 << 28  # bytes that a compressed text may become


def unpack_png(text: str, *, zipped: bool = False) -> np.ndarray:
    """bool (h, w) of a PNG in base64: its alpha channel where it has one, else what is not 0."""
    data = base64.b64decode(text, validate=True)
    if zipped:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(data, LARGEST)
        if unpacking.unconsumed_tail:
            raise ValueError(f"a bitmap of more than {LARGEST} bytes")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("a bitmap that is no PNG")
    return np.asarray((pixels if pixels.ndim == 2 else pixels[..., -1] if pixels.shape[2] == 4 else pixels.max(2)) > 0)


def unpack_brush(packed: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """bool (height, width) of a brush's bytes as Label Studio stores them: where the picture is not wholly transparent.

    The bytes are a stream of bits (https://github.com/thi-ng/umbrella, package rle-pack): how many values follow, bits
    of a value, bits of four kinds of lengths; then runs, each of one value repeated or of single values. The values are
    red, green, blue and transparency, pixel by pixel along the rows. Raises ValueError where they are not as many as
    the picture of `size` (height, width) has, or end too early.
    """
    data = np.asarray(packed, np.int64)
    if data.ndim != 1 or data.min(initial=0) < 0 or data.max(initial=0) > 255:
        raise ValueError("a brush that is no list of bytes")
    raw = data.astype(np.uint8).tobytes()
    bits = f"{int.from_bytes(raw, 'big'):0{8 * len(raw)}b}"
    place = 0

    def number(width: int) -> int:
        nonlocal place
        begin, place = place, place + width
        if place > len(bits):
            raise ValueError(f"a brush of {len(raw)} bytes, which end inside its runs")
        return int(bits[begin:place], 2)

    wanted = size[0] * size[1] * 4
    if (found := number(32)) != wanted:
        raise ValueError(f"a brush of {found} values, expected {wanted} for {size[0]} x {size[1]} pixels")
    width = number(5) + 1
    lengths = [number(4) + 1 for _ in range(4)]
    values: np.ndarray = np.zeros(wanted, np.dtype(np.uint8 if width <= 8 else np.uint32))
    first = 0
    while first < wanted:
        repeated, kind = number(1), number(2)
        last = first + 1 + number(lengths[kind])
        if last > wanted:
            raise ValueError(f"a brush whose runs go beyond {size[0]} x {size[1]} pixels")
        values[first:last] = number(width) if repeated else [number(width) for _ in range(last - first)]
        first = last
    return np.asarray(values.reshape(*size, 4)[..., 3] > 0)
