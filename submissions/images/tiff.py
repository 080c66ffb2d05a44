"""TIFF files read by windows: only the tiles or strips that a window touches are read and decoded."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from submissions.images.sources import (
    MAX_DECODED_PIXELS,
    FileSource,
    ImageInfo,
    as_integers,
    check_pixels,
    check_window,
    image_dtype,
)

_ALPHA = (1, 2)  # values of the ExtraSamples tag: associated and unassociated alpha
_RGB, _PALETTE, _SEPARATED = 2, 3, 5


@dataclass(frozen=True)
class _Layout:
    """How a TIFF's pages make up (Z, H, W, C): frames[z][c] are positions in the series."""

    frames: tuple[tuple[int, ...], ...]
    height: int
    width: int
    samples: int
    separate: bool
    keep: int
    palette: np.ndarray | None
    dtype: np.dtype
    pages: int

    @property
    def channels(self) -> int:
        if self.palette is not None:
            return 3
        return self.keep * len(self.frames[0])


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF; whatever tifffile raises for a damaged file becomes a ValueError that names it."""
    try:
        tiff = tifffile.TiffFile(path)
        _ = tiff.pages[0]  # a file cut off behind its header opens, but has no page
    except Exception as error:
        size = path.stat().st_size
        raise ValueError(f"{path}: no readable TIFF in {size} bytes ({error}): copy it again") from error
    return tiff


def _layout(tiff: tifffile.TiffFile, path: Path, page: int | None) -> _Layout:
    pages = len(tiff.pages)
    if page is not None and not 0 <= page < pages:
        raise ValueError(f"{path}: page {page} was asked for, the file has pages 0 to {pages - 1}")
    series = tiff.series[0].levels[0] if page is None else None
    key = tiff.pages[page].aspage() if series is None else series.keyframe
    if key.imagedepth != 1 or int(key.photometric) == _SEPARATED:
        kind = "CMYK" if key.imagedepth == 1 else "a volumetric page"
        raise ValueError(f"{path}: {kind} is not supported: convert it to grey or RGB pages")
    check_pixels(path, key.imagelength, key.imagewidth)
    if not key.is_contiguous:
        height, width = _segment_size(key)
        check_pixels(path, height, width, limit=MAX_DECODED_PIXELS, what="tile or strip")
    samples = key.samplesperpixel
    palette = np.asarray(key.colormap) if int(key.photometric) == _PALETTE else None
    alphas = sum(int(extra) in _ALPHA for extra in key.extrasamples)
    return _Layout(
        _frames(series, path), key.imagelength, key.imagewidth, samples, int(key.planarconfig) == 2,
        max(1, samples - alphas), palette, np.dtype(key.dtype), pages,
    )  # fmt: skip


def _frames(series: Any, path: Path) -> tuple[tuple[int, ...], ...]:
    """Positions of the pages of one slice, for every slice: an axis named C holds channels, others slices."""
    if series is None:
        return ((0,),)
    leading = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXS"]
    count = math.prod(size for _, size in leading)
    if len(series.pages) != count and series.dataoffset is None:
        raise ValueError(f"{path}: {len(series.pages)} pages for {count} slices: the file is damaged, copy it again")
    order = np.arange(count).reshape([size for _, size in leading])
    channel_axes = [i for i, (axis, _) in enumerate(leading) if axis == "C"]
    if channel_axes:
        order = np.moveaxis(order, channel_axes[0], -1).reshape(-1, leading[channel_axes[0]][1])
    else:
        order = order.reshape(-1, 1)
    return tuple(tuple(int(position) for position in row) for row in order)


def _segment_size(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


class TiffSource(FileSource):
    """A TIFF file as a source (Z, H, W, C): pages of one size are slices, or one page where `page` names it.

    Alpha is dropped, palettes are expanded to RGB; as_mask: one channel, integers as stored, palette indices.
    Decoded tiles are kept up to `cache_bytes`. Uncompressed pages are memory-mapped: a window costs what it covers.
    """

    def __init__(self, path: Path, *, page: int | None = None, as_mask: bool = False) -> None:
        super().__init__(path)
        self.page, self.as_mask = page, as_mask
        with open_tiff(path) as tiff:
            self._check_length(tiff)
            layout = _layout(tiff, path, page)
        self.layout = layout
        if as_mask:
            self.dtype = layout.dtype.newbyteorder("=") if layout.dtype.kind in "iub" else np.dtype(np.int32)
        else:
            self.dtype = np.dtype(np.uint8) if layout.palette is not None else image_dtype(layout.dtype)
        channels = 1 if as_mask else layout.channels
        self.shape = (len(layout.frames), layout.height, layout.width, channels)
        self._tiles: OrderedDict[tuple[Any, int], np.ndarray] = OrderedDict()
        self._tile_bytes = 0

    def info(self) -> ImageInfo:
        """Size and type of the file."""
        depth, height, width, channels = self.shape
        return ImageInfo(depth, height, width, channels, str(self.dtype), self.layout.pages)

    def _check_length(self, tiff: tifffile.TiffFile) -> None:
        first = tiff.pages[0]
        size = self.path.stat().st_size
        end = max(
            (int(o) + int(n) for o, n in zip(first.dataoffsets, first.databytecounts, strict=False)),
            default=0,
        )
        if end > size:
            raise ValueError(f"{self.path}: truncated TIFF: {size} bytes, expected {end} or more: copy it again")

    def _open(self) -> tifffile.TiffFile:
        self._tiles, self._tile_bytes = OrderedDict(), 0
        return open_tiff(self.path)

    def close(self) -> None:
        """Close the file and forget decoded tiles."""
        self._tiles, self._tile_bytes = OrderedDict(), 0
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tiles": OrderedDict(), "_tile_bytes": 0}

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), decoded from the tiles or strips it touches."""
        window = check_window(self.shape, z, rows, cols)
        planes = [self._frame(position, window) for position in self.layout.frames[z]]
        pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        if self.as_mask:
            if (pixels != pixels[..., :1]).any():
                raise ValueError(f"{self.path}: a mask has one value a pixel, found {pixels.shape[2]} that differ")
            return as_integers(np.ascontiguousarray(pixels[..., :1]), self.path).astype(self.dtype, copy=False)
        if self.layout.palette is not None:
            pixels = (self.layout.palette.T >> 8).astype(np.uint8)[pixels[..., 0]]
        return np.ascontiguousarray(pixels, dtype=self.dtype)

    def _frame(self, position: int, window: tuple[int, int, int, int]) -> np.ndarray:
        """Window of one page with the samples that are kept, (h, w, keep)."""
        tiff = self.handle()
        if self.page is not None:
            page, skipped = tiff.pages[self.page], 0
        else:
            pages = tiff.series[0].levels[0].pages
            page, skipped = (pages[position], 0) if len(pages) > position else (pages[0], position)
        key = page.keyframe
        if key.is_memmappable and page.is_contiguous:
            pixels = self._mapped(page.dataoffsets[0] + skipped * key.nbytes, tiff.byteorder, window)
        else:
            pixels = self._segments(page, window)
        return pixels[..., : self.layout.keep]

    def _mapped(self, offset: int, byteorder: Literal["<", ">"], window: tuple[int, int, int, int]) -> np.ndarray:
        top, bottom, left, right = window
        a = self.layout
        shape = (a.samples, a.height, a.width) if a.separate else (a.height, a.width, a.samples)
        try:
            stored = a.dtype.newbyteorder(byteorder)
            pixels = np.memmap(self.path, dtype=stored, mode="r", offset=int(offset), shape=shape)
        except ValueError as error:
            raise ValueError(f"{self.path}: truncated TIFF ({error}): copy it again from the host") from error
        cut = np.moveaxis(pixels, 0, -1) if a.separate else pixels
        return np.array(cut[top:bottom, left:right], dtype=a.dtype.newbyteorder("="))

    def _segments(self, page: Any, window: tuple[int, int, int, int]) -> np.ndarray:
        top, bottom, left, right = window
        a, (tall, wide) = self.layout, _segment_size(page.keyframe)
        down, across = -(-a.height // tall), -(-a.width // wide)
        out = np.zeros((bottom - top, right - left, a.samples), a.dtype.newbyteorder("="))
        for plane in range(a.samples if a.separate else 1):
            into = out[..., plane : plane + 1] if a.separate else out
            for i in range(top // tall, -(-bottom // tall)):
                for j in range(left // wide, -(-right // wide)):
                    tile = self._tile(page, (plane * down + i) * across + j)
                    if tile is None:  # a sparse file: an absent tile reads as zeros
                        continue
                    y0, y1 = max(top, i * tall), min(bottom, i * tall + tile.shape[0])
                    x0, x1 = max(left, j * wide), min(right, j * wide + tile.shape[1])
                    cut = tile[y0 - i * tall : y1 - i * tall, x0 - j * wide : x1 - j * wide]
                    into[y0 - top : y1 - top, x0 - left : x1 - left] = cut
        return out

    def _tile(self, page: Any, index: int) -> np.ndarray | None:
        """Decoded tile or strip (h, w, samples), None where the file holds none."""
        name = (page.index, index)
        if name in self._tiles:
            self._tiles.move_to_end(name)
            return self._tiles[name]
        count = int(page.databytecounts[index])
        if count == 0:
            return None
        stream = self.handle().filehandle
        stream.seek(int(page.dataoffsets[index]))
        data = stream.read(count)
        if len(data) != count:
            raise ValueError(
                f"{self.path}: truncated TIFF: tile {index} has {len(data)} of {count} bytes: copy it again"
            )
        tables = {"jpegtables": page.jpegtables} if int(page.keyframe.compression) in (6, 7) else {}
        try:
            decoded, _, shape = page.keyframe.decode(data, index, **tables)
        except Exception as error:
            raise ValueError(f"{self.path}: tile {index} cannot be decoded ({error}): copy it again") from error
        tile = decoded[0, : shape[1], : shape[2]]
        self._tiles[name] = tile
        self._tile_bytes += tile.nbytes
        while self._tile_bytes > self.cache_bytes and len(self._tiles) > 1:
            self._tile_bytes -= self._tiles.popitem(last=False)[1].nbytes
        return tile
