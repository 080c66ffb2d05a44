"""Masks that are image files: values or colours that are classes, one file per class, object or observer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.competition import Colour, Competition
from submissions.host.mask_files import OBJECT, filled, mask_files, object_files, open_path
from submissions.host.patterns import FIELD
from submissions.host.truth import SOFT_TOP, Truth, completed, truth_of_objects
from submissions.images.opening import ImageReader, open_image, open_mask
from submissions.images.oriented import OrientedReader, place_fault
from submissions.images.readers import as_integers, file_under
from submissions.images.reading import Reading

Shape = tuple[int, int, int]
Row = Mapping[str, Any]
SOFT = 8  # unknown values that are more than a forgotten class or two
SHOWN = 8
EXACT = 1 << 24  # the largest number up to which float32 holds every whole one


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


def read_mask_images(competition: Competition, data: Path, row: Row, extent: Extent) -> Truth:
    """Truth of these slices of the image in `row`, from its mask files.

    Raises ValueError / FileNotFoundError that names the file, what was found and what was expected.
    """
    truth = _read(competition, data, row, extent)
    if competition.images.kind != "volumes":
        return truth
    files = [data / name for name in mask_files(competition, data, row) if (data / name).is_file()]
    return replace(truth, spacing=_spacing(files[0], competition.masks.array)) if files else truth


def _spacing(path: Path, array: str | None) -> tuple[float, float, float] | None:
    """(z, y, x) in mm, where the file's format has it."""
    reader = open_mask(path, reading=Reading(array=array))
    reader.close()
    return getattr(reader, "spacing", None)


def _read(competition: Competition, data: Path, row: Row, extent: Extent) -> Truth:
    masks = competition.masks
    assert masks.path is not None
    if masks.instances and masks.channels:
        objects = _of_channels(competition, data, row, extent)
        void = objects.pop("void", None)
        return truth_of_objects(competition, objects, extent.size, valid=None if void is None else void == 0)
    if masks.instances:
        by_class = {name: masks.path.replace("{class}", name) for name in competition.classes}
        numbered = {name: _numbered(competition, data, path, row, extent) for name, path in by_class.items()}
        found = {name: numbers for name, numbers in numbered.items() if numbers is not None}
        return truth_of_objects(competition, found, extent.size)
    patterns = [masks.path.replace("{observer}", name) for name in masks.observers] or [masks.path]
    seen = [_planes(competition, data, pattern, row, extent) for pattern in patterns]
    valids = [valid for _, valid in seen if valid is not None]
    valid = np.logical_and.reduce(valids) if valids else None
    if len(seen) == 1:
        return completed(competition, seen[0][0], valid=valid)
    votes = np.stack([planes for planes, _ in seen]).sum(axis=0, dtype=np.uint8)
    needed = {"any": 1, "all": len(seen)}.get(masks.join, len(seen) // 2 + 1)
    truth = completed(competition, np.asarray(votes >= needed), valid=valid)
    if masks.join != "mean":
        return truth
    return replace(truth, soft=np.rint(votes * (SOFT_TOP / len(seen))).astype(np.uint8))


def _reading(competition: Competition) -> Reading:
    """What the contract says of how mask files are read."""
    images = competition.images
    return Reading(axes=images.axes, array=competition.masks.array, frame=images.frame)


def _page(competition: Competition, row: Row) -> int | None:
    """The page of a file that an image is, where images are pages."""
    return int(row["page"]) if competition.images.kind == "pages" else None


def read_pixels(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """Pixels of a mask file as integers (Z, H, W) of these slices; ValueError where its size is not the image's."""
    with closing(open_mask(path, page=_page(competition, row), reading=_reading(competition))) as reader:
        slices = _checked(competition, reader.shape[:3], path, row, extent)
        _check_place(reader, path, row, extent)
        pixels = np.stack([reader.read(z)[..., 0] for z in slices])
    return _of_size(pixels, extent)


def read_channels(competition: Competition, path: Path, row: Row, extent: Extent) -> dict[str, np.ndarray]:
    """Integers (Z, H, W) of these slices, of each channel of a mask file that has a name in `masks.channels`.

    Raises ValueError where the file has another size than the image, another number of channels, or numbers that
    are not whole.
    """
    names = competition.masks.channels
    with closing(open_image(path, page=_page(competition, row), reading=_reading(competition))) as reader:
        depth, height, width, channels = reader.shape
        pages = channels == 1 and extent.shape[0] == 1 and depth == len(names)  # TIFF: a page a class
        slices = _checked(competition, (1 if pages else depth, height, width), path, row, extent)
        if not pages and channels != len(names):
            raise ValueError(f"{path}: {channels} channels, expected {len(names)}, as masks.channels names them")
        _check_place(reader, path, row, extent)
        pixels = np.stack([reader.read(z) for z in (range(depth) if pages else slices)])
    pixels = pixels.transpose(3, 1, 2, 0) if pages else pixels
    numbers = as_integers(pixels, path).astype(np.int64)
    return {name: _of_size(numbers[..., place], extent) for place, name in enumerate(names) if name}


def read_codes(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """Colours of a mask file as int32 (Z, H, W) of 65536 red + 256 green + blue, of these slices."""
    with closing(open_image(path, page=_page(competition, row))) as reader:
        if reader.dtype != np.uint8 or reader.shape[3] not in (1, 3):
            raise ValueError(f"{path}: {reader.shape[3]} channels of {reader.dtype}, expected colours of 8 bits")
        slices = _checked(competition, reader.shape[:3], path, row, extent)
        codes = np.stack([opaque_codes(reader, z) for z in slices])
    return _of_size(codes, extent)


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


def _checked(competition: Competition, mask: Shape, path: Path, row: Row, extent: Extent) -> range:
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


def _of_size(pixels: np.ndarray, extent: Extent) -> np.ndarray:
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


def _files(competition: Competition, data: Path, pattern: str, row: Row) -> list[Path]:
    """Mask files of an image by a pattern without {class} and {observer}; none where they may be missing."""
    masks = competition.masks
    assert masks.path is not None
    if f"{{{OBJECT}}}" not in pattern and OBJECT not in masks.path_fields:
        names = [filled(pattern, row)]
    else:
        names = object_files(data, pattern, row)
    paths = [open_path(competition, data, masks.path, name) for name in names]
    if masks.missing == "empty":
        return [path for path in paths if path.is_file()]
    if not paths:
        raise FileNotFoundError(
            f"{filled(pattern, row, object='*')}: no file; expected at least one object, or set masks.missing: empty"
        )
    return paths


def _numbered(competition: Competition, data: Path, pattern: str, row: Row, extent: Extent) -> np.ndarray | None:
    """int32 (Z, H, W): the objects' numbers, of one file per object or the values of one file; None without a file."""
    masks = competition.masks
    files = _files(competition, data, pattern, row)
    if not files:
        return None
    numbers = np.zeros(extent.size, np.int32)
    if OBJECT in masks.path_fields:
        for number, path in enumerate(files, start=1):
            numbers[read_pixels(competition, path, row, extent) > 0] = number
        return numbers
    for path in files:
        if extent.shape[0] == 1 and (stacked := _of_pages(competition, path, row, extent)) is not None:
            return stacked
        pixels = _ids(competition, path, row, extent)
        if pixels.max(initial=0) > np.iinfo(np.int32).max:
            pixels = np.unique(pixels, return_inverse=True)[1].reshape(extent.size) + int(pixels.min() > 0)
        numbers = pixels.astype(np.int32)
    return numbers


def _of_channels(competition: Competition, data: Path, row: Row, extent: Extent) -> dict[str, np.ndarray]:
    """int32 (Z, H, W) of each class: the objects' numbers in the channel of the last mask file that has some.

    Raises ValueError for numbers so large that pixels, read as float32, would make one object of several.
    """
    found: dict[str, np.ndarray] = {}
    for path in _files(competition, data, str(competition.masks.path), row):
        for name, numbers in read_channels(competition, path, row, extent).items():
            if (most := numbers.max(initial=0)) > EXACT:
                raise ValueError(
                    f"{path}: numbers up to {most}, expected at most {EXACT} where each channel is a class: number the "
                    "objects anew"
                )
            found[name] = numbers.astype(np.int32)
    return found


def _of_pages(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray | None:
    """int32 (1, H, W) of a file with a page an object, of an image of one slice; None where it has one page."""
    if competition.images.kind in ("pages", "volumes") or competition.images.frame is not None:
        return None
    with closing(open_mask(path, reading=Reading(array=competition.masks.array))) as reader:
        pages = reader.shape[0]
        if pages == 1:
            return None
        _checked(competition, (1, *reader.shape[1:3]), path, row, extent)
        numbers = np.zeros((1, *reader.shape[1:3]), np.int32)
        for page in range(pages):
            numbers[0][reader.read(page)[..., 0] > 0] = page + 1
    return _of_size(numbers, extent)


def _ids(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
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


def _planes(
    competition: Competition, data: Path, pattern: str, row: Row, extent: Extent
) -> tuple[np.ndarray, np.ndarray | None]:
    """bool (K, Z, H, W), and (Z, H, W) of what counts, of one observer."""
    classes, masks = competition.classes, competition.masks
    planes = np.zeros((len(classes), *extent.size), bool)
    if "class" in masks.path_fields:
        for index, name in enumerate(classes):
            for path in _files(competition, data, pattern.replace("{class}", name), row):
                planes[index] |= _foreground(competition, path, row, extent)
        return planes, None
    valid = np.ones(extent.size, bool)
    for path in _files(competition, data, pattern, row):
        if masks.channels:
            for name, pixels in read_channels(competition, path, row, extent).items():
                if name == "void":
                    valid &= pixels == 0
                else:
                    planes[classes.index(name)] |= pixels != 0
        elif masks.values is None:
            planes[-1] |= _foreground(competition, path, row, extent)
        else:
            _put_values(competition, path, row, planes, valid, extent=extent)
    return planes, valid if "void" in masks.class_names else None


def _foreground(competition: Competition, path: Path, row: Row, extent: Extent) -> np.ndarray:
    """bool (Z, H, W) of one class: what is not 0, or reaches the threshold of soft masks."""
    pixels, threshold = read_pixels(competition, path, row, extent), competition.masks.threshold
    if threshold is not None:
        return np.asarray(pixels >= threshold)
    inside, most = np.asarray(pixels != 0), pixels.max(initial=0)
    if (inside & (pixels != most)).any():
        count = len(np.unique(pixels))
        raise ValueError(
            f"{path}: {count} values up to {most}, but a mask of one class has two; for soft borders set "
            f"masks.threshold: {_half(int(most))} (1: all that is not 0), for classes by value masks.values, for "
            "objects masks.instances"
        )
    return inside


def _half(most: int) -> int:
    return (most + 1) // 2


def _put_values(
    competition: Competition, path: Path, row: Row, planes: np.ndarray, valid: np.ndarray, *, extent: Extent
) -> None:
    """Sets the classes that the values or colours of a file stand for, and clears `valid` where they are void."""
    colours = competition.masks.colours
    if colours is not None:
        pixels = read_codes(competition, path, row, extent)
        meaning = {_code(colour): names for colour, names in colours.items()}
    else:
        pixels = read_pixels(competition, path, row, extent)
        meaning = competition.masks.numbers or {}
    found = np.unique(pixels).tolist()
    unknown = [value for value in found if value not in meaning]
    if unknown:
        raise ValueError(_unknown_values(competition, path, unknown, found[-1]))
    for value in found:
        names = meaning[value]
        for name in [names] if isinstance(names, str) else names:
            name = _class_of_image(competition, name, row)
            if name == "void":
                valid &= pixels != value
            else:
                planes[competition.classes.index(name)] |= pixels == value


def _class_of_image(competition: Competition, name: str, row: Row) -> str:
    """The class itself, or for '{column}' the one that the image's cell of that column stands for."""
    for column in FIELD.findall(name):
        known, cell = competition.masks.column_classes[column], row.get(column)
        if cell not in known:
            found = f"{column} {cell!r}" if column in row else f"no column {column!r} in the contract's tables"
            raise ValueError(
                f"{row['image_id']}: {found}, expected one of {sorted(known)}; mend masks.column_classes or the table"
            )
        return known[cell]
    return name


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _unknown_values(competition: Competition, path: Path, unknown: list[int], most: int) -> str:
    masks = competition.masks
    more = ", ..." if len(unknown) > SHOWN else ""
    if masks.colours is not None:
        listed = ", ".join(colour_name(code) for code in unknown[:SHOWN])
        lossy = (
            "; JPEG changes colours: convert it again from the original"
            if path.suffix.lower() in (".jpg", ".jpeg")
            else ""
        )
        known = ", ".join(map(str, masks.values or {}))
        return f"{path}: found colours {listed}{more}, expected only {known}; correct masks.values{lossy}"
    listed, known = ", ".join(map(str, unknown[:SHOWN])), ", ".join(map(str, sorted(masks.numbers or {})))
    soft = ""
    if len(unknown) > SOFT and len(competition.classes) == 1:
        soft = f"; for soft borders set masks.threshold: {_half(most)} instead of masks.values"
    return f"{path}: found values [{listed}{more}], expected only [{known}]; correct masks.values{soft}"
