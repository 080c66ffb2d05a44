"""Pixels that JSON carries as text: a PNG in base64, plain or compressed once more with zlib."""

from __future__ import annotations

import base64
import zlib

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
