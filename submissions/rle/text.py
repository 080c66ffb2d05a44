"""Text of the run-length dialects: from characters to runs and back, and what is wrong with a text that is
none.

Runs are int64 (n, 2): start, counted from 0 along the reading order, and length in pixels.
"""

from __future__ import annotations

import base64
import binascii
import functools
import math
import re
import zlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
MAX_DIGITS = 18
KNOWN_EMPTIES = ("-1", "-", "1 0", "0 0")


@functools.cache
def kernels() -> ModuleType:
    """Module with the inner loops: compiled where numba works, else NumPy, with equal results."""
    try:
        import numba

        from submissions.rle import kernels_numba as rle_numba
    except ImportError:
        numba = None
    if numba is None or numba.config.DISABLE_JIT:
        from submissions.rle import kernels_numpy as rle_numpy

        return rle_numpy
    return rle_numba


def is_blank(text: object) -> bool:
    """Whether a cell of a table holds nothing: None, NaN, pandas' NA, or white space."""
    if isinstance(text, str):
        return not text.strip()
    return text is None or type(text).__name__ == "NAType" or (isinstance(text, float) and math.isnan(text))


def ascii_bytes(text: str) -> npt.NDArray[np.uint8]:
    """Characters as uint8; a character outside ASCII becomes '?', which no dialect uses."""
    return np.frombuffer(text.encode("ascii", "replace"), np.uint8)


def pairs_from_text(text: str, base: int, total: int, relative: bool) -> I64:
    """Runs of 'start length start length ...' in an image of `total` pixels.

    `base`: number of the first pixel. `relative`: starts count from the end of the run before.
    Raises ValueError that names the number at fault.
    """
    runs = kernels().read_pairs(ascii_bytes(text), base, total, relative)
    if runs is None:
        raise ValueError(_fault_of_pairs(text, base, total, relative))
    return runs


def counts_from_text(text: str) -> I64:
    """Counts of '[5, 3, 2]' or '5 3 2'. Raises ValueError that names the number at fault."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    if "," in inner:
        parts = inner.split(",")
        if not all(part.strip() for part in parts):
            raise ValueError(f"{shown(text)} has a comma without a number beside it")
        inner = " ".join(parts)
    counts = kernels().read_numbers(ascii_bytes(inner))
    if counts is None:
        raise ValueError(_fault_of_numbers(inner))
    return counts


def counts_from_compressed(text: str) -> I64:
    """Counts of COCO's compressed string (`counts` as pycocotools writes it)."""
    text = text.strip()
    counts = kernels().expand_counts(ascii_bytes(text))
    if counts is None:
        wrong = [char for char in text if not "0" <= char <= "o"]
        found = f"the character {wrong[0]!r}" if wrong else "a number that does not end"
        raise ValueError(f"{shown(text)} is not a COCO string: it has {found}; its characters run from '0' to 'o'")
    return counts


def counts_from_zlib(text: str, total: int) -> I64:
    """Counts of base64(zlib(COCO's compressed string)), in an image of `total` pixels."""
    try:
        packed = base64.b64decode(text.strip().encode("ascii", "replace"), validate=True)
        stream = zlib.decompressobj()
        plain = stream.decompress(packed, 8 * total + 16)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"{shown(text)} is not base64 of zlib of a COCO string: {error}") from None
    if not stream.eof:
        raise ValueError(f"{shown(text)} is cut short, or holds more than an image of {total} pixels can")
    return counts_from_compressed(plain.decode("ascii", "replace"))


def runs_from_counts(counts: I64 | Sequence[int], total: int) -> I64:
    """Runs of COCO counts (background, foreground, background ...), which must add up to `total` pixels."""
    values = np.asarray(counts)
    if values.ndim != 1 or not (values.dtype.kind in "iu" or values.size == 0):
        raise ValueError(f"counts {shown(str(counts))} are not a flat list of whole numbers")
    values = values.astype(np.int64)
    wrong = np.flatnonzero((values < 0) | (values > total) | ((values == 0) & (np.arange(values.size) > 0)))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"count {i + 1} of {values.size} is {values[i]}, expected 1 to {total} (the first may also be 0)"
        )
    if values.sum() != total:
        raise ValueError(f"counts add up to {values.sum()}, expected {total}, the pixels of the image")
    ends = np.cumsum(values)
    lengths = values[1::2]
    return np.stack([ends[1::2] - lengths, lengths], axis=1)


def counts_from_runs(runs: I64, total: int) -> I64:
    """COCO counts of sorted runs: background first (0 where the first pixel is foreground)."""
    edges = np.zeros(2 * len(runs) + 2, np.int64)
    edges[1:-1:2] = runs[:, 0]
    edges[2:-1:2] = runs[:, 0] + runs[:, 1]
    edges[-1] = total
    counts = np.diff(edges)
    return counts[:-1] if counts[-1] == 0 and counts.size > 1 else counts


def text_from_numbers(numbers: I64) -> str:
    """Numbers separated by single spaces."""
    return kernels().write_numbers(np.ascontiguousarray(numbers).reshape(-1)).tobytes().decode("ascii")


def compressed_from_counts(counts: I64) -> str:
    """COCO's compressed string, equal to pycocotools' `counts`."""
    return kernels().compress_counts(counts).tobytes().decode("ascii")


def zlib_from_counts(counts: I64) -> str:
    """base64(zlib(COCO's compressed string)), best compression, as the hosts' own encoders do."""
    packed = zlib.compress(compressed_from_counts(counts).encode("ascii"), zlib.Z_BEST_COMPRESSION)
    return base64.b64encode(packed).decode("ascii")


def shown(text: str) -> str:
    """The text in quotes, shortened for an error message."""
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."


def _fault_of_numbers(text: str) -> str:
    for token in re.findall(r"\S+", text, re.ASCII):
        if re.fullmatch(r"-[0-9]+", token):
            hint = f"; if it is the host's empty mask, declare empty: {token!r}" if token == text.strip() else ""
            return f"{shown(token)} is negative{hint}"
        if not re.fullmatch(r"[0-9]+", token):
            return f"{shown(token)} is not a whole number"
        if len(token) > MAX_DIGITS:
            return f"{shown(token)} is too large: it has {len(token)} digits"
    return f"{shown(text)} is not a list of whole numbers"


def _fault_of_pairs(text: str, base: int, total: int, relative: bool) -> str:
    numbers = kernels().read_numbers(ascii_bytes(text))
    if numbers is None:
        return _fault_of_numbers(text)
    if numbers.size % 2:
        return f"{numbers.size} numbers, expected pairs of start and length; the last is {numbers[-1]}"
    end = 0
    for i, (first, length) in enumerate(numbers.reshape(-1, 2).tolist()):
        run = f"run {i + 1} of {numbers.size // 2}, '{first} {length}',"
        start = first - base + (end if relative else 0)
        if length < 1:
            empty = f"{first} {length}"
            hint = f"; if it is the host's empty mask, declare empty: {empty!r}" if numbers.size == 2 else ""
            return f"{run} has length 0, expected at least 1{hint}"
        if start < 0:
            return f"{run} starts before the first pixel, which is number {base}"
        if start + length > total:
            return f"{run} ends beyond the {total} pixels of the image"
        if start < end:
            return f"{run} begins before the run before it ends: runs must be sorted and must not overlap"
        end = start + length
    return f"{shown(text)} is not a list of runs"
