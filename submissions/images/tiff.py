"""TIFF files read by windows: only the tiles or strips that a window touches are read and decoded."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from submissions.images.readers import (
    MAX_DECODED_PIXELS,
    FileReader,
    as_integers,
    check_pixels,
    check_window,
    image_dtype,
)
from submissions.images.reading import AS_STORED, Reading

_ALPHA = (1, 2)  # values of the ExtraSamples tag: associated and unassociated alpha
_MIN_IS_WHITE, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_READ = (_MIN_IS_WHITE, 1, _RGB, _PALETTE, 4, _YCBCR, 32803)  # PhotometricInterpretation; the last: colour filter array
_CODED = (6, 7, 33003, 33004, 33005, 34712)  # JPEG and JPEG 2000: their decoders turn YCbCr to RGB
_GDAL_NODATA, _ORIENTATION = 42113, 274
_LOOK = 256  # pixels: side of the windows in which the mean of an image is taken
_BESIDE = ("Thumbnail", "Label", "Macro", "Map")  # what scanners put beside the slide
_UNITS = {"µm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}


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
    alpha: int | None  # position of the alpha sample
    nodata: float | None  # GDAL's value of places without data
    white: int | None  # the largest value, where the least is white and pixels are turned round

    @property
    def channels(self) -> int:
        if self.palette is not None:
            return 3
        return self.keep * len(self.frames[0])


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF; what tifffile raises for a damaged file is named by the reader's methods."""
    tiff = tifffile.TiffFile(path)
    _ = tiff.pages[0]  # a file cut off behind its header opens, but has no page
    return tiff


def _layout(tiff: tifffile.TiffFile, path: Path, page: int | None, level: int, *, as_mask: bool) -> _Layout:
    pages = len(tiff.pages)
    if page is not None and not 0 <= page < pages:
        raise ValueError(f"{path}: page {page} was asked for, the file has pages 0 to {pages - 1}")
    series = _series(tiff, path, level) if page is None else None
    key = tiff.pages[page].aspage() if series is None else series.keyframe
    _check_kind(key, path)
    check_pixels(path, key.imagelength, key.imagewidth)
    if not key.is_contiguous:
        height, width = _segment_size(key)
        check_pixels(path, height, width, limit=MAX_DECODED_PIXELS, what="tile or strip")
    samples = key.samplesperpixel
    palette = np.asarray(key.colormap) if int(key.photometric) == _PALETTE else None
    alphas = sum(int(extra) in _ALPHA for extra in key.extrasamples)
    turned = int(key.photometric) == _MIN_IS_WHITE and np.dtype(key.dtype).kind == "u" and not as_mask
    white = (1 << int(key.bitspersample)) - 1 if turned else None
    return _Layout(
        _frames(series, path), key.imagelength, key.imagewidth, samples, int(key.planarconfig) == 2,
        max(1, samples - alphas), palette, np.dtype(key.dtype), pages, max(1, samples - alphas) if alphas else None,
        _nodata(key), white,
    )  # fmt: skip


def _nodata(key: Any) -> float | None:
    """The value that GDAL's tag 42113 gives to places without data; None where there is no such tag."""
    tag = key.tags.get(_GDAL_NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip().rstrip("\0"))
    except ValueError:
        return None


def _mask_page(tiff: tifffile.TiffFile, layout: _Layout) -> int | None:
    """Position of the page that says which pixels hold data (NewSubfileType 4, as GDAL's internal masks), of the
    image's size; None where there is none."""
    if len(layout.frames) > 1:
        return None
    for position in range(1, len(tiff.pages)):
        page = tiff.pages[position].aspage()
        if int(page.subfiletype) & 4 and (page.imagelength, page.imagewidth) == (layout.height, layout.width):
            return position
    return None


def _check_kind(key: Any, path: Path) -> None:
    """Refuse by name what would be read as something else than it is."""
    photometric, dtype = int(key.photometric), key.dtype
    wrong = None
    if key.imagedepth != 1:
        wrong = "a volumetric page"
    elif dtype is None or np.dtype(dtype).kind not in "biuf":
        wrong = f"{key.bitspersample} bits a sample of {dtype or 'an unknown type'}"
    elif photometric not in _READ:
        wrong = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab"}.get(photometric, f"colour kind {photometric}")
    elif photometric == _YCBCR and int(key.compression) not in _CODED:
        wrong = "YCbCr without JPEG"
    elif photometric == _MIN_IS_WHITE and np.dtype(dtype).kind in "if":
        wrong = f"min-is-white in {dtype}"
    if wrong is not None:
        raise ValueError(f"{path}: {wrong} is not supported: convert it to grey or RGB pages")


def _series(tiff: tifffile.TiffFile, path: Path, level: int) -> Any:
    """The one image of a file, at a level of its pyramid; several images of unlike size or type are refused."""
    beside = [one for one in tiff.series[1:] if not _belongs(one)]
    if beside:
        sizes = ", ".join(f"{'x'.join(map(str, one.shape))} {one.dtype}" for one in [tiff.series[0], *beside][:4])
        raise ValueError(
            f"{path}: {1 + len(beside)} images of unlike size or type in one file ({sizes}): images.kind: pages names "
            "one by its page; or split the file"
        )
    levels = tiff.series[0].levels
    if not 0 <= level < len(levels):
        raise ValueError(f"{path}: level {level} was asked for, the file has levels 0 to {len(levels) - 1}")
    return levels[level]


def _belongs(series: Any) -> bool:
    """Whether a further series is a smaller copy, a mask of transparency, or a scanner's picture of the glass."""
    return bool(int(series.keyframe.subfiletype) & 5) or str(series.name) in _BESIDE


def _micrometres(tiff: tifffile.TiffFile) -> float | None:
    """µm a pixel at full size, as Aperio, OME or ImageJ write it; a plain TIFF's resolution is for printers."""
    if tiff.is_svs:
        given = tifffile.tifffile.svs_description_metadata(tiff.pages[0].description).get("MPP")
        return float(given) if given else None
    if tiff.is_ome and tiff.ome_metadata:
        found = re.search(r'PhysicalSizeX="([^"]+)"', tiff.ome_metadata)
        unit = re.search(r'PhysicalSizeXUnit="([^"]+)"', tiff.ome_metadata)
        return float(found.group(1)) * _UNITS.get(unit.group(1) if unit else "µm", math.nan) if found else None
    tag = tiff.pages[0].tags.get("XResolution")
    unit_name = (tiff.imagej_metadata or {}).get("unit") if tiff.is_imagej else None
    if tag is None or not unit_name or not tag.value[0]:
        return None
    return tag.value[1] / tag.value[0] * _UNITS.get(str(unit_name).replace("\\u00B5", "µ"), math.nan)


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
            layout = _layout(tiff, path, page, reading.level, as_mask=as_mask)
            if page is None:
                self._levels(tiff, reading.level)
                self._mask_page = _mask_page(tiff, layout) if not as_mask else None
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
        size = _micrometres(tiff)
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
