"""The one place that opens the host's image files: sizes without decoding, windows, whole pictures, masks.

    with open_image("train/aa05346ff.tiff") as source:       # or a list of files, or a folder of slices
        depth, height, width, channels = source.shape
        window = source.read(0, slice(1000, 1512), slice(0, 512))  # (512, 512, C), RGB

The format is found from a file's first bytes. Pixels are uint8, uint16, float32 or bool as stored (others as
float32), RGB order, alpha dropped, palettes expanded, grey with C = 1.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from submissions.images.nifti import NiftiSource
from submissions.images.rasters import PNG_MAGIC, RasterSource, probe_raster
from submissions.images.sources import (
    MAX_DECODED_PIXELS,
    MAX_PIXELS,
    ArraySource,
    FileSource,
    ImageInfo,
    ImageSource,
    LayerSource,
    SliceSource,
    StackSource,
    UnreadableSource,
    as_integers,
    check_pixels,
    check_window,
    image_dtype,
)
from submissions.images.tiff import TiffSource

__all__ = [
    "MAX_DECODED_PIXELS", "MAX_PIXELS", "ArraySource", "ImageInfo", "ImageSource", "Kind", "LayerSource",
    "SliceSource", "StackSource", "UnreadableSource", "open_image", "open_mask", "path_inside", "probe_image",
    "read_image", "read_mask_image", "resolve_inside",
]  # fmt: skip

Kind = Literal["auto", "raster", "tiff", "nifti", "npy", "slices", "channels"]
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_SUPPORTED = "PNG, JPEG, BMP, TIFF, NIfTI or .npy"


def sniff_format(path: Path) -> str:
    """Format of a file from its first bytes: 'raster', 'tiff', 'nifti' or 'npy'.

    Raises FileNotFoundError for a missing file, ValueError for an empty one or one that none of them reads.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.iterdir())[:3] if path.parent.is_dir() else []
        hint = f"the folder holds {', '.join(near)} ..." if near else "the folder does not exist or is empty"
        raise FileNotFoundError(f"{path}: no such image file; {hint}")
    with path.open("rb") as stream:
        head = stream.read(352)
    if not head:
        raise ValueError(f"{path}: the file is empty (0 bytes): copy it again from the host")
    if head.startswith((PNG_MAGIC, b"\xff\xd8\xff")) or (head.startswith(b"BM") and len(head) >= 26):
        return "raster"
    if head.startswith(_TIFF_MAGIC):
        return "tiff"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as stream:
                head = stream.read(352)
        except (OSError, EOFError) as error:
            raise ValueError(f"{path}: damaged gzip file ({error}): copy it again from the host") from error
    if head[344:347] in (b"n+1", b"ni1") or head[4:7] == b"n+2":
        return "nifti"
    raise ValueError(f"{path}: bytes {head[:8]!r} at the start, expected {_SUPPORTED}: convert the file to one of them")


def _npy_array(path: Path) -> np.ndarray:
    """Memory-map of an array (H, W), (H, W, 1 to 4), (Z, H, W) or (Z, H, W, C), shown as (Z, H, W, C)."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        size = path.stat().st_size
        raise ValueError(f"{path}: no readable array in {size} bytes ({error}): copy it again") from error
    if array.dtype.kind not in "biuf" or not 2 <= array.ndim <= 4:
        raise ValueError(f"{path}: array {array.shape} of {array.dtype}, expected 2 to 4 axes of numbers")
    if array.ndim == 2:
        array = array[None, :, :, None]
    elif array.ndim == 3:
        array = array[None] if array.shape[2] <= 4 else array[..., None]
    check_pixels(path, array.shape[1], array.shape[2])
    return array


class NpySource(FileSource):
    """A .npy file as a source (Z, H, W, C), memory-mapped; as_mask: one channel of integers."""

    def __init__(self, path: Path, *, as_mask: bool = False) -> None:
        super().__init__(path)
        array = _npy_array(path)
        self.as_mask = as_mask
        self.shape = (array.shape[0], array.shape[1], array.shape[2], array.shape[3])
        if as_mask and self.shape[3] != 1:
            raise ValueError(f"{path}: a mask array has axes (H, W) or (Z, H, W), found {array.shape}")
        integer = np.dtype(np.int32) if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
        self.dtype = integer if as_mask else image_dtype(array.dtype)

    def _open(self) -> np.ndarray:
        return _npy_array(self.path)

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), a copy."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        window = np.array(self.handle()[z, top:bottom, left:right])
        if self.as_mask:
            window = as_integers(window, self.path)
        return window.astype(self.dtype, copy=False)


def _open_file(path: Path, page: int | None, kind: str, as_mask: bool) -> ImageSource:
    found = sniff_format(path)
    if kind not in ("auto", found):
        raise ValueError(f"{path}: a {found} file was found where kind = {kind!r} was declared")
    if page is not None and found != "tiff":
        raise ValueError(f"{path}: page {page} was asked for, but only TIFF files have pages and this is {found}")
    if found == "tiff":
        return TiffSource(path, page=page, as_mask=as_mask)
    if found == "nifti":
        return NiftiSource(path, as_mask=as_mask)
    if found == "npy":
        return NpySource(path, as_mask=as_mask)
    return RasterSource(path, as_mask=as_mask)


def _members(path: Path) -> list[Path]:
    """Files of a folder of slices in the order of their names, hidden ones left out."""
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"{path}: the folder holds no files, expected one image file a slice")
    return files


def open_image(
    path: Path | str | Sequence[Path | str],
    *,
    page: int | None = None,
    layers: Sequence[int] | None = None,
    kind: Kind = "auto",
) -> ImageSource:
    """Open a file, a list of files, or a folder of files as one source (Z, H, W, C).

    page: one page of a TIFF (Z = 1) instead of all. layers: these slices (positions in the list, the sorted
    folder, the file's pages) become the channels of one image, in this order. kind: what a file has to be, or
    for a list or folder 'slices' (one a file, also under 'auto') or 'channels'.

    Raises FileNotFoundError for a missing file and ValueError, naming the file, for a damaged, oversized or
    unsupported one, for members of unlike size, and for a page or layer that does not exist.
    """
    if isinstance(path, (str, Path)) and not Path(path).is_dir():
        source = _open_file(Path(path), page, kind, False)
    else:
        files = _members(Path(path)) if isinstance(path, (str, Path)) else [Path(p) for p in path]
        if kind not in ("auto", "slices", "channels"):
            raise ValueError(f"kind = {kind!r} for several files, expected 'slices' or 'channels'")
        if layers is not None:
            bad = [i for i in layers if not 0 <= i < len(files)]
            if bad:
                raise ValueError(f"layers {bad} asked for: there are files 0 to {len(files) - 1}, from {files[0]}")
            files, kind = [files[i] for i in layers], "channels"
        sources = [_open_file(file, page, "auto", False) for file in files]
        return LayerSource(sources) if kind == "channels" else StackSource(sources)
    if layers is None:
        return source
    return LayerSource([SliceSource(source, [z]) for z in layers])


def open_mask(path: Path | str, *, page: int | None = None) -> ImageSource:
    """Open a mask file as a source (Z, H, W, 1) of integers as stored: palette indices, labels, {0, 65535}.

    Raises like `open_image`, and ValueError for a picture whose colours differ or numbers that are not whole.
    """
    return _open_file(Path(path), page, "auto", True)


def probe_image(path: Path | str, *, page: int | None = None) -> ImageInfo:
    """Size, type, pages and spacing of an image file, from its header; no pixel is decoded.

    Raises like `open_image`; damage inside the pixels is found only when they are read.
    """
    path = Path(path)
    found = sniff_format(path)
    if found == "raster" and page is None:
        return probe_raster(path)
    source = _open_file(path, page, found, False)
    if isinstance(source, (TiffSource, NiftiSource)):
        return source.info()
    depth, height, width, channels = source.shape
    return ImageInfo(depth, height, width, channels, str(source.dtype))


def read_image(path: Path | str | Sequence[Path | str], *, z: int = 0, page: int | None = None) -> np.ndarray:
    """Slice z of an image as (H, W, C)."""
    source = open_image(path, page=page)
    try:
        return source.read(z)
    finally:
        source.close()


def read_mask_image(path: Path | str, *, page: int | None = None, z: int = 0) -> np.ndarray:
    """Slice z of a mask file as integers (H, W), as stored: see `open_mask`."""
    source = open_mask(path, page=page)
    try:
        return source.read(z)[..., 0]
    finally:
        source.close()


def path_inside(root: Path | str, relative: str) -> Path:
    """Path of a file that the contract or the user's own folders name, below `root`; links are followed.

    Raises ValueError for an empty or absolute name and for one with '..'.
    """
    name = str(relative)
    if not name.strip() or "\x00" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"file name {name!r}: expected a name relative to {root}, without '..': it leads outside")
    return Path(root) / name


def resolve_inside(root: Path | str, relative: str) -> Path:
    """Path of a file that a host's table names, held inside `root`.

    Raises ValueError for an empty or absolute name and for one that leaves root, by '..' or by a link.
    """
    name = str(relative)
    base = Path(root).resolve()
    if not name.strip() or "\x00" in name or Path(name).is_absolute():
        raise ValueError(f"file name {name!r}: expected a name relative to {root}")
    target = (base / name).resolve()
    if not target.is_relative_to(base):
        raise ValueError(f"file name {name!r} leads to {target}, outside of {root}: the table may not point there")
    return Path(root) / name
