"""What stage 03 writes and training reads: images and targets at the working size, one unit an image.

    store = create_store(folder, "memmap")
    store.write("aa05346ff", image, target, {"scale": 0.5})        # (Z, H, W, C), (Z, H, W) or (Z, K, H, W)
    stored = open_store(folder).image("aa05346ff")
    rows, cols = slice(0, 256), slice(512, 768)
    pixels, truth = stored.read(0, rows, cols), stored.read_target(0, rows, cols)

A unit is a folder, built as one's own `.partial` and renamed: a kill at any moment loses the image being written, no
other. Kinds: `memmap`, two .npy files (windows read only their own bytes); `hdf5`, chunked and optionally
compressed; `raw`, the target alone (pixels are decoded from the host's file whenever they are read).
Handles are opened where they are first read, in every process anew: none crosses a fork.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

import numpy as np

from pipeline.data.scaling import ScaledReader
from pipeline.data.storage_formats import Source, open_unit, write_unit
from submissions.host.atomic import check_room, partial_path, put_in_place, room_for, write_atomic
from submissions.images.readers import KEPT_DTYPES, ImageReader, check_window

Kind = Literal["memmap", "hdf5", "raw"]
Opener = Callable[[str, dict[str, Any]], ImageReader]
_FORMAT = 1
_OPEN_UNITS = {"memmap": 64, "hdf5": 32, "raw": 4}  # units a process holds open; raw keeps decoded pictures


def _folder_name(image_id: str) -> str:
    """A unit's folder: the id with everything but letters, digits, '-', '_' and '~' written as %XX."""
    name = quote(image_id, safe="").replace(".", "%2E")
    if not name or len(name) > 200:
        raise ValueError(f"image id {image_id[:80]!r}: expected 1 to 200 characters to name a folder by")
    return name


class StoredImage:
    """One stored image; reads windows of pixels and of the target. It is an `ImageReader`."""

    def __init__(self, store: Store, image_id: str, meta: dict[str, Any]) -> None:
        self._store, self.image_id = store, image_id
        depth, height, width, channels = meta["shape"]
        self.shape: tuple[int, int, int, int] = (depth, height, width, channels)
        self.dtype = np.dtype(meta["dtype"])
        self.target_shape: tuple[int, ...] | None = tuple(meta["target"]) if meta["target"] else None
        self.attrs: dict[str, Any] = meta["attrs"]

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C), a copy in the stored dtype."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        return self._store._unit(self)[0].read(z, slice(top, bottom), slice(left, right))

    def read_target(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of the target as uint8: label (h, w), or planes (K, h, w); a copy."""
        if self.target_shape is None:
            raise ValueError(f"image {self.image_id!r} was stored without a target: only its pixels can be read")
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        return self._store._unit(self)[1].read(z, slice(top, bottom), slice(left, right))

    def close(self) -> None:
        """Handles belong to the store, which closes those that were read longest ago."""


class Store:
    """A folder of units. Made by `create_store` and `open_store`."""

    def __init__(self, folder: Path, kind: Kind, options: Mapping[str, Any], opener: Opener | None) -> None:
        self.folder, self.kind, self.options, self.opener = folder, kind, dict(options), opener
        self._images: dict[str, StoredImage] = {}
        self._units: OrderedDict[str, tuple[Source, Source]] = OrderedDict()
        self._pid = os.getpid()

    def ids(self) -> list[str]:
        """Ids of the finished images, sorted."""
        names = (entry.name for entry in os.scandir(self.folder / "units"))
        return sorted(unquote(name) for name in names if not name.endswith(".partial"))

    def path(self, image_id: str) -> Path:
        """Folder of an image's unit, whether it exists or not."""
        return self.folder / "units" / _folder_name(image_id)

    def write(
        self,
        image_id: str,
        image: np.ndarray | Iterable[np.ndarray] | None,
        target: np.ndarray | Iterable[np.ndarray] | None = None,
        attrs: Mapping[str, Any] | None = None,
        *,
        shape: tuple[int, int, int, int] | None = None,
        dtype: Any = None,
        target_shape: tuple[int, ...] | None = None,
    ) -> None:
        """Store an image (Z, H, W, C) and its target, uint8 (Z, H, W) label or (Z, K, H, W) planes.

        Either may be an iterable of row strips, (h, W, C) or (h, W) or (K, h, W), slice after slice from
        the top, with `shape` and `dtype` or `target_shape` given; memory then holds one strip. Under kind
        'raw' no pixels are stored: image is None, `shape` and `dtype` say what the opener will show. attrs:
        what fits JSON. An image stored before under this id is replaced. Raises ValueError for shapes that
        do not fit.
        """
        if isinstance(image, np.ndarray):
            shape, dtype = image.shape, image.dtype  # type: ignore[assignment]
        if isinstance(target, np.ndarray):
            target_shape = target.shape
        meta = self._meta(image_id, image, target, shape, dtype, target_shape, attrs or {})
        final = self.path(image_id)
        partial = partial_path(final)
        if self.kind == "hdf5":
            check_room(final, _bytes(meta))
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with room_for(final, _bytes(meta), partial):
            write_unit(partial, self.kind, self.options, meta, image, target)
            (partial / "unit.json").write_text(json.dumps(meta, default=_plain), encoding="utf-8")
        self._images.pop(image_id, None)
        self._units.pop(image_id, None)
        put_in_place(partial, final)

    def _meta(
        self,
        image_id: str,
        image: Any,
        target: Any,
        shape: Any,
        dtype: Any,
        target_shape: Any,
        attrs: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The unit's description, checked."""
        if (image is None) != (self.kind == "raw"):
            wanted = "no pixels (image=None)" if self.kind == "raw" else "an image"
            raise ValueError(f"image {image_id!r}: a {self.kind} store takes {wanted}")
        if shape is None or dtype is None:
            raise ValueError(f"image {image_id!r}: strips and raw images need shape=(Z, H, W, C) and dtype=...")
        if len(shape) != 4 or min(shape) < 1 or np.dtype(dtype) not in KEPT_DTYPES:
            names = ", ".join(map(str, KEPT_DTYPES))
            raise ValueError(f"image {image_id!r}: {dtype} {tuple(shape)}, expected (Z, H, W, C) of {names}")
        if target is not None:
            sizes = tuple(target_shape or ())
            fits = len(sizes) in (3, 4) and (sizes[0], *sizes[-2:]) == tuple(shape[:3])
            if not fits or (isinstance(target, np.ndarray) and target.dtype != np.uint8):
                raise ValueError(
                    f"image {image_id!r}: target {getattr(target, 'dtype', 'strips')} {sizes} for an image "
                    f"{tuple(shape)}, expected uint8 (Z, H, W) or (Z, K, H, W) of the same size"
                )
        return {
            "image_id": image_id, "shape": [int(n) for n in shape], "dtype": str(np.dtype(dtype)),
            "target": [int(n) for n in target_shape] if target is not None else None, "attrs": dict(attrs),
        }  # fmt: skip

    def image(self, image_id: str) -> StoredImage:
        """A stored image. Raises FileNotFoundError where it was not (or not completely) stored."""
        if image_id not in self._images:
            path = self.path(image_id) / "unit.json"
            if not path.is_file():
                raise FileNotFoundError(
                    f"image {image_id!r} is not in the store {self.folder} ({len(self.ids())} images): "
                    "run stage 03 to the end"
                )
            self._images[image_id] = StoredImage(self, image_id, json.loads(path.read_text(encoding="utf-8")))
        return self._images[image_id]

    def _unit(self, stored: StoredImage) -> tuple[Source, Source]:
        """Pixels and target of an image, open in this process, from a short list of those read last."""
        if self._pid != os.getpid():
            self._units, self._pid = OrderedDict(), os.getpid()
        name = stored.image_id
        if name not in self._units:
            reader = self._reader(stored) if self.kind == "raw" else None
            self._units[name] = open_unit(self.path(name), self.kind, reader)
            if len(self._units) > _OPEN_UNITS[self.kind]:
                _close(self._units.popitem(last=False)[1])
        self._units.move_to_end(name)
        return self._units[name]

    def _reader(self, stored: StoredImage) -> ImageReader:
        if self.opener is None:
            raise ValueError(f"{self.folder} is a raw store: give open_store an opener(image_id, attrs) -> ImageReader")
        reader = self.opener(stored.image_id, stored.attrs)
        if reader.shape[0] != stored.shape[0] or reader.shape[3] != stored.shape[3]:
            raise ValueError(
                f"image {stored.image_id!r}: the host's file is {reader.shape} (Z, H, W, C), stored as "
                f"{stored.shape}: the file has changed, run stage 03 again"
            )
        return ScaledReader(reader, stored.shape[1:3])

    def close(self) -> None:
        """Close what is open; a later read opens it again."""
        for unit in self._units.values():
            _close(unit)
        self._units.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_units": OrderedDict(), "_images": {}}


def _close(unit: tuple[Source, Source]) -> None:
    for source in unit:
        source.close()


def _bytes(meta: Mapping[str, Any]) -> int:
    """Bytes of a unit's pixels and target as they lie in memory; compressed stores need less."""
    pixels = math.prod(meta["shape"]) * np.dtype(meta["dtype"]).itemsize
    return pixels + (math.prod(meta["target"]) if meta["target"] else 0)


def _plain(value: Any) -> Any:
    """numpy numbers and arrays as JSON knows them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise ValueError(f"attrs hold {value!r} ({type(value).__name__}), expected numbers, text, lists and dicts")


def create_store(folder: Path | str, kind: Kind = "memmap", *, opener: Opener | None = None, **options: Any) -> Store:
    """Make a store, or open an unfinished one of the same kind to go on.

    options of hdf5: chunk (height, width), 256 x 256 unless given; compression 'gzip', 'lzf' or None.
    Raises ValueError for an unknown kind or option and where the folder holds a store made with others.
    """
    folder = Path(folder)
    if kind not in get_args(Kind):
        raise ValueError(f"store kind {kind!r}, expected one of {', '.join(get_args(Kind))}")
    defaults: dict[str, Any] = {"chunk": [256, 256], "compression": "lzf"} if kind == "hdf5" else {}
    unknown = set(options) - set(defaults)
    if unknown:
        raise ValueError(
            f"a {kind} store has no option {', '.join(sorted(unknown))}; it has {list(defaults) or 'none'}"
        )
    merged = {key: list(v) if isinstance(v, tuple) else v for key, v in {**defaults, **options}.items()}
    wanted = {"format": _FORMAT, "kind": kind, "options": merged}
    marker = folder / "store.json"
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        if found != wanted:
            raise ValueError(f"{folder} holds a store made as {found}, wanted {wanted}: choose another folder")
    (folder / "units").mkdir(parents=True, exist_ok=True)
    write_atomic(marker, json.dumps(wanted))
    return Store(folder, kind, merged, opener)


def open_store(folder: Path | str, *, opener: Opener | None = None) -> Store:
    """Open a store to read. opener: for a raw store, (image_id, attrs) -> reader of the host's pixels.

    Raises FileNotFoundError where there is none and ValueError for one of another format.
    """
    marker = Path(folder) / "store.json"
    if not marker.is_file():
        raise FileNotFoundError(f"{folder} holds no store (store.json is missing): run stage 03")
    found = json.loads(marker.read_text(encoding="utf-8"))
    if found.get("format") != _FORMAT:
        raise ValueError(f"{folder}: store format {found.get('format')}, expected {_FORMAT}: run stage 03 again")
    return Store(Path(folder), found["kind"], found["options"], opener)
