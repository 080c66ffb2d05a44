"""Which array of a mask file that holds several is the mask: of a .mat or a .npz, the one of its image's size."""

from __future__ import annotations

from pathlib import Path

from submissions.guess.pairing import Masks
from submissions.guess.words import says_mask
from submissions.images.formats.arrays import arrays_of_npz
from submissions.images.formats.matlab import arrays_of_mat
from submissions.images.opening import probe_image

HOLDERS = {".mat": arrays_of_mat, ".npz": arrays_of_npz}


def array_of_masks(folder: Path, masks: Masks) -> tuple[str | None, list[str]]:
    """Name of the array, and why; None where files hold one array, or none is of the image's size.

    Of several one that numbers objects is preferred, then one whose name says mask. Raises ValueError for a damaged
    file.
    """
    image, files = next(iter(masks.pairs.items()), ("", [""]))
    holder = HOLDERS.get(Path(files[0]).suffix.lower())
    arrays = holder(folder / files[0]) if holder else {}
    if len(arrays) < 2:
        return None, []
    info = probe_image(folder / image)
    fitting = [name for name, (shape, _) in arrays.items() if (info.height, info.width) in (shape[:2], shape[1:3])]
    if not fitting:
        return None, []
    best = max(fitting, key=lambda name: (numbers_objects(name), says_mask(name)))
    others = [name for name in arrays if name != best]
    return best, [f"each file holds several arrays: {best} is read, and not {', '.join(others)}"]


def numbers_objects(name: str) -> bool:
    """Whether an array's name says that its values number objects: inst_map, instances."""
    return "inst" in name.lower()
