"""The one place that stacks slices and normalises: training and inference show a network the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.config import InputConfig
from submissions.images.readers import valid_pixels

if TYPE_CHECKING:
    from submissions.images.opening import ImageReader

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
READ_ROWS = 1024
SAMPLES = 2_000_000


@dataclass(frozen=True)
class Statistics:
    """Linear map of host values before `mean` and `std` are applied: `(value - low) / (high - low)`.

    `low` and `high` hold one value, or one per channel of a slice, in host units. Plain floats: fit for JSON.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]


def stack_indices(z: int, depth: int, offsets: Sequence[int], boundary: str) -> list[int | None]:
    """Return the slice shown for every offset around slice `z` of a stack of `depth` slices.

    `boundary` says what stands beyond the ends: "clamp" the last slice, "reflect" the stack mirrored about
    its last slice (not repeated), "zero" no slice at all (None; read as zeros in host units).
    """
    if not 0 <= z < depth:
        raise ValueError(f"slice {z} is outside the stack: expected 0 to {depth - 1}")
    indices: list[int | None] = []
    for wanted in (z + offset for offset in offsets):
        if 0 <= wanted < depth:
            indices.append(wanted)
        elif boundary == "clamp":
            indices.append(min(max(wanted, 0), depth - 1))
        elif boundary == "reflect":
            indices.append(int(reflect_indices(wanted, wanted + 1, depth)[0]))
        elif boundary == "zero":
            indices.append(None)
        else:
            raise ValueError(f"boundary is {boundary!r}, expected 'clamp', 'reflect' or 'zero'")
    return indices


def reflect_indices(start: int, stop: int, size: int) -> np.ndarray:
    """Return int64 indices into `range(size)` for positions start..stop-1, mirrored at both ends.

    The first and last element are not repeated (`-1` is 1, `size` is `size - 2`); any distance is folded
    back.
    """
    if size == 1:
        return np.zeros(stop - start, dtype=np.int64)
    folded = np.arange(start, stop, dtype=np.int64) % (2 * size - 2)
    return np.where(folded < size, folded, 2 * size - 2 - folded)


def read_input(reader: ImageReader, z: int, rows: slice | None, cols: slice | None, config: InputConfig) -> np.ndarray:
    """Read the window of slice `z` and its neighbours: `(h, w, C * slices)` in the host's dtype.

    Slice-major: all channels of the first offset, then of the second. `None` stands for all rows or columns.
    """
    indices = stack_indices(z, reader.shape[0], config.offsets, config.boundary)
    read: dict[int, np.ndarray] = {}
    for index in indices:
        if index is not None and index not in read:
            read[index] = reader.read(index, rows, cols)
    if len(indices) == 1 and indices[0] is not None:
        return read[indices[0]]
    blank = np.zeros_like(next(iter(read.values()))) if read else _blank(reader, rows, cols)
    return np.concatenate([blank if index is None else read[index] for index in indices], axis=2)


def statistics(reader: ImageReader, config: InputConfig, slices: Sequence[int] | None = None) -> Statistics:
    """Measure what `normalise` needs, over `slices` (default: all) of one image or volume.

    "fixed" reads nothing: integers are divided by their type's maximum, floats are taken to lie in [0, 1].
    "image" takes mean and standard deviation of every channel; "percentile" the percentiles 1 and 99. Both
    read in strips of bounded size; images of more than 2 million values a channel are sampled on a regular
    grid. Places without data are left out.
    """
    if config.normalisation == "fixed":
        return Statistics((0.0,), (value_maximum(reader.dtype),))
    values = _sample(reader, config, range(reader.shape[0]) if slices is None else slices)
    if config.normalisation == "image":
        low = values.mean(axis=0, dtype=np.float64)
        high = low + values.std(axis=0, dtype=np.float64)
    else:
        low, high = np.percentile(values, [1, 99], axis=0)
    flat = ~(high - low > 1e-6 * np.maximum(1.0, np.abs(low)))
    high = np.where(flat, low + 1.0, high)
    return Statistics(tuple(map(float, low)), tuple(map(float, high)))


def normalise(image: np.ndarray, measured: Statistics, config: InputConfig) -> np.ndarray:
    """Turn `(h, w, C * slices)` in the host's dtype into float32 `(channels * slices, h, w)`.

    Grey is repeated and RGB reduced to luminance as `config.channels` asks. "fixed" and "percentile" values
    are mapped to [0, 1] ("percentile" clips) and then to `(value - mean) / std`; "image" to zero mean, unit
    variance. The result is a view of channels-last memory: torch takes it as such, without a copy.
    """
    slices = len(config.offsets)
    values = _adapt(image, config.channels, slices)
    height, width, channels = values.shape
    low, high = np.asarray(measured.low, np.float64), np.asarray(measured.high, np.float64)
    if config.normalisation == "image":
        mean, std = np.zeros(1), np.ones(1)
    else:
        mean, std = np.asarray(config.mean, np.float64), np.asarray(config.std, np.float64)
    scale = np.broadcast_to(1.0 / ((high - low) * std), config.channels)
    shift = np.broadcast_to(-low / ((high - low) * std) - mean / std, config.channels)
    # One multiplication over whole rows: a broadcast over the last axis of 3 would run loops of length 3.
    row_scale = np.tile(scale, slices * width).astype(np.float32)
    row_shift = np.tile(shift, slices * width).astype(np.float32)
    flat = np.multiply(values.reshape(height, width * channels), row_scale, dtype=np.float32, casting="unsafe")
    flat += row_shift
    if config.normalisation == "percentile":
        bottom, top = (
            np.broadcast_to(-mean / std, config.channels),
            np.broadcast_to((1 - mean) / std, config.channels),
        )
        np.clip(flat, np.tile(bottom, slices * width), np.tile(top, slices * width), out=flat, casting="unsafe")
    return flat.reshape(height, width, channels).transpose(2, 0, 1)


def value_maximum(dtype: np.dtype) -> float:
    """Return the host's value that stands for 1: the largest of an integer type, 1 of floats and bool."""
    dtype = np.dtype(dtype)
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def _adapt(image: np.ndarray, channels: int, slices: int) -> np.ndarray:
    """Give every slice of `(h, w, C * slices)` the wanted number of channels."""
    height, width, total = image.shape
    host = total // slices
    fits = host in (1, channels) or (host, channels) == (3, 1)
    if total != host * slices or not fits:
        raise ValueError(
            f"the image has {total} channels for {slices} slice(s), but input.channels is {channels}: expected "
            f"{channels} per slice, 1 (repeated), or 3 with input.channels 1; set input.channels to what the host gives"
        )
    if host == channels:
        return np.ascontiguousarray(image)
    if host == 1:
        return np.repeat(image, channels, axis=2)
    return image.reshape(height, width, slices, 3).astype(np.float32) @ LUMINANCE


def _sample(reader: ImageReader, config: InputConfig, slices: Sequence[int]) -> np.ndarray:
    """Read float32 `(n, channels of a slice)` on a regular grid of at most about SAMPLES positions."""
    _, height, width, host = reader.shape
    step = max(1, int(np.ceil(np.sqrt(len(slices) * height * width / SAMPLES))))
    channels = 1 if host == 1 else config.channels
    found = []
    for z in slices:
        for start in range(0, height, READ_ROWS):
            rows = slice(start, min(height, start + READ_ROWS))
            block = _adapt(reader.read(z, rows, None)[-start % step :: step, ::step], channels, 1)
            valid = valid_pixels(reader, z, rows, None)
            known = block if valid is None else block[valid[-start % step :: step, ::step]]
            found.append(known.reshape(-1, channels).astype(np.float32))
    values = np.concatenate(found)
    return values if len(values) else np.zeros((1, channels), np.float32)


def _blank(reader: ImageReader, rows: slice | None, cols: slice | None) -> np.ndarray:
    _, height, width, channels = reader.shape
    shape = [len(range(*(part or slice(None)).indices(size))) for part, size in ((rows, height), (cols, width))]
    return np.zeros((shape[0], shape[1], channels), dtype=reader.dtype)
