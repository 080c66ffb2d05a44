"""A decoder plug-in for pydicom: the compressed kinds of DICOM that Pillow cannot read, through imagecodecs.

pydicom asks a plug-in's module for `DECODER_DEPENDENCIES`, `is_available` and the function that decodes one frame.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels import get_decoder

_CODECS = {
    uid.JPEGExtended12Bit: "jpeg8",
    uid.JPEGLossless: "ljpeg",
    uid.JPEGLosslessSV1: "ljpeg",
    uid.JPEGLSLossless: "jpegls",
    uid.JPEGLSNearLossless: "jpegls",
    uid.HTJ2KLossless: "jpeg2k",
    uid.HTJ2KLosslessRPCL: "jpeg2k",
    uid.HTJ2K: "jpeg2k",
}
DECODER_DEPENDENCIES = dict.fromkeys(_CODECS, ("imagecodecs", "numpy"))
_LABEL = "imagecodecs"


def is_available(uid: str) -> bool:
    """Whether frames of this transfer syntax can be decoded here."""
    return uid in _CODECS


def decode_frame(src: bytes, runner: Any) -> bytearray:
    """Samples of one frame as pydicom wants them: interleaved, little endian, in the bits that are allocated."""
    decoded = getattr(imagecodecs, f"{_CODECS[runner.transfer_syntax]}_decode")(src)
    runner.set_option("bits_allocated", 8 * decoded.dtype.itemsize)
    return bytearray(np.ascontiguousarray(decoded).tobytes())


def add_codecs() -> None:
    """Tell pydicom of this plug-in; a second time does nothing."""
    for decoder in map(get_decoder, _CODECS):
        if _LABEL not in decoder.available_plugins:
            decoder.add_plugin(_LABEL, (__name__, "decode_frame"))
