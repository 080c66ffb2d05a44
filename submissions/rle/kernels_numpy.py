"""The run-length codec's inner steps in NumPy alone: equal results to `kernels_numba`, where numba is absent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

SPACE = b" \t\n\v\f\r"
MAX_DIGITS = 18
MAX_GROUPS = 12


def changes_rows(flat: U8, before: int, first: int) -> I64:
    """Positions, from `first` on and ascending, where `flat` differs from the pixel read before it."""
    bits = flat != 0
    inner = np.flatnonzero(bits[1:] != bits[:-1]) + (first + 1)
    head = [first] if bits[0] != bool(before) else []
    return np.concatenate([np.array(head, np.int64), inner])


def changes_columns(strip: U8, above: U8, first_row: int, height: int) -> I64:
    """Where a pixel differs from the one above it, as col * height + row, in no useful order."""
    bits = strip != 0
    top = np.flatnonzero(bits[0] != (above != 0))
    rows, cols = np.divmod(np.flatnonzero(bits[1:] != bits[:-1]), strip.shape[1])
    return np.concatenate([top * height + first_row, cols * height + (rows + first_row + 1)]).astype(np.int64)


def sort_by_line(positions: I64, length: int, lines: int) -> I64:
    """Sort positions whose order is right within each line of `length` pixels."""
    return np.sort(positions)


def paint_rows(runs: I64, height: int, width: int) -> U8:
    """Mask (height, width), C-contiguous, of runs (n, 2) read along rows."""
    edges = np.zeros(2 * len(runs) + 2, np.int64)
    edges[1:-1:2] = runs[:, 0]
    edges[2:-1:2] = runs[:, 0] + runs[:, 1]
    edges[-1] = height * width
    bits = np.zeros(2 * len(runs) + 1, np.uint8)
    bits[1::2] = 1
    return np.repeat(bits, np.diff(edges)).reshape(height, width)


def paint_columns(runs: I64, height: int, width: int) -> U8:
    """Mask (height, width), C-contiguous, of runs (n, 2) read along columns."""
    return np.ascontiguousarray(paint_rows(runs, width, height).T)


def write_numbers(numbers: I64) -> U8:
    """Decimal digits of non-negative numbers, separated by single spaces, as ASCII bytes."""
    return np.frombuffer(" ".join(map(str, numbers.tolist())).encode("ascii"), np.uint8)


def read_numbers(data: U8) -> I64 | None:
    """Numbers of an ASCII text of digits and white space, or None where it is anything else."""
    text = data.tobytes()
    if text.translate(None, b"0123456789" + SPACE):
        return None
    tokens = text.split()
    if max(map(len, tokens), default=0) > MAX_DIGITS:
        return None
    return np.fromiter(map(int, tokens), np.int64, len(tokens))


def read_pairs(data: U8, base: int, total: int, relative: bool) -> I64 | None:
    """Runs (n, 2) of a text of start/length pairs, or None where a rule of the dialect is broken."""
    numbers = read_numbers(data)
    if numbers is None or numbers.size % 2:
        return None
    starts, lengths = numbers[0::2] - base, numbers[1::2]
    if np.any(starts > total) or np.any(lengths < 1) or np.any(lengths > total):
        return None
    if relative:
        starts = np.cumsum(starts) + np.cumsum(lengths) - lengths
    ends = starts + lengths
    if np.any(starts[1:] < ends[:-1]) or np.any(starts[:1] < 0) or np.any(ends > total):
        return None
    return np.stack([starts, lengths], axis=1)


def compress_counts(counts: I64) -> U8:
    """COCO's string of counts: five bits a character, from the fourth count on minus the one two before."""
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    chars = np.zeros((counts.size, MAX_GROUPS), np.uint8)
    more = np.ones(counts.size, bool)
    for group in range(MAX_GROUPS):
        low = rest & 31
        rest = rest >> 5
        goes_on = more & (rest != np.where(low & 16, -1, 0))
        chars[more, group] = (48 + low + 32 * goes_on)[more]
        more = goes_on
    return chars[chars > 0]


def expand_counts(data: U8) -> I64 | None:
    """Counts of COCO's string, or None where it is not one."""
    chars = data.astype(np.int64) - 48
    if chars.size == 0:
        return np.zeros(0, np.int64)
    if np.any((chars < 0) | (chars > 63)) or chars[-1] & 32:
        return None
    begins = np.flatnonzero(np.concatenate([[True], (chars[:-1] & 32) == 0]))
    groups = np.diff(np.append(begins, chars.size))
    if groups.max() > MAX_GROUPS:
        return None
    place = np.arange(chars.size) - np.repeat(begins, groups)
    counts = np.add.reduceat((chars & 31) << (5 * place), begins)
    negative = (chars[begins + groups - 1] & 16) > 0
    counts -= np.where(negative, np.int64(1) << (5 * groups), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts
