"""How one stored image lies on disk: .npy files, a chunked HDF5 file, or the target alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from submissions.images.readers import ImageReader

_MAPPED_BYTES = 256 << 20  # pages of a mapped file that a process may hold before it lets go of them
_FAULT_BYTES = 1 << 16  # what Linux maps around a touched byte
_CHUNK_CACHE = 32 << 20  # decompressed chunks that an open HDF5 file keeps

Pixels = np.ndarray | Iterable[np.ndarray]


def blocks(data: Pixels, shape: tuple[int, ...], row_axis: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(slice, first row, strip) of an array or of strips that come slice after slice from the top.

    shape: of the whole, (Z, ...); row_axis: the axis of a strip that counts rows, 0, or 1 for planes (K, h,
    W). Raises ValueError for a strip that does not fit and for too few of them.
    """
    height = shape[1 + row_axis]
    z = row = 0
    for item in data:
        block = np.asarray(item)
        rows = block.shape[row_axis] if block.ndim == len(shape) - 1 else 0
        expected = (*shape[1 : 1 + row_axis], rows, *shape[2 + row_axis :])
        if rows < 1 or block.shape != expected or z >= shape[0] or row + rows > height:
            raise ValueError(f"strip {block.shape} at slice {z}, row {row} does not fit into {shape}")
        yield z, row, block
        z, row = (z + 1, 0) if row + rows == height else (z, row + rows)
    if (z, row) != (shape[0], 0):
        raise ValueError(f"strips end at slice {z}, row {row}, expected {shape[0]} slices of {height} rows")


def _write_npy(path: Path, data: Pixels, shape: tuple[int, ...], dtype: np.dtype, row_axis: int) -> None:
    """Write .npy from an array or strips, with plain writes: mapped pages would count as memory."""
    row_bytes = int(np.prod(shape[2 + row_axis :])) * dtype.itemsize
    planes, height = (shape[1] if row_axis else 1), shape[1 + row_axis]
    with path.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(stream, header)
        start = stream.tell()
        for z, row, block in blocks(data, shape, row_axis):
            for plane in range(planes):
                rows = np.ascontiguousarray(block[plane] if row_axis else block, dtype=dtype)
                stream.seek(start + ((z * planes + plane) * height + row) * row_bytes)
                stream.write(rows.data)  # tofile does not say that the disk is full


def _write_hdf5(
    file: h5py.File, name: str, data: Pixels, shape: tuple[int, ...], dtype: Any, row_axis: int, options: Any
) -> None:
    tall, wide = (min(side, size) for side, size in zip(options["chunk"], shape[1 + row_axis :], strict=False))
    chunk = (1, *shape[1 : 1 + row_axis], tall, wide, *shape[3 + row_axis :])
    level = 1 if options["compression"] == "gzip" else None
    dataset = file.create_dataset(
        name, shape, dtype, chunks=chunk, compression=options["compression"], compression_opts=level
    )
    for z, row, block in blocks(data, shape, row_axis):
        rows = slice(row, row + block.shape[row_axis])
        dataset[(z, slice(None), rows) if row_axis else (z, rows)] = block


def write_unit(
    folder: Path,
    kind: str,
    options: Mapping[str, Any],
    meta: Mapping[str, Any],
    image: Pixels | None,
    target: Any,
) -> None:
    """Write the arrays of one image into `folder`; meta holds the sizes, see `Store.write`."""
    shape, dtype = tuple(meta["shape"]), np.dtype(meta["dtype"])
    target_shape = tuple(meta["target"] or ())
    row_axis = len(target_shape) - 3
    if kind == "hdf5":
        width, channels = (
            shape[2],
            shape[3],
        )  # a row of chunks has to fit, or strips would be compressed again
        cache = 2 * options["chunk"][0] * (width + options["chunk"][1]) * channels * dtype.itemsize
        with h5py.File(folder / "data.h5", "w", rdcc_nbytes=max(cache, 1 << 20)) as file:
            _write_hdf5(file, "image", image if image is not None else (), shape, dtype, 0, options)
            if target is not None:
                _write_hdf5(file, "target", target, target_shape, np.uint8, row_axis, options)
        return
    if image is not None:
        _write_npy(folder / "image.npy", image, shape, dtype, 0)
    if target is not None:
        _write_npy(folder / "target.npy", target, target_shape, np.dtype(np.uint8), row_axis)


class _Mapped:
    """A memory-mapped .npy file that lets go of its pages once it may have touched many."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array: np.ndarray | None = None
        self._touched = 0

    def read(self, z: int, rows: slice, cols: slice) -> np.ndarray:
        """Copy of [z, rows, cols], or of [z, :, rows, cols] where the file holds planes of a target."""
        if self._array is None:
            self._array = np.asarray(np.load(self._path, mmap_mode="r"))
        array = self._array
        planes = array.ndim == 4 and self._path.name == "target.npy"
        cut = array[z, :, rows, cols] if planes else array[z, rows, cols]
        window = np.array(cut)
        if array.nbytes > _MAPPED_BYTES:
            row = max(_FAULT_BYTES, window.nbytes // (rows.stop - rows.start))
            self._touched += row * (rows.stop - rows.start)
            if self._touched > _MAPPED_BYTES:
                self.close()
        return window

    def close(self) -> None:
        self._array, self._touched = None, 0


class _Dataset:
    """A data set of an HDF5 file that is open for reading."""

    def __init__(self, file: h5py.File, name: str) -> None:
        self._file, self._name = file, name

    def read(self, z: int, rows: slice, cols: slice) -> np.ndarray:
        data = self._file[self._name]
        planes = data.ndim == 4 and self._name == "target"
        return data[z, :, rows, cols] if planes else data[z, rows, cols]

    def close(self) -> None:
        self._file.close()


class Source(Protocol):
    """What the pixels or the target of one stored image are read from."""

    def read(self, z: int, rows: slice, cols: slice) -> np.ndarray:
        """Window of slice z."""

    def close(self) -> None:
        """Let go of the file."""


def open_unit(folder: Path, kind: str, reader: ImageReader | None) -> tuple[Source, Source]:
    """Pixels and target of one image; reader: the host's pixels at the working size, for kind 'raw'."""
    if kind == "hdf5":
        file = h5py.File(folder / "data.h5", "r", rdcc_nbytes=_CHUNK_CACHE)
        return _Dataset(file, "image"), _Dataset(file, "target")
    return reader or _Mapped(folder / "image.npy"), _Mapped(folder / "target.npy")
