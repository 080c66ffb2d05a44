"""Between the host's grid and the working grid: one rule, pixel centres aligned, for images and masks.

Old pixel i covers [i, i + 1) of the axis; a grid of n pixels and one of m pixels cover the same length.
Images are averaged over area where they shrink and interpolated linearly where they grow
(`inference.predict.resample`, so that training sees what prediction sees). Masks never get new values: a label
takes the pixel under the centre, a plane is averaged and cut at one half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inference.predict.resample import PlaneResizer, RowResizer, axis_matrix, restore_dtype
from submissions.images.readers import ImageReader, check_window

STRIP_BYTES = 64 << 20


def working_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Size (height, width) at a scale, at least one pixel. Raises ValueError for a scale of 0 or less."""
    if not scale > 0:
        raise ValueError(f"scale {scale} does not make an image: expected more than 0, 1 keeps the host's size")
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def nearest_indices(size: int, target: int) -> np.ndarray:
    """int64 (target,): the old pixel under the centre of each new one, `size` old pixels becoming `target`."""
    return ((2 * np.arange(target, dtype=np.int64) + 1) * size) // (2 * target)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an integer label (H, W) to `size`: every new pixel takes the value under its centre.

    Where the centre lies between two old pixels (even factors) the later one is taken: half a host pixel at
    most.
    """
    if label.shape == tuple(size):
        return label
    rows = nearest_indices(label.shape[0], size[0])
    cols = nearest_indices(label.shape[1], size[1])
    return label[rows[:, None], cols]


def resize_planes(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize planes (K, H, W), bool or uint8 of 0 and 1, to (K, *size): set is a pixel whose half is set."""
    if planes.shape[1:] == tuple(size):
        return planes
    return np.concatenate([shares >= 0.5 for shares in _resized(planes, size)], axis=1).astype(planes.dtype)


def resize_shares(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 planes (K, H, W) of shares to (K, *size): the mean of what a new pixel covers."""
    if planes.shape[1:] == tuple(size):
        return planes
    parts = [np.clip(np.rint(shares), 0, 255).astype(np.uint8) for shares in _resized(planes, size)]
    return np.concatenate(parts, axis=1)


def _resized(planes: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Strips float32 (K, h, w) of planes (K, H, W) at another size, of about STRIP_BYTES each."""
    resizer = RowResizer((planes.shape[1], planes.shape[2]), size)
    step = max(1, STRIP_BYTES // (4 * len(planes) * planes.shape[2]))
    for top in range(0, planes.shape[1], step):
        shares = resizer.push(np.moveaxis(planes[:, top : top + step], 0, -1).astype(np.float32))
        if len(shares):
            yield np.moveaxis(shares, -1, 0)


def strips(reader: ImageReader, size: tuple[int, int], strip_bytes: int = STRIP_BYTES) -> Iterator[np.ndarray]:
    """Every slice of a reader at `size` in row strips (h, w, C), slice after slice, in bounded memory.

    Together the strips are `resize_image` of each slice, up to float rounding. Strips are read whole-width,
    of about `strip_bytes` in float32.
    """
    depth, height, width, channels = reader.shape
    rows = max(1, strip_bytes // (width * channels * 4))
    rows = rows // 256 * 256 or rows  # tiles of a TIFF are seldom cut
    for z in range(depth):
        resizer = RowResizer((height, width), size)
        for top in range(0, height, rows):
            block = reader.read(z, slice(top, min(height, top + rows)))
            if not resizer.same:
                block = restore_dtype(resizer.push(block.astype(np.float32)), reader.dtype)
            if len(block):
                yield block


def resample_volume(reader: ImageReader, shape: tuple[int, int, int]) -> np.ndarray:
    """A volume (Z, H, W, C) at another size along all axes, dtype kept: what prediction shows a network of it."""
    resizer = PlaneResizer(reader.shape[:3], shape)
    slices = (reader.read(z).astype(np.float32) for z in range(reader.shape[0]))
    return np.stack([restore_dtype(done, reader.dtype) for one in slices for done in resizer.push(one)])


class ScaledReader:
    """A reader shown at another size; windows are resized on the fly from the pixels they cover.

    A window equals that window of `resize_image` of the whole slice, up to one grey level where the sum of
    shares rounds differently.
    """

    def __init__(self, reader: ImageReader, size: tuple[int, int]) -> None:
        self.reader = reader
        self.shape = (reader.shape[0], int(size[0]), int(size[1]), reader.shape[3])
        self.dtype = reader.dtype

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z at the new size, (h, w, C)."""
        top, bottom, left, right = check_window(self.shape, z, rows, cols)
        if self.shape == self.reader.shape:
            return self.reader.read(z, rows, cols)
        down = axis_matrix(self.reader.shape[1], self.shape[1])[top:bottom]
        across = axis_matrix(self.reader.shape[2], self.shape[2])[left:right]
        y0, y1 = int(down.indices.min()), int(down.indices.max()) + 1
        x0, x1 = int(across.indices.min()), int(across.indices.max()) + 1
        block = self.reader.read(z, slice(y0, y1), slice(x0, x1)).astype(np.float32)
        channels = block.shape[2]
        tall = np.asarray(down[:, y0:y1] @ block.reshape(y1 - y0, -1)).reshape(bottom - top, x1 - x0, channels)
        wide = tall.transpose(1, 0, 2).reshape(x1 - x0, -1)
        window = np.asarray(across[:, x0:x1] @ wide).reshape(right - left, bottom - top, channels)
        return restore_dtype(np.ascontiguousarray(window.transpose(1, 0, 2)), self.dtype)

    def close(self) -> None:
        """Close the reader underneath."""
        self.reader.close()
