"""Files that hold several arrays by name: which is the image, which its mask?"""

from __future__ import annotations

import re
from pathlib import Path

from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.pairing import Masks
from submissions.guess.layout.words import IMAGE_WORDS, says_mask
from submissions.images.formats.arrays import Stored, arrays_of_npz
from submissions.images.formats.hdf5 import arrays_of_hdf5
from submissions.images.formats.matlab import arrays_of_mat
from submissions.images.opening import probe_image

HOLDERS = {
    ".mat": arrays_of_mat, ".npz": arrays_of_npz, **dict.fromkeys((".h5", ".hdf5", ".hdf"), arrays_of_hdf5),
}  # fmt: skip


def arrays_in(path: Path) -> dict[str, Stored]:
    """Shapes and types of a file's arrays by name; none of a file that is one image. Raises as their libraries do."""
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
    arrays = arrays_in(folder / images.files[0][0])
    name, _ = array_of_images(folder, images)
    if name is None or says_mask(name):
        return None
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
    arrays = arrays_in(folder / files[0])
    if len(arrays) < 2:
        return None, []
    if image == files[0]:
        fitting = [name for name in arrays if says_mask(name)]
    else:
        info = probe_image(folder / image)
        sizes = {info.height, info.width}
        fitting = [name for name, (shape, _) in arrays.items() if sizes <= set(shape)]
    if not fitting:
        return None, []
    best = max(fitting, key=lambda name: (numbers_objects(name), says_mask(name)))
    return best, [_why(best, [*arrays])]


def numbers_objects(name: str) -> bool:
    """Whether an array's name says that its values number objects: inst_map, instances, neuron_ids."""
    return re.search(r"inst|(?<![a-z])ids?(?![a-z])", name.lower()) is not None


def _why(best: str, names: list[str]) -> str:
    return f"each file holds several arrays: {best} is read, and not {', '.join(one for one in names if one != best)}"
