"""What every opened image offers, whether it is a file, an array, or another reader seen otherwise."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from submissions.images.damaged import named

MAX_PIXELS = 4_000_000_000  # height x width of one slice of a file that is read by windows
TILE_CACHE = 128 << 20  # bytes of decoded tiles that one file keeps; the members of a stack share four times that
MAX_DECODED_PIXELS = 1 << 30  # of a slice, tile or strip that can only be decoded as a whole (OpenCV's own limit)
KEPT_DTYPES = tuple(np.dtype(name) for name in ("uint8", "uint16", "float32", "bool"))


@dataclass(frozen=True)
class ImageInfo:
    """Size of an image file, known without decoding its pixels.

    depth: slices (pages of a TIFF, slices of a volume), 1 for a plain image; height, width: of a slice;
    channels: after alpha is dropped and a palette is expanded; dtype: as `ImageReader.read` returns it;
    pages: pages in the file (1 where the format has none); spacing: (z, y, x) in mm, or None where unknown;
    pixel_size_um: µm a pixel as the file itself says; levels: (height, width) of a pyramid's levels, finest first.
    """

    depth: int
    height: int
    width: int
    channels: int
    dtype: str
    pages: int = 1
    spacing: tuple[float, float, float] | None = None
    pixel_size_um: float | None = None
    levels: tuple[tuple[int, int], ...] = ()


@runtime_checkable
class ImageReader(Protocol):
    """An opened image or volume of shape (Z, H, W, C), read slice by slice and window by window."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), RGB order; rows and cols must lie inside the image."""
        ...

    def close(self) -> None: ...


def check_window(shape: tuple[int, ...], z: int, rows: slice | None, cols: slice | None) -> tuple[int, int, int, int]:
    """Turn slices into (row start, row stop, column start, column stop) for a reader of shape (Z, H, W, ...).

    Raises ValueError for a slice index or a window outside the image: numpy would return fewer pixels.
    """
    if not 0 <= z < shape[0]:
        raise ValueError(f"slice {z} does not exist: the image has slices 0 to {shape[0] - 1}")
    bounds: list[int] = []
    for name, window, size in (("rows", rows, shape[1]), ("columns", cols, shape[2])):
        start = 0 if window is None or window.start is None else int(window.start)
        stop = size if window is None or window.stop is None else int(window.stop)
        if (window is not None and window.step not in (None, 1)) or not 0 <= start < stop <= size:
            raise ValueError(f"{name} {window} are not a window of 0 to {size}: pad on the caller's side")
        bounds += [start, stop]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def check_pixels(path: Path, height: int, width: int, *, limit: int = MAX_PIXELS, what: str = "image") -> None:
    """Refuse a header that announces more pixels than `limit` (a decompression bomb) or none at all."""
    if height < 1 or width < 1:
        raise ValueError(f"{path}: the header gives {height} x {width} pixels: the file is damaged, copy it again")
    if height * width > limit:
        raise ValueError(
            f"{path}: the header announces one {what} of {height} x {width} = {height * width / 1e9:.1f} "
            f"gigapixels, more than the limit of {limit / 1e9:.1f}; a sound image belongs in a tiled TIFF"
        )


def image_dtype(stored: np.dtype) -> np.dtype:
    """dtype of returned pixels: uint8, uint16, float32 and bool as stored, everything else as float32."""
    native = np.dtype(stored).newbyteorder("=")
    return native if native in KEPT_DTYPES else np.dtype(np.float32)


def as_integers(values: np.ndarray, path: Path) -> np.ndarray:
    """Mask values as integers (or bool); floats are accepted when they are whole numbers that int32 holds, else
    ValueError.
    """
    if values.dtype.kind in "iub":
        return values
    rounded = np.rint(values)
    if not np.array_equal(rounded, values):
        found = values[rounded != values].flat[0]
        raise ValueError(f"{path}: a mask holds whole numbers, found {found}: is this an image or a probability?")
    most, largest = np.abs(rounded).max(initial=0), np.iinfo(np.int32).max
    if most > largest:
        raise ValueError(
            f"{path}: numbers up to {most:.0f}, expected at most {largest} in a mask stored as floats: number the "
            "objects anew, or store integers"
        )
    return rounded.astype(np.int32)


class FileReader(ABC):
    """Base of readers that hold an open file: opened when first read, again in every process that reads.

    A handle never crosses a fork (the child would move the parent's file position) nor a pickle.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype
    pages: int = 1
    spacing: tuple[float, float, float] | None = None
    pixel_size_um: float | None = None
    levels: tuple[tuple[int, int], ...] = ()
    void: bool = False  # whether the file says of some places that they hold no data
    orientation: int = 1  # as EXIF counts it; 1: as stored

    def __init_subclass__(cls, **options: Any) -> None:
        """What reads pixels names the file in whatever it raises."""
        super().__init_subclass__(**options)
        for name in ("read", "valid"):
            if name in vars(cls):
                setattr(cls, name, named(vars(cls)[name]))

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache_bytes = TILE_CACHE  # of decoded tiles, where a format keeps some
        self._held: Any = None
        self._pid = -1

    @abstractmethod
    def _open(self) -> Any:
        """Open the file and return its handle."""

    @abstractmethod
    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where a window of slice z holds no data; None where all of it does."""
        return None

    def info(self) -> ImageInfo:
        """Size and type of the file, known from its header."""
        depth, height, width, channels = self.shape
        return ImageInfo(
            depth, height, width, channels, str(self.dtype), self.pages, self.spacing, self.pixel_size_um, self.levels
        )

    def handle(self) -> Any:
        """The file's handle of this process."""
        if self._held is None or self._pid != os.getpid():
            self._held, self._pid = self._open(), os.getpid()
        return self._held

    def close(self) -> None:
        """Give the handle back; a later read opens the file again."""
        if self._held is not None and self._pid == os.getpid() and hasattr(self._held, "close"):
            self._held.close()
        self._held = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None, "_pid": -1}


def valid_pixels(reader: Any, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
    """bool (h, w), False where a window of any reader holds no data (see `FileReader.valid`); None where all does."""
    if not getattr(reader, "void", False):
        return None
    valid: np.ndarray | None = reader.valid(z, rows, cols)
    return None if valid is None or valid.all() else valid


class WrappedReader:
    """Another reader whose pixels are seen otherwise: `read` of a subclass says how, and `shape` where that differs.

    What else is known of the reader underneath stays so: where data are, whether it decodes whole, its spacing.
    """

    def __init__(self, reader: ImageReader) -> None:
        self.reader = reader
        self.shape, self.dtype = reader.shape, reader.dtype
        self.void = bool(getattr(reader, "void", False))
        self.decodes_whole = bool(getattr(reader, "decodes_whole", False))
        self.spacing: tuple[float, float, float] | None = getattr(reader, "spacing", None)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where a window holds no data; None where all does."""
        return valid_pixels(self.reader, z, rows, cols)

    def close(self) -> None:
        """Close the reader underneath."""
        self.reader.close()


def file_under(reader: Any) -> FileReader | None:
    """The file that any reader reads, the first of several; None of an array."""
    while reader is not None and not isinstance(reader, FileReader):
        members = getattr(reader, "readers", None)
        reader = members[0] if members else getattr(reader, "reader", None)
    return reader


def pixel_size_of(reader: Any) -> float | None:
    """µm a pixel as the file of any reader says it, of the first file of several; None where it does not."""
    file = file_under(reader)
    return None if file is None else file.pixel_size_um


class ArrayReader:
    """An array (Z, H, W, C), in memory or memory-mapped, as a reader."""

    def __init__(self, array: np.ndarray) -> None:
        if array.ndim != 4:
            raise ValueError(f"an array reader has the axes (Z, H, W, C), found {array.ndim} axes: {array.shape}")
        self.array = array
        self.shape: tuple[int, int, int, int] = (
            int(array.shape[0]), int(array.shape[1]), int(array.shape[2]), int(array.shape[3])
        )  # fmt: skip
        self.dtype = image_dtype(array.dtype)

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), a copy."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        return np.array(self.array[z, top:bottom, left:right], dtype=self.dtype)

    def close(self) -> None:
        """Nothing is held open."""


class SliceReader(WrappedReader):
    """Some slices of another reader, in the given order, as a reader of its own."""

    def __init__(self, reader: ImageReader, slices: Sequence[int]) -> None:
        bad = [z for z in slices if not 0 <= z < reader.shape[0]]
        if bad or not slices:
            raise ValueError(f"slices {bad or 'none'} asked for: the image has slices 0 to {reader.shape[0] - 1}")
        super().__init__(reader)
        self.slices = list(slices)
        self.shape = (len(self.slices), *reader.shape[1:])

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice number z of the selection as (h, w, C)."""
        check_window(self.shape, z, rows, cols)
        return self.reader.read(self.slices[z], rows, cols)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where slice number z of the selection holds no data."""
        return valid_pixels(self.reader, self.slices[z], rows, cols)
