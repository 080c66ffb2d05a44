"""Compiled kernels of the run-length codec. `kernels_numpy` has the same functions with equal results.

Masks enter and leave as uint8 (any non-zero byte is foreground on the way in, 0/1 on the way out), positions
as int64 counted from 0 along the reading order. Nothing is compiled before the first call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from submissions.machine_code import compiled

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

BLOCK = 4096
MAX_DIGITS = 18
MAX_GROUPS = 12


@compiled
def _grown(buffer: I64, used: int, wanted: int) -> I64:
    if used + wanted <= buffer.size:
        return buffer
    larger = np.empty(2 * buffer.size + wanted, np.int64)
    larger[:used] = buffer[:used]
    return larger


@compiled
def changes_rows(flat: U8, before: int, first: int) -> I64:
    """Positions, from `first` on and ascending, where `flat` differs from the pixel read before it."""
    words = np.zeros(BLOCK // 8, np.uint64)
    differs = words.view(np.uint8)
    found = np.empty(BLOCK + flat.size // 64, np.int64)
    n = 0
    last = before != 0
    for begin in range(0, flat.size, BLOCK):
        block = flat[begin : begin + BLOCK]
        differs[block.size :] = 0
        differs[0] = (block[0] != 0) != last
        for i in range(1, block.size):
            differs[i] = (block[i] != 0) != (block[i - 1] != 0)
        last = block[block.size - 1] != 0
        found = _grown(found, n, BLOCK)
        for w in range(words.size):
            if words[w] != 0:
                for i in range(8 * w, 8 * w + 8):
                    found[n] = first + begin + i
                    n += differs[i]
    return found[:n]


@compiled
def changes_columns(strip: U8, above: U8, first_row: int, height: int) -> I64:
    """Where a pixel differs from the one above it, as col * height + row, in no useful order.

    `strip` holds the rows from `first_row` on of a mask of `height` rows, `above` the row before them. Rows
    are compared whole, so a C-contiguous mask is read once, in the order in which it lies in memory.
    """
    rows, cols = strip.shape
    words = np.zeros((cols + 7) // 8, np.uint64)
    differs = words.view(np.uint8)
    found = np.empty(cols + strip.size // 64, np.int64)
    n = 0
    for row in range(rows):
        here = strip[row]
        up = strip[row - 1] if row else above
        for col in range(cols):
            differs[col] = (here[col] != 0) != (up[col] != 0)
        found = _grown(found, n, cols + 8)
        for w in range(words.size):
            if words[w] != 0:
                for col in range(8 * w, 8 * w + 8):
                    found[n] = col * height + first_row + row
                    n += differs[col]
    return found[:n]


@compiled
def sort_by_line(positions: I64, length: int, lines: int) -> I64:
    """Sort positions whose order is right within each line of `length` pixels (a stable counting sort)."""
    slot = np.zeros(lines + 1, np.int64)
    for i in range(positions.size):
        slot[positions[i] // length + 1] += 1
    for line in range(lines):
        slot[line + 1] += slot[line]
    out = np.empty(positions.size, np.int64)
    for i in range(positions.size):
        line = positions[i] // length
        out[slot[line]] = positions[i]
        slot[line] += 1
    return out


@compiled
def _paint_rows(runs: I64, flat: U8) -> None:
    for i in range(runs.shape[0]):
        flat[runs[i, 0] : runs[i, 0] + runs[i, 1]] = 1


@compiled
def _paint_columns(runs: I64, mask: U8) -> None:
    """Mark where a column begins or ends to be foreground, then sum the marks (xor) down the rows.

    That is two scattered writes a run and one sequential pass over memory.
    """
    height, width = mask.shape
    for i in range(runs.shape[0]):
        begin = runs[i, 0]
        end = begin + runs[i, 1]
        col = begin // height
        end_col = end // height
        mask[begin - col * height, col] ^= 1
        for crossed in range(col + 1, min(end_col, width - 1) + 1):
            mask[0, crossed] ^= 1
        if end_col < width:
            mask[end - end_col * height, end_col] ^= 1
    for row in range(1, height):
        for col in range(width):
            mask[row, col] ^= mask[row - 1, col]


def paint_rows(runs: I64, height: int, width: int) -> U8:
    """Mask (height, width), C-contiguous, of runs (n, 2) read along rows."""
    flat = np.zeros(height * width, np.uint8)
    _paint_rows(runs, flat)
    return flat.reshape((height, width))


def paint_columns(runs: I64, height: int, width: int) -> U8:
    """Mask (height, width), C-contiguous, of runs (n, 2) read along columns."""
    mask = np.zeros((height, width), np.uint8)  # by NumPy, which asks for huge pages: numba's own faults cost more
    _paint_columns(runs, mask)
    return mask


@compiled
def write_numbers(numbers: I64) -> U8:
    """Decimal digits of non-negative numbers, separated by single spaces, as ASCII bytes."""
    ten = np.uint64(10)
    out = np.empty(20 * numbers.size + 1, np.uint8)
    n = out.size
    for i in range(numbers.size - 1, -1, -1):
        rest = np.uint64(numbers[i])
        while True:
            quotient = rest // ten
            n -= 1
            out[n] = np.uint8(48) + np.uint8(rest - quotient * ten)
            rest = quotient
            if rest == 0:
                break
        n -= 1
        out[n] = 32
    return out[n + 1 :]


@compiled
def _read(data: U8) -> tuple[I64, bool]:
    out = np.empty(data.size // 2 + 1, np.int64)
    n = 0
    digits = 0
    value: Any = 0
    for i in range(data.size):
        char = np.int64(data[i])
        if 48 <= char <= 57:
            value = 10 * value + char - 48
            digits += 1
            if digits > MAX_DIGITS:
                return out[:0], False
        elif char == 32 or 9 <= char <= 13:
            if digits:
                out[n] = value
                n += 1
                value = 0
                digits = 0
        else:
            return out[:0], False
    if digits:
        out[n] = value
        n += 1
    return out[:n], True


@compiled
def _read_pairs(data: U8, base: int, total: int, relative: bool) -> tuple[I64, bool]:
    numbers, valid = _read(data)
    runs = numbers[: numbers.size - numbers.size % 2].reshape((-1, 2))
    if not valid or numbers.size % 2:
        return runs, False
    end = 0
    for i in range(runs.shape[0]):
        start = runs[i, 0] - base
        length = runs[i, 1]
        if start > total or length < 1 or length > total:
            return runs, False
        if relative:
            start += end
        if start < end or start + length > total:
            return runs, False
        runs[i, 0] = start
        end = start + length
    return runs, True


def read_numbers(data: U8) -> I64 | None:
    """Numbers of an ASCII text of digits and white space, or None where it is anything else."""
    numbers, valid = _read(data)
    return numbers if valid else None


def read_pairs(data: U8, base: int, total: int, relative: bool) -> I64 | None:
    """Runs (n, 2) of a text of start/length pairs, or None where a rule of the dialect is broken."""
    runs, valid = _read_pairs(data, base, total, relative)
    return runs if valid else None


@compiled
def compress_counts(counts: I64) -> U8:
    """COCO's string of counts: five bits a character, from the fourth count on minus the one two before."""
    out = np.empty(MAX_GROUPS * counts.size, np.uint8)
    n = 0
    for i in range(counts.size):
        rest = counts[i]
        if i > 2:
            rest -= counts[i - 2]
        while True:
            char = rest & 31
            rest >>= 5
            more = rest != (-1 if char & 16 else 0)
            out[n] = 48 + char + (32 if more else 0)
            n += 1
            if not more:
                break
    return out[:n]


@compiled
def _expand(data: U8) -> tuple[I64, bool]:
    counts = np.empty(data.size, np.int64)
    n = 0
    i = 0
    while i < data.size:
        value: Any = 0
        group = 0
        while True:
            if i == data.size or group == MAX_GROUPS or data[i] < 48 or data[i] > 111:
                return counts[:0], False
            char = np.int64(data[i]) - 48
            value |= (char & 31) << (5 * group)
            group += 1
            i += 1
            if not char & 32:
                break
        if char & 16:
            value |= np.int64(-1) << (5 * group)
        counts[n] = value + (counts[n - 2] if n > 2 else 0)
        n += 1
    return counts[:n], True


def expand_counts(data: U8) -> I64 | None:
    """Counts of COCO's string, or None where it is not one."""
    counts, valid = _expand(data)
    return counts if valid else None
