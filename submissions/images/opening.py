"""The one place that opens the host's image files: sizes without decoding, windows, whole pictures, masks.

    with closing(open_image("train/aa05346ff.tiff")) as reader:  # or a list of files, or a folder of slices
        depth, height, width, channels = reader.shape
        window = reader.read(0, slice(1000, 1512), slice(0, 512))  # (512, 512, C), RGB

The format is found from a file's first bytes (`formats/table.py` has the list). Pixels are uint8, uint16, float32 or
bool as stored (others as float32), RGB order, alpha dropped, palettes expanded, grey with C = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from submissions.images.formats.table import find_format, is_container
from submissions.images.joined_readers import LayerReader, StackReader, UnreadableReader
from submissions.images.readers import ArrayReader, FileReader, ImageInfo, ImageReader, SliceReader
from submissions.images.reading import AS_STORED, Reading
from submissions.images.stretched import to_the_finest
from submissions.images.turned import TurnedReader

__all__ = [
    "ArrayReader", "ImageReader", "LayerReader", "Reading", "SliceReader", "StackReader", "UnreadableReader",
    "open_image", "open_mask", "path_inside", "probe_image", "read_image", "read_mask_image", "resolve_inside",
]  # fmt: skip

Kind = Literal[
    "auto",
    "raster",
    "tiff",
    "picture",
    "nifti",
    "npy",
    "dicom",
    "series",
    "itk",
    "mrc",
    "zarr",
    "slide",
    "slices",
    "channels",
]


def _open_file(
    path: Path, page: int | None = None, kind: str = "auto", *, as_mask: bool = False, reading: Reading = AS_STORED
) -> ImageReader:
    found = find_format(path)
    if kind not in ("auto", found.name):
        raise ValueError(f"{path}: a {found.name} file was found where kind = {kind!r} was declared")
    paged = found.name == "tiff"
    reader = found.open(path, as_mask=as_mask, page=page if paged else None, reading=reading)
    if reading.turned and not as_mask and isinstance(reader, FileReader) and reader.orientation > 1:
        reader = TurnedReader(reader)
    frame = reading.frame if page is None or paged else page
    if frame is None or (reader.shape[0] == 1 and page is None):
        return reader
    if not 0 <= frame < reader.shape[0]:
        raise ValueError(f"{path}: frame {frame} was asked for, the file has frames 0 to {reader.shape[0] - 1}")
    return SliceReader(reader, [frame]) if reader.shape[0] > 1 else reader


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
    kind: Kind = "auto",
    reading: Reading = AS_STORED,
) -> ImageReader:
    """Open a file, a list of files, or a folder of files as one reader (Z, H, W, C).

    page: one page of a TIFF, or slice of another file, instead of all (Z = 1). kind: what a file has to be, or for a
    list or folder 'slices' (one a file, also under 'auto') or 'channels' (layers of coarser pixels are brought to the
    finest). reading: what the contract says of how pixels are read.

    Raises FileNotFoundError for a missing file and ValueError, naming the file, for a damaged, oversized or
    unsupported one, for members of unlike size, and for a page that does not exist.
    """
    if isinstance(path, (str, Path)) and (not Path(path).is_dir() or (kind != "slices" and is_container(Path(path)))):
        return _open_file(Path(path), page, kind, reading=reading)
    files = _members(Path(path)) if isinstance(path, (str, Path)) else [Path(p) for p in path]
    if kind not in ("auto", "slices", "channels"):
        raise ValueError(f"kind = {kind!r} for several files, expected 'slices' or 'channels'")
    readers = [_open_file(file, page, reading=reading) for file in files]
    return LayerReader(to_the_finest(readers)) if kind == "channels" else StackReader(readers)


def open_mask(path: Path | str, *, page: int | None = None, reading: Reading = AS_STORED) -> ImageReader:
    """Open a mask file as a reader (Z, H, W, 1) of integers as stored: palette indices, labels, {0, 65535}.

    Raises like `open_image`, and ValueError for a picture whose colours differ or numbers that are not whole.
    """
    return _open_file(Path(path), page, as_mask=True, reading=reading)


def probe_image(path: Path | str, *, page: int | None = None, reading: Reading = AS_STORED) -> ImageInfo:
    """Size, type, pages, spacing and pyramid levels of an image file, from its header; no pixel is decoded.

    Raises like `open_image`; damage inside the pixels is found only when they are read.
    """
    reader = _open_file(Path(path), page, reading=replace(reading, frame=None))
    reader = reader.reader if isinstance(reader, SliceReader) else reader
    assert isinstance(reader, FileReader)
    return reader.info()


def read_image(path: Path | str | Sequence[Path | str]) -> np.ndarray:
    """The image, of several slices the first, as (H, W, C): see `open_image`."""
    with closing(open_image(path)) as reader:
        return reader.read(0)


def read_mask_image(path: Path | str) -> np.ndarray:
    """The mask, of several slices the first, as integers (H, W), as stored: see `open_mask`."""
    with closing(open_mask(path)) as reader:
        return reader.read(0)[..., 0]


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
