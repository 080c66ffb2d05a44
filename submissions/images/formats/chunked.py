"""Zarr (2 and 3), OME-Zarr and N5 through tensorstore: only the chunks that a window touches are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from submissions.images.damaged import read_json
from submissions.images.formats.arrays import GridReader
from submissions.images.reading import AS_STORED, Reading

_LETTERS = {"t": "T", "c": "C", "z": "Z", "y": "H", "x": "W"}
_MM = {"angstrom": 1e-7, "nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0}
_CACHE = 128 << 20


class ChunkedReader(GridReader):
    """A Zarr or N5 array (a folder, or a zipped Zarr) as a reader (Z, H, W, C).

    Of a group the array that `images.array` names, the level of an OME-Zarr pyramid, or the one array that it holds.
    """

    def __init__(self, path: Path, *, as_mask: bool = False, reading: Reading = AS_STORED) -> None:
        super().__init__(path, as_mask=as_mask, reading=reading)
        scales = _multiscales(path)
        self._inner, known, sizes = _chosen(path, reading, scales)
        array = self._array()
        dtype = np.dtype(array.dtype.numpy_dtype)
        labels = "".join(_LETTERS.get(label.lower(), "?") for label in array.domain.labels)
        named = labels if labels and "?" not in labels else None
        self._describe(tuple(array.shape), dtype, known or named)
        if sizes is not None:
            self.spacing = sizes
            self.pixel_size_um = sizes[2] * 1000

    def _array(self) -> Any:
        if self.path.is_dir():
            store: Any = {"driver": "file", "path": str(self.path / self._inner)}
        else:
            store = {"driver": "zip", "base": {"driver": "file", "path": str(self.path)}, "path": self._inner}
        spec = {"driver": "auto", "kvstore": store, "context": {"cache_pool": {"total_bytes_limit": _CACHE}}}
        try:
            return tensorstore.open(spec, open=True, read=True).result()
        except ValueError as error:
            where = f"{self.path}/{self._inner}".rstrip("/")
            raise ValueError(f"{where}: no readable Zarr or N5 array ({_reason(error)}): copy it again") from error

    def _open(self) -> Any:
        return self._array()

    def _cut(self, index: tuple[slice, ...]) -> np.ndarray:
        try:
            return np.asarray(self.handle()[index].read().result())
        except ValueError as error:
            raise ValueError(f"{self.path}: a chunk cannot be read ({_reason(error)}): copy it again") from error

    def close(self) -> None:
        """Let the array go."""
        self._held = None


def _reason(error: Exception) -> str:
    return str(error).split(" [")[0].splitlines()[0]


def _attributes(path: Path) -> dict[str, Any]:
    """The user's attributes of a group, of either version of Zarr; empty where there are none."""
    for name in ("zarr.json", ".zattrs"):
        file = path / name
        if path.is_dir() and file.is_file():
            document = read_json(file)
            found: dict[str, Any] = document.get("attributes", {}) if name == "zarr.json" else document
            return found
    return {}


def _multiscales(path: Path) -> dict[str, Any] | None:
    """The first pyramid that an OME-Zarr group (0.4 or 0.5) describes, None for other groups and arrays."""
    attributes = _attributes(path)
    listed = attributes.get("ome", attributes).get("multiscales")
    return listed[0] if listed else None


def _chosen(
    path: Path, reading: Reading, scales: dict[str, Any] | None
) -> tuple[str, str | None, tuple[float, float, float] | None]:
    """Path of the array inside the container, its axes and mm a step (z, y, x), where these are known."""
    if reading.array is not None:
        return reading.array, None, None
    if scales is None:
        return _only_array(path), None, None
    levels = scales["datasets"]
    if reading.level >= len(levels):
        raise ValueError(f"{path}: level {reading.level} was asked for, the pyramid has levels 0 to {len(levels) - 1}")
    level = levels[reading.level]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales.get("axes", "tczyx")]
    letters = "".join(_LETTERS[str(axis["name"]).lower()] for axis in axes)
    steps = next((one["scale"] for one in level.get("coordinateTransformations", []) if one["type"] == "scale"), None)
    unit = _MM.get(str(axes[letters.index("W")].get("unit")))
    if steps is None or unit is None:
        return str(level["path"]), letters, None
    size = {letter: float(step) * unit for letter, step in zip(letters, steps, strict=True)}
    return str(level["path"]), letters, (size.get("Z", 1.0), size["H"], size["W"])


def _only_array(path: Path) -> str:
    """'' where the path is an array itself, else the one array below it; ValueError that lists several."""
    if not path.is_dir() or _is_array(path):
        return ""
    found = sorted(
        folder.relative_to(path).as_posix()
        for pattern in ("*", "*/*", "*/*/*")
        for folder in path.glob(pattern)
        if folder.is_dir() and _is_array(folder)
    )
    if len(found) != 1:
        raise ValueError(f"{path}: a container of {len(found)} arrays {found[:8]}: say which in images.array")
    return found[0]


def _is_array(folder: Path) -> bool:
    """Whether a folder of a container is an array and no group: each version says so in a file of its own."""
    if (folder / ".zarray").is_file():
        return True
    for name, key in (("zarr.json", "shape"), ("attributes.json", "dimensions")):
        if (folder / name).is_file():
            return key in read_json(folder / name)
    return False
