"""Files that hold several arrays by name: which is the image, which its mask?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.mask_files import Masks
from submissions.guess.layout.words import IMAGE_WORDS, says_mask
from submissions.images.formats.arrays import Stored, arrays_of_npz
from submissions.images.formats.hdf5 import arrays_of_hdf5
from submissions.images.formats.matlab import all_arrays_of_mat, arrays_of_mat, is_nested
from submissions.images.opening import probe_image

BORDERS = re.compile(r"boundar|edge|border|contour", re.IGNORECASE)
NUMBER = re.compile(r"[{(][0-9]+[)}]")
SHOWN = 12
HOLDERS = {
    ".mat": arrays_of_mat, ".npz": arrays_of_npz, **dict.fromkeys((".h5", ".hdf5", ".hdf"), arrays_of_hdf5),
}  # fmt: skip


def arrays_in(path: Path, *, nested: bool = False) -> dict[str, Stored]:
    """Shapes and types of a file's arrays by name; none of a file that is one image. Raises as their libraries do.

    nested: of a .mat those in structs and cells too, which are otherwise those of files that have no others.
    """
    if nested and path.suffix.lower() == ".mat":
        return all_arrays_of_mat(path)
    holder = HOLDERS.get(path.suffix.lower())
    return holder(path) if holder else {}


def array_of_images(folder: Path, images: FileGroup) -> tuple[str | None, list[str]]:
    """Name of the array that is the image, and why; None where files hold one."""
    arrays = arrays_in(folder / images.files[0][0])
    if len(arrays) < 2:
        return None, []
    best = max(arrays, key=lambda name: (not says_mask(name), any(word in name.lower() for word in IMAGE_WORDS)))
    return best, [_why(best, [*arrays])]


def masks_beside_images(folder: Path, images: FileGroup) -> Masks | None:
    """The images' own files as those of their masks, where an array of the same height and width says mask."""
    name, _ = array_of_images(folder, images)
    if name is None or says_mask(name):
        return None
    arrays = arrays_in(folder / images.files[0][0])
    sizes = set(arrays[name][0])
    alike = {other for other, (shape, _) in arrays.items() if sum(size in sizes for size in shape) > 1}
    if not any(map(says_mask, alike)):
        return None
    return Masks(images.fields_alone, "one", {path: [path] for path, _ in images.files})


def array_of_masks(folder: Path, masks: Masks) -> tuple[str | None, list[str]]:
    """Name of the array that is the mask, and why; None where files hold one array, or none is of the image's size.

    Of several one that numbers objects is preferred, then one whose name says mask. Raises ValueError for a damaged
    file.
    """
    image, files = next(iter(masks.pairs.items()), ("", [""]))
    for nested in (False, True):
        arrays = arrays_in(folder / files[0], nested=nested)
        if image == files[0]:
            fitting = [name for name in arrays if says_mask(name)]
        else:
            fitting = _of_size(folder / image, arrays) if arrays else []
        if fitting:
            break
    if not fitting or (len(arrays) < 2 and not is_nested(fitting[0])):
        return None, []
    best = max(fitting, key=lambda name: (numbers_objects(name), says_mask(_field(name))))
    return best, [_why(best, [*arrays]), *_others_alike(best, fitting)]


def _of_size(image: Path, arrays: Mapping[str, Stored]) -> list[str]:
    """Names of the arrays that have an image's height and width."""
    info = probe_image(image)
    return [name for name, (shape, _) in arrays.items() if {info.height, info.width} <= set(shape)]


def _field(name: str) -> str:
    """The last word of a name in MATLAB's structs: Segmentation of GTcls.Segmentation."""
    return name.rpartition(".")[2]


def _others_alike(best: str, names: Sequence[str]) -> list[str]:
    """A note where an array is one of several that differ in their number in a cell alone."""
    alike = [name for name in names if NUMBER.sub("#", name) == NUMBER.sub("#", best)]
    if len(alike) < 2:
        return []
    note = f"{len(alike)} masks of an image, as of so many observers: only {best} is read, and not their majority"
    return [f"{note}; save each as a file of its own to join them (masks.observers)"]


def borders_beside(path: Path, array: str) -> str | None:
    """The array of borders in the same struct as one of regions; None where there is none."""
    names = [name for name in arrays_in(path, nested=True) if BORDERS.search(_field(name))]
    return next((name for name in names if name.rpartition(".")[0] == array.rpartition(".")[0]), None)


def numbers_objects(name: str) -> bool:
    """Whether an array's name says that its values number objects: inst_map, instances, neuron_ids."""
    return re.search(r"inst|(?<![a-z])ids?(?![a-z])", name.lower()) is not None


def _why(best: str, names: list[str]) -> str:
    others = [one for one in names if one != best]
    if not others:
        return f"each file holds the array {best}"
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return f"each file holds several arrays: {best} is read, and not {', '.join(others[:SHOWN])}{more}"
