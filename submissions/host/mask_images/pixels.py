"""The pixels of a mask file at its image's size: numbers, channels, colours, the ids of objects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.competition import Competition
from submissions.images.opening import ImageReader, open_image, open_mask
from submissions.images.oriented import OrientedReader, place_fault
from submissions.images.readers import as_integers, file_under
from submissions.images.reading import Reading

Shape = tuple[int, int, int]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Extent:
    """The slices that are read of an image of `shape` (Z, H, W). file: of a volume that lies somewhere in a patient."""

    shape: Shape
    slices: range
    file: OrientedReader | None = None

    @property
    def size(self) -> Shape:
        """(Z, H, W) of what is read."""
        return len(self.slices), *self.shape[1:]


def reading_of_masks(competition: Competition) -> Reading:
    """What the contract says of how mask files are read."""
    images = competition.images
    return Reading(axes=images.axes, array=competition.masks.array, frame=images.frame)


def page_of(competition: Competition, row: Row) -> int | None:
    """The page of a file that an image is, where images are pages."""
    return int(row["page"]) if competition.images.kind == "pages" else None


def read_pixels(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """Pixels of a mask file as integers (Z, H, W) of these slices; ValueError where its size is not the image's."""
    with closing(open_mask(path, page=page_of(competition, row), reading=reading_of_masks(competition))) as reader:
        slices = checked_slices(competition, reader.shape[:3], path, row, extent)
        _check_place(reader, path, row, extent)
        pixels = np.stack([reader.read(z)[..., 0] for z in slices])
    return at_size(pixels, extent)


def read_channels(competition: Competition, path: Path, row: Row, extent: Extent) -> dict[str, np.ndarray]:
    """Integers (Z, H, W) of these slices, of each channel of a mask file that has a name in `masks.channels`.

    Raises ValueError where the file has another size than the image, another number of channels, or numbers that
    are not whole.
    """
    names = competition.masks.channels
    with closing(open_image(path, page=page_of(competition, row), reading=reading_of_masks(competition))) as reader:
        depth, height, width, channels = reader.shape
        pages = channels == 1 and extent.shape[0] == 1 and depth == len(names)  # TIFF: a page a class
        slices = checked_slices(competition, (1 if pages else depth, height, width), path, row, extent)
        if not pages and channels != len(names):
            raise ValueError(f"{path}: {channels} channels, expected {len(names)}, as masks.channels names them")
        _check_place(reader, path, row, extent)
        pixels = np.stack([reader.read(z) for z in (range(depth) if pages else slices)])
    pixels = pixels.transpose(3, 1, 2, 0) if pages else pixels
    numbers = as_integers(pixels, path).astype(np.int64)
    return {name: at_size(numbers[..., place], extent) for place, name in enumerate(names) if name}


def read_codes(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """Colours of a mask file as int32 (Z, H, W) of 65536 red + 256 green + blue, of these slices."""
    with closing(open_image(path, page=page_of(competition, row))) as reader:
        if reader.dtype != np.uint8 or reader.shape[3] not in (1, 3):
            raise ValueError(f"{path}: {reader.shape[3]} channels of {reader.dtype}, expected colours of 8 bits")
        slices = checked_slices(competition, reader.shape[:3], path, row, extent)
        codes = np.stack([opaque_codes(reader, z) for z in slices])
    return at_size(codes, extent)


def read_ids(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """The numbers of objects in a file: its values, or of a picture in colour red + 256 green + 65536 blue, as in COCO
    panoptic masks."""
    try:
        return read_pixels(competition, path, row, extent)
    except ValueError as error:
        try:
            codes = read_codes(competition, path, row, extent)
        except ValueError:
            raise error from None
        return codes >> 16 | codes & 0xFF00 | (codes & 0xFF) << 16


def opaque_codes(reader: ImageReader, z: int) -> np.ndarray:
    """`colour_codes` of a slice; what is transparent is black, as nothing was painted there."""
    codes, valid = colour_codes(reader.read(z)), getattr(reader, "valid", None)
    painted = valid(z) if valid is not None and getattr(reader, "void", False) else None
    return codes if painted is None or not painted.any() else np.where(painted, codes, 0)


def colour_codes(pixels: np.ndarray) -> np.ndarray:
    """int32 (H, W) of 65536 red + 256 green + blue, of uint8 (H, W, 1 or 3)."""
    red, green, blue = (pixels[..., channel % pixels.shape[2]].astype(np.int32) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def colour_name(code: int) -> str:
    """'255,0,0' of 65536 red + 256 green + blue."""
    return f"{code >> 16},{code >> 8 & 255},{code & 255}"


def checked_slices(competition: Competition, mask: Shape, path: Path, row: Row, extent: Extent) -> range:
    """The slices to read of a mask file of this (Z, H, W); ValueError where it is not the image's, and has to be."""
    shape = extent.shape
    if mask != shape and not (competition.masks.size == "any" and mask[0] == shape[0]):
        raise ValueError(
            f"{path}: mask of size {mask[1:]} (height, width; depth {mask[0]}), expected {shape[1:]} (depth "
            f"{shape[0]}) as the image {row['path']}; {_cure(mask, shape, bare=path.suffix in ('.npy', '.npz'))}"
        )
    return extent.slices


def _check_place(reader: ImageReader, path: Path, row: Row, extent: Extent) -> None:
    """ValueError where a mask file says of itself that it lies elsewhere than its image: voxels would not fit."""
    file = file_under(reader)
    if extent.file is None or not isinstance(file, OrientedReader):
        return
    if fault := place_fault(extent.file, file):
        raise ValueError(
            f"{path}: {fault}; expected the grid of the image {row['path']}: resample the mask to its image, or mend "
            "the affine in its header"
        )


def at_size(pixels: np.ndarray, extent: Extent) -> np.ndarray:
    return pixels if pixels.shape == extent.size else stretch(pixels, extent.shape[1:])


def stretch(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (Z, h, w) at `size` (height, width): each pixel takes the old one that its centre lies in."""
    rows, cols = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for new, old in zip(size, labels.shape[1:], strict=True)
    )
    return np.ascontiguousarray(labels[:, rows[:, None], cols])


def _cure(mask: tuple[int, ...], image: Shape, *, bare: bool) -> str:
    """What to do where a mask has another shape (Z, H, W) than its image."""
    if bare and mask[0] == 1 and image[0] > 1:
        return "say in images.axes which axis is which, e.g. CHW or HWC, or choose one in images.frame"
    if mask[0] == 1 and image[0] > 1:
        return f"the image has {image[0]} pages: images.frame chooses one, images.kind: pages makes each an image"
    if mask[0] == image[0] and mask[1:] == (image[2], image[1]):
        return (
            "height and width are swapped: for photos with an EXIF orientation set images.exif: turned, else "
            "replace the file"
        )
    if mask[0] == image[0]:
        return "replace the wrong file, or set masks.size: any if the host's masks have other sizes"
    return "replace the wrong file"
