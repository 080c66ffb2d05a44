"""Prediction store: one HDF5 file an image, probabilities as uint8 at the host's size, channels by name."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import h5py
import numpy as np
from h5py._objects import phil

from submissions.host.atomic import check_room, partial_path, room_for, says_full

FORMAT = 1
CHUNK = 512
GZIP_LEVEL = 1
PENDING = 8
# Float noise may not dither a constant that lies between two values: so near to a tie is rounded up.
TIE = 1e-3


class NotANumberError(ValueError):
    """Probabilities that are not numbers: an overflow in half precision, or weights that training ruined."""


def quantise(probs: np.ndarray) -> np.ndarray:
    """Round probabilities to uint8, `q = round(255 p)`, ties up; what lies outside [0, 1] is clipped.

    Raises NotANumberError where one is NaN, which would be stored as "nothing there".
    """
    scaled = np.multiply(probs, 255.0, dtype=np.float32)
    if np.isnan(scaled.sum()):
        raise NotANumberError(
            "the network's output is not a number; set predict.precision=fp32, and if that does not help train "
            "again with a smaller train.lr"
        )
    scaled += 0.5 + TIE
    np.clip(scaled, 0.0, 255.0, out=scaled)
    return scaled.astype(np.uint8)


class PredictionWriter:
    """Writes one prediction row by row; the file appears under its name only when everything was written.

    Rows are collected until a row of chunks is full, compressed on a thread and appended, so memory is
    bounded by one row of chunks a channel. Use as a context manager: an exception inside removes the
    unfinished file.
    """

    def __init__(
        self,
        path: Path,
        channels: Sequence[str],
        shape: Sequence[int],
        *,
        attrs: dict[str, Any] | None = None,
        valid: Callable[[int, slice], np.ndarray | None] | None = None,
        blank: Sequence[int] | None = None,
    ) -> None:
        """Begin a file for `shape`, (height, width) or (depth, height, width), with one plane per channel.

        valid: of (z, rows), bool (rows, width), False where the image holds no data, None where all is data; there
        every channel is its value of `blank`, 0 where not given.
        """
        if len(shape) not in (2, 3):
            raise ValueError(f"shape is {tuple(shape)}, expected (height, width) or (depth, height, width)")
        if len(set(channels)) != len(channels) or not channels:
            raise ValueError(f"channels are {list(channels)}, expected at least one name, each once")
        self.path, self.partial = Path(path), partial_path(Path(path))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.channels = list(channels)
        self._valid, self._blank = valid, np.asarray(blank or [0] * len(channels), np.uint8)
        self.shape = tuple(int(size) for size in shape)
        self.height, self.width = self.shape[-2:]
        self.chunk = (min(CHUNK, self.height), min(CHUNK, self.width))
        self.bytes = len(self.channels) * math.prod(self.shape)  # at most: compressed they are fewer
        check_room(self.path, self.bytes)
        self._file = h5py.File(self.partial, "w")
        self._data = self._file.create_dataset(
            "probs",
            shape=(len(channels), *self.shape),
            dtype=np.uint8,
            chunks=(1,) * (len(self.shape) - 1) + self.chunk,
            compression="gzip",
            compression_opts=GZIP_LEVEL,
        )
        self._file.attrs["format"] = FORMAT
        self._file.attrs["scale"] = "probability = value / 255"
        self._file.attrs["channels"] = json.dumps(list(channels))
        self._file.attrs["attrs"] = json.dumps(attrs or {})
        self._rows = np.empty((len(channels), self.chunk[0], self.width), dtype=np.uint8)
        self._z, self._filled, self._written = 0, 0, 0
        self._threads = ThreadPoolExecutor(max_workers=1)
        self._pending: list[tuple[tuple[int, ...], Future[bytes]]] = []

    def write_rows(self, probs: np.ndarray, z: int = 0) -> None:
        """Append uint8 rows `(channels, rows, width)` of slice `z`; slices and rows come in order."""
        expected = (self._rows.shape[0], self.width)
        if probs.dtype != np.uint8 or (probs.shape[0], probs.shape[2]) != expected:
            raise ValueError(f"rows are {probs.dtype} {probs.shape}, expected uint8 {expected[0]} x n x {expected[1]}")
        if z != self._z or self._written + self._filled + probs.shape[1] > self.height:
            raise ValueError(
                f"{probs.shape[1]} rows of slice {z} came at row {self._written + self._filled} of slice "
                f"{self._z}: rows and slices must come in order"
            )
        start = self._written + self._filled
        valid = self._valid(z, slice(start, start + probs.shape[1])) if self._valid and probs.shape[1] else None
        if valid is not None:
            probs = np.where(valid, probs, self._blank[:, None, None])
        taken = 0
        while taken < probs.shape[1]:
            room = min(self.chunk[0], self.height - self._written) - self._filled
            part = probs[:, taken : taken + room]
            self._rows[:, self._filled : self._filled + part.shape[1]] = part
            self._filled += part.shape[1]
            taken += part.shape[1]
            if part.shape[1] == room:
                self._flush()

    def _flush(self) -> None:
        """Hand the collected rows over as whole chunks (the last ones padded with zeros, as HDF5 wants)."""
        for k, plane in enumerate(self._rows):
            for left in range(0, self.width, self.chunk[1]):
                tile = plane[: self._filled, left : left + self.chunk[1]]
                chunk = np.zeros(self.chunk, dtype=np.uint8)
                chunk[: tile.shape[0], : tile.shape[1]] = tile
                at = (k, *((self._z,) if len(self.shape) == 3 else ()), self._written, left)
                self._pending.append((at, self._threads.submit(zlib.compress, chunk.data, GZIP_LEVEL)))
                self._drain(PENDING)
        self._written += self._filled
        self._filled = 0
        if self._written == self.height:
            self._z, self._written = self._z + 1, 0

    def _drain(self, keep: int) -> None:
        while len(self._pending) > keep:
            at, packed = self._pending.pop(0)
            chunk = packed.result()
            with phil:  # h5py 3.12 writes a chunk without its own lock, while another device's thread is in HDF5
                self._data.id.write_direct_chunk(at, chunk)

    def close(self) -> Path:
        """Finish the file and give it its name; raises if rows are missing."""
        try:
            depth = self.shape[0] if len(self.shape) == 3 else 1
            if self._z != depth:
                raise ValueError(f"{self.path.name}: {self._z} of {depth} slices are complete, expected all of them")
            self._drain(0)
            self._file.close()
            self.partial.replace(self.path)
        finally:
            self.discard()
        return self.path

    def discard(self) -> None:
        """Close and remove an unfinished file."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._file.close()
        self.partial.unlink(missing_ok=True)

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with room_for(self.path, self.bytes, self.partial):
            if kind is None:
                self.close()
                return
            self.discard()
            if error is not None and says_full(error):
                raise error


class Prediction:
    """A finished prediction, open for reading. Not to be shared by processes: open one in each.

    By the thousand small ones are opened, so it is done by h5py's functions rather than its classes, in half the time.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`; raises FileNotFoundError if there is none, ValueError if it is not a prediction."""
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no prediction at {self.path}; run the stage that predicts first")
        try:
            self._file = h5py.h5f.open(os.fsencode(self.path), h5py.h5f.ACC_RDONLY, _read_access())
        except OSError as error:
            raise ValueError(
                f"{self.path} is not a readable HDF5 file ({error}); delete it and predict again"
            ) from error
        said = _attribute(self._file, "format")
        if said != FORMAT:
            self._file.close()
            raise ValueError(f"{self.path} has prediction format {said}, expected {FORMAT}: predict it again")
        self._data = h5py.h5d.open(self._file, b"probs")
        self.shape: tuple[int, ...] = self._data.shape

    @cached_property
    def channels(self) -> list[str]:
        """Names of the channels; to be asked first while the file is open, like `attrs`."""
        names: list[str] = json.loads(_attribute(self._file, "channels"))
        return names

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """What was said when it was written; to be asked first while the file is open."""
        said: dict[str, Any] = json.loads(_attribute(self._file, "attrs"))
        return said

    def read(
        self,
        channel: str | int | None = None,
        *,
        z: int | None = None,
        rows: slice | None = None,
        cols: slice | None = None,
    ) -> np.ndarray:
        """Read uint8 probabilities: all, or of one channel (name or index), one slice, a window.

        Returns `(K, H, W)` or `(K, Z, H, W)`; an axis that was named by a single value is dropped.
        """
        if isinstance(channel, str):
            if channel not in self.channels:
                raise ValueError(f"{self.path.name} has no channel {channel!r}, expected one of {self.channels}")
            channel = self.channels.index(channel)
        if z is not None and len(self.shape) == 3:
            raise ValueError(f"slice {z} was asked for, but {self.path.name} is a single image of {self.shape}")
        index: list[Any] = [slice(None) if channel is None else channel]
        if len(self.shape) == 4:
            index.append(slice(None) if z is None else z)
        index += [rows or slice(None), cols or slice(None)]
        if any(part != slice(None) for part in index):
            return np.asarray(h5py.Dataset(self._data)[tuple(index)])
        probs = np.empty(self.shape, np.uint8)
        self._data.read(h5py.h5s.ALL, h5py.h5s.ALL, probs)
        return probs

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Prediction:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@cache
def _read_access() -> h5py.h5p.PropFAID:
    """How files are opened: closing one closes what was opened in it."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return access


def _attribute(file: h5py.h5f.FileID, name: str) -> Any:
    """A number or text (as bytes) that was said of the file, None where it was not."""
    try:
        attribute = h5py.h5a.open(file, name.encode())
    except KeyError:
        return None
    found = np.empty((), attribute.dtype)
    attribute.read(found)
    return found[()]


def open_prediction(path: Path) -> Prediction:
    """Open a finished prediction for reading; see `Prediction`."""
    return Prediction(path)


def write_prediction(
    path: Path, probs: np.ndarray, channels: Sequence[str], attrs: dict[str, Any] | None = None
) -> Path:
    """Write uint8 probabilities `(K, H, W)` or `(K, Z, H, W)` in one go; returns the path."""
    if probs.ndim not in (3, 4) or probs.shape[0] != len(channels):
        raise ValueError(f"probs are {probs.shape}, expected {len(channels)} x [depth x] height x width")
    with PredictionWriter(path, channels, probs.shape[1:], attrs=attrs) as writer:
        planes = probs[:, None] if probs.ndim == 3 else probs
        for z in range(planes.shape[1]):
            writer.write_rows(planes[:, z], z)
    return Path(path)


def prediction_path(folder: Path, image_id: str) -> Path:
    """Where the prediction of an image lies; ids of any spelling stay inside the folder."""
    return folder / f"{quote(image_id, safe='-_+=,@() ')}.h5"


def failure_path(folder: Path, image_id: str) -> Path:
    """Where it is noted that an image could not be predicted."""
    return prediction_path(folder, image_id).with_suffix(".failed.json")


def with_gate(probs: np.ndarray, answers: Path) -> np.ndarray:
    """probs uint8 `(channels, ..., H, W)` and after them what classifiers said about the image, as planes.

    answers: a prediction of `classifier.classify_image`.
    """
    with open_prediction(answers) as prediction:
        said = prediction.read()
    planes = said.reshape(len(said), *[1] * (probs.ndim - 1))
    return np.concatenate([probs, np.broadcast_to(planes, (len(said), *probs.shape[1:]))])
