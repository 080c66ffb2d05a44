"""TIFF files read by windows: only the tiles or strips that a window touches are read and decoded."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from submissions.images.readers import FileReader, as_integers, check_window, image_dtype
from submissions.images.reading import AS_STORED, Reading
from submissions.images.tiff_layout import mask_page, micrometres, open_tiff, read_layout, segment_size

_ORIENTATION = 274  # tag
_LOOK = 256  # pixels: side of the windows in which the mean of an image is taken


class TiffReader(FileReader):
    """A TIFF file as a reader (Z, H, W, C): pages of one size are slices, or one page where `page` names it.

    Alpha is dropped, palettes are expanded to RGB; as_mask: one channel, integers as stored, palette indices.
    Where the file says that the least is white, grey values are turned round; not labels, which are numbers and no
    brightness, and not single bits, which tifffile marks so whatever they mean.
    Decoded tiles are kept up to `cache_bytes`. Uncompressed pages are memory-mapped: a window costs what it covers.
    """

    def __init__(
        self, path: Path, *, page: int | None = None, as_mask: bool = False, reading: Reading = AS_STORED
    ) -> None:
        super().__init__(path)
        self.page, self.as_mask, self.level = page, as_mask, reading.level
        self._mask_page: int | None = None
        self._mask: TiffReader | None = None
        with open_tiff(path) as tiff:
            self._check_length(tiff)
            layout = read_layout(tiff, path, page, reading.level, as_mask=as_mask)
            if page is None:
                self._levels(tiff, reading.level)
                self._mask_page = mask_page(tiff, layout) if not as_mask else None
            tag = tiff.pages[page or 0].aspage().tags.get(_ORIENTATION)
        self.layout, self.pages = layout, layout.pages
        self.orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else 1
        if as_mask:
            self.dtype = layout.dtype.newbyteorder("=") if layout.dtype.kind in "iub" else np.dtype(np.int32)
        else:
            self.dtype = np.dtype(np.uint8) if layout.palette is not None else image_dtype(layout.dtype)
        channels = 1 if as_mask else layout.channels
        marked = (layout.nodata, layout.alpha, self._mask_page)
        self.void = not as_mask and any(mark is not None for mark in marked)
        self._fill: np.ndarray | None = None
        self.shape = (len(layout.frames), layout.height, layout.width, channels)
        self._tiles: OrderedDict[tuple[Any, int], np.ndarray] = OrderedDict()
        self._tile_bytes = 0

    def _levels(self, tiff: tifffile.TiffFile, level: int) -> None:
        keys = [one.keyframe for one in tiff.series[0].levels]
        self.levels = tuple((int(key.imagelength), int(key.imagewidth)) for key in keys)
        size = micrometres(tiff)
        if size is not None and size > 0:
            self.pixel_size_um = size * self.levels[0][1] / self.levels[level][1]

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
        if self._mask is not None:
            self._mask.close()
        self._tiles, self._tile_bytes = OrderedDict(), 0
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tiles": OrderedDict(), "_tile_bytes": 0}

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), decoded from the tiles or strips it touches."""
        window = check_window(self.shape, z, rows, cols)
        pixels = self._samples(z, window)
        if self.layout.nodata is not None and not self.as_mask:
            lacking = self._lacking(pixels)
            if lacking.any():
                pixels[lacking] = self._filling()
        if self.as_mask:
            if (pixels != pixels[..., :1]).any():
                raise ValueError(f"{self.path}: a mask has one value per pixel, found {pixels.shape[2]} that differ")
            return as_integers(np.ascontiguousarray(pixels[..., :1]), self.path).astype(self.dtype, copy=False)
        if self.layout.palette is not None:
            pixels = (self.layout.palette.T >> 8).astype(np.uint8)[pixels[..., 0]]
        if self.layout.white is not None:
            pixels = (self.layout.white - pixels).astype(pixels.dtype)
        return np.ascontiguousarray(pixels, dtype=self.dtype)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where alpha or the file's mask of transparency is 0, or every channel has the value of
        GDAL's nodata tag."""
        window = check_window(self.shape, z, rows, cols)
        valid = np.ones((window[1] - window[0], window[3] - window[2]), bool)
        if self.layout.nodata is not None:
            valid &= ~self._lacking(self._samples(z, window))
        if self.layout.alpha is not None:
            for position in self.layout.frames[z]:
                valid &= self._frame(position, window, whole=True)[..., self.layout.alpha] > 0
        if self._mask_page is not None:
            self._mask = self._mask or TiffReader(self.path, page=self._mask_page, as_mask=True)
            valid &= self._mask.read(0, rows, cols)[..., 0] > 0
        return valid

    def _lacking(self, samples: np.ndarray) -> np.ndarray:
        """bool (h, w): where all samples are the value of places without data."""
        nodata = self.layout.nodata
        if nodata is None or math.isnan(nodata):
            return np.isnan(samples).all(axis=2)
        wanted = np.float32(nodata) if samples.dtype == np.float32 else nodata
        return np.asarray((samples == wanted).all(axis=2))

    def _filling(self) -> np.ndarray:
        """What places without data show, (samples,): the mean of the image, seen in windows on a grid.

        So they are nothing special once the image is normalised, and the same in every window that is read.
        """
        if self._fill is None:
            _, height, width, _ = self.shape
            tall, wide = min(height, _LOOK), min(width, _LOOK)
            seen = []
            for top in np.unique(np.linspace(0, height - tall, 4).astype(int)):
                for left in np.unique(np.linspace(0, width - wide, 4).astype(int)):
                    samples = self._samples(0, (int(top), int(top) + tall, int(left), int(left) + wide))
                    seen.append(samples[~self._lacking(samples)])
            known = np.concatenate(seen)
            count = sum(self.layout.keep for _ in self.layout.frames[0])
            self._fill = known.mean(axis=0, dtype=np.float64) if len(known) else np.zeros(count)
        kind = self.layout.dtype
        return np.asarray(np.rint(self._fill) if kind.kind in "iu" else self._fill).astype(kind)

    def _samples(self, z: int, window: tuple[int, int, int, int]) -> np.ndarray:
        """Window of slice z as stored, without alpha, (h, w, samples)."""
        planes = [self._frame(position, window) for position in self.layout.frames[z]]
        return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)

    def _frame(self, position: int, window: tuple[int, int, int, int], *, whole: bool = False) -> np.ndarray:
        """Window of one page with the samples that are kept, (h, w, keep), or with all where `whole`."""
        tiff = self.handle()
        if self.page is not None:
            page, skipped = tiff.pages[self.page], 0
        else:
            pages = tiff.series[0].levels[self.level].pages
            page, skipped = (pages[position], 0) if len(pages) > position else (pages[0], position)
        key = page.keyframe
        if key.is_memmappable and page.is_contiguous:
            pixels = self._mapped(page.dataoffsets[0] + skipped * key.nbytes, tiff.byteorder, window)
        else:
            pixels = self._segments(page, window)
        return pixels if whole else pixels[..., : self.layout.keep]

    def _mapped(self, offset: int, byteorder: Literal["<", ">"], window: tuple[int, int, int, int]) -> np.ndarray:
        top, bottom, left, right = window
        a = self.layout
        shape = (a.samples, a.height, a.width) if a.separate else (a.height, a.width, a.samples)
        stored = a.dtype.newbyteorder(byteorder)
        pixels = np.memmap(self.path, dtype=stored, mode="r", offset=int(offset), shape=shape)
        cut = np.moveaxis(pixels, 0, -1) if a.separate else pixels
        return np.array(cut[top:bottom, left:right], dtype=a.dtype.newbyteorder("="))

    def _segments(self, page: Any, window: tuple[int, int, int, int]) -> np.ndarray:
        top, bottom, left, right = window
        a, (tall, wide) = self.layout, segment_size(page.keyframe)
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
