"""Several readers as one: the slices of a stack, the layers of an image, and what stands for slices not to be read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from submissions.images.readers import TILE_CACHE, FileReader, ImageReader, WrappedReader, check_window, valid_pixels

MOST_OPEN = 128  # files of a stack that are open at once; systems allow a process 1,024 or fewer


class _Joined:
    """What StackReader and LayerReader share: equal members, of which few are open, and a cache of decoded slices."""

    def __init__(self, readers: Sequence[ImageReader], cached: int, *, depth: int = 1) -> None:
        if not readers:
            raise ValueError("no readers were given: a stack needs at least one slice")
        first = readers[0]
        for position, reader in enumerate(readers):
            if reader.shape[0] != depth:
                raise ValueError(
                    f"member {position} has {reader.shape[0]} slices, expected {depth}: "
                    + ("join its slices first" if depth == 1 else "channels of one volume are of one size")
                )
            if reader.shape[1:3] != first.shape[1:3] or reader.dtype != first.dtype:
                raise ValueError(
                    f"member {position} is {reader.shape[1:3]} {reader.dtype}, member 0 is "
                    f"{first.shape[1:3]} {first.dtype}: one image has slices of one size and type"
                )
        self.readers = list(readers)
        self.dtype = first.dtype
        self.void = any(getattr(reader, "void", False) for reader in readers)
        self._cached = max(1, cached)
        self._slices: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._open: OrderedDict[int, None] = OrderedDict()
        for reader in self.readers:
            if isinstance(reader, FileReader):
                reader.cache_bytes = min(TILE_CACHE, 4 * TILE_CACHE // min(len(self.readers), MOST_OPEN))

    def _member(self, position: int, window: tuple[int, int, int, int], z: int = 0) -> np.ndarray:
        """Window of slice z of one member; a slice that can only be decoded whole is kept for the next window."""
        reader = self.readers[position]
        self._open[position] = None
        self._open.move_to_end(position)
        if len(self._open) > MOST_OPEN:
            self.readers[self._open.popitem(last=False)[0]].close()
        rows, cols = slice(window[0], window[1]), slice(window[2], window[3])
        if not getattr(reader, "decodes_whole", False):
            return reader.read(z, rows, cols)
        key = (position, z)
        if key not in self._slices:
            self._slices[key] = reader.read(z)
            if len(self._slices) > self._cached:
                self._slices.popitem(last=False)
        self._slices.move_to_end(key)
        return self._slices[key][rows, cols].copy()

    def close(self) -> None:
        """Close every member and forget the decoded slices."""
        self._slices.clear()
        self._open.clear()
        for reader in self.readers:
            reader.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_slices": OrderedDict(), "_open": OrderedDict()}


class StackReader(_Joined):
    """Single-slice readers of one size as one reader (Z, H, W, C); 8 decoded slices are kept."""

    def __init__(self, readers: Sequence[ImageReader]) -> None:
        super().__init__(readers, cached=8)
        channels = {reader.shape[3] for reader in readers}
        if len(channels) > 1:
            raise ValueError(f"the slices have {sorted(channels)} channels, expected one number for all")
        self.shape = (len(readers), *self.readers[0].shape[1:])

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        return self._member(z, check_window(self.shape, z, rows, cols))

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where slice z holds no data."""
        return valid_pixels(self.readers[z], 0, rows, cols)


class LayerReader(_Joined):
    """Readers of one size as the channels of one image or volume (Z, H, W, sum of C); `spacing` is the first one's."""

    def __init__(self, readers: Sequence[ImageReader]) -> None:
        super().__init__(readers, cached=64, depth=readers[0].shape[0] if readers else 1)
        self.shape = (*self.readers[0].shape[:3], sum(reader.shape[3] for reader in readers))
        self.spacing: tuple[float, float, float] | None = getattr(self.readers[0], "spacing", None)

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z of all layers as (h, w, C)."""
        window = check_window(self.shape, z, rows, cols)
        return np.concatenate([self._member(i, window, z) for i in range(len(self.readers))], axis=2)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where any layer of slice z holds no data."""
        found = [valid_pixels(reader, z, rows, cols) for reader in self.readers]
        known = [one for one in found if one is not None]
        return np.logical_and.reduce(known) if known else None


class UnreadableReader:
    """Stands in a stack for a slice that cannot be opened: of the others' size; reading it raises what was found."""

    def __init__(self, like: ImageReader, reason: str) -> None:
        self.shape, self.dtype, self.reason = like.shape, like.dtype, reason

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Raises ValueError with the reason."""
        raise ValueError(self.reason)

    def close(self) -> None:
        """Nothing is held open."""


class ForgivingReader(WrappedReader):
    """A stack of which slice `z` is wanted: where another one cannot be read, slice `z` is shown in its place.

    `replaced`: why each of those could not be read, by slice.
    """

    def __init__(self, reader: ImageReader, z: int) -> None:
        super().__init__(reader)
        self.z = z
        self.replaced: dict[int, str] = {}

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z, or of slice `self.z` where z cannot be read; raises where that cannot be read either."""
        if z in self.replaced:
            return self.reader.read(self.z, rows, cols)
        try:
            return self.reader.read(z, rows, cols)
        except (ValueError, OSError) as error:
            if z == self.z:
                raise
            self.replaced[z] = str(error)
        return self.reader.read(self.z, rows, cols)

    def valid(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray | None:
        """bool (h, w), False where the slice that is shown for z holds no data."""
        return valid_pixels(self.reader, self.z if z in self.replaced else z, rows, cols)
