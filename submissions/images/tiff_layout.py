"""How a TIFF file is laid out, from its tags alone: which pages are slices, what is data, how large a pixel is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from submissions.images.readers import MAX_DECODED_PIXELS, check_pixels

_ALPHA = (1, 2)  # values of the ExtraSamples tag: associated and unassociated alpha
_MIN_IS_WHITE, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_READ = (_MIN_IS_WHITE, 1, _RGB, _PALETTE, 4, _YCBCR, 32803)  # PhotometricInterpretation; the last: colour filter array
_CODED = (6, 7, 33003, 33004, 33005, 34712)  # JPEG and JPEG 2000: their decoders turn YCbCr to RGB
_GDAL_NODATA = 42113  # tag
_BESIDE = ("Thumbnail", "Label", "Macro", "Map")  # what scanners put beside the slide
_UNITS = {"µm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}


@dataclass(frozen=True)
class Layout:
    """How a TIFF's pages make up (Z, H, W, C): frames[z][c] are positions in the series."""

    frames: tuple[tuple[int, ...], ...]
    height: int
    width: int
    samples: int  # of a pixel of a page as stored, alpha included
    separate: bool  # whether a page holds one plane a sample, one behind the other
    keep: int  # samples without alpha, which are returned
    palette: np.ndarray | None  # uint16 (3, colours)
    dtype: np.dtype
    pages: int
    alpha: int | None  # position of the alpha sample
    nodata: float | None  # GDAL's value of places without data
    white: int | None  # the largest value, where the least is white and pixels are turned round

    @property
    def channels(self) -> int:
        """Channels of the pixels that are returned."""
        if self.palette is not None:
            return 3
        return self.keep * len(self.frames[0])


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF; what tifffile raises for a damaged file is named by the reader's methods."""
    tiff = tifffile.TiffFile(path)
    _ = tiff.pages[0]  # a file cut off behind its header opens, but has no page
    return tiff


def read_layout(tiff: tifffile.TiffFile, path: Path, page: int | None, level: int, *, as_mask: bool) -> Layout:
    """The layout of a file's image at a level of its pyramid, or of one `page`; as_mask: values are labels.

    Raises ValueError that names the file for pages, levels or kinds of pixels that cannot be read, and for sizes that
    no sound file has.
    """
    pages = len(tiff.pages)
    if page is not None and not 0 <= page < pages:
        raise ValueError(f"{path}: page {page} was asked for, the file has pages 0 to {pages - 1}")
    series = _series(tiff, path, level) if page is None else None
    key = tiff.pages[page].aspage() if series is None else series.keyframe
    _check_kind(key, path)
    check_pixels(path, key.imagelength, key.imagewidth)
    if not key.is_contiguous:
        height, width = segment_size(key)
        check_pixels(path, height, width, limit=MAX_DECODED_PIXELS, what="tile or strip")
    samples = key.samplesperpixel
    palette = np.asarray(key.colormap) if int(key.photometric) == _PALETTE else None
    alphas = sum(int(extra) in _ALPHA for extra in key.extrasamples)
    turned = int(key.photometric) == _MIN_IS_WHITE and np.dtype(key.dtype).kind == "u" and not as_mask
    white = (1 << int(key.bitspersample)) - 1 if turned else None
    return Layout(
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


def mask_page(tiff: tifffile.TiffFile, layout: Layout) -> int | None:
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


def micrometres(tiff: tifffile.TiffFile) -> float | None:
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


def segment_size(page: Any) -> tuple[int, int]:
    """Height and width of a page's tiles or strips."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth
