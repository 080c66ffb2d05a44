"""What do the values of mask images mean: one class, several, colours, soft borders, or objects?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from submissions.guess.arrays import array_of_masks, borders_beside, numbers_objects
from submissions.guess.class_lists import name_of_one, names_of
from submissions.guess.draft import Draft
from submissions.guess.layout.mask_files import Masks
from submissions.guess.mask_channels import SLICES_READ, Meaning, meaning_of_channels
from submissions.guess.mask_tables import ListedObjects
from submissions.host.listing import spread
from submissions.host.mask_images import colour_name, opaque_codes
from submissions.images.axes import SLICES_LAST
from submissions.images.opening import open_image, open_mask, probe_image
from submissions.images.reading import Reading

MASKS_READ = 40
LARGEST_SIDE = 4096  # of a plane whose regions are counted
MOST_CLASSES = 64
BRIGHT = 200  # a soft mask of 8 bits reaches nearly white
NEAR_BORDER = 3  # pixels: soft values lie this close to the border
MOSTLY, MOSTLY_AT_ENDS = 0.98, 0.9
FEW_COLOURS, OWN = 8, 0.7
COUNTS_DIFFER, MANY_OBJECTS = 3, 5  # how many numbers of objects masks that number theirs have, and the largest of them
LAST_OF_8_BITS = 255
FEW_SHADES, LAST_INDEX = 8, 64  # few values, one of them beyond this number: shades of grey, not classes in order
PICTURES = (".png", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass
class Seen:
    """What some masks hold. values: of all; soft: each has values between near its borders only, and none elsewhere;
    most: values in one mask; changing: masks differ in their values; colours: they are pictures in colour; parts: how
    many values but 0 the masks have, added up; mixed: some masks are in colour and some in grey; ends: they are of a
    lossy format, and nearly all their pixels nearly black or nearly white; counts: how many values but 0 a mask has,
    where those of each are 1, 2, 3 and so on; whole: they are pictures of 16 bits or more, as classes do not need, and
    nearly every value is one connected region; common: how many pixels have a value."""

    values: set[int] = field(default_factory=set)
    soft: bool = True
    most: int = 0
    changing: bool = False
    colours: bool = False
    lossy: bool = False
    parts: int = 0
    mixed: bool = False
    ends: bool = True
    counts: set[int] = field(default_factory=set)
    whole: bool = True
    common: Counter[int] = field(default_factory=Counter)


def put_mask_images(draft: Draft, folder: Path, masks: Masks, listed: ListedObjects | None = None) -> None:
    """Masks from images, with what the values seen in them mean; listed: what a table says of their objects."""
    files = [path for paths in masks.pairs.values() for path in paths]
    sample = spread(files, MASKS_READ)
    section: dict[str, Any] = {"kind": "images", "path": masks.pattern}
    notes = [f"{len(files)} masks, {len(sample)} of them read", *masks.notes]
    if masks.valid:
        section["valid"] = masks.valid
        notes.append(f"all of these lie within {masks.valid}: taken for where pixels count, the rest is void")
    classes, exclusive = ["thing"], False
    if listed is not None:
        section |= listed.settings
        classes, exclusive = listed.classes, listed.exclusive
        notes += listed.notes
    elif masks.how == "objects":
        section["instances"] = True
        notes.append(
            f"several mask files per image, {len(files)} for {len(masks.pairs)} images: taken for one file per object"
        )
    elif masks.how == "classes":
        classes = masks.variants
        notes.append(
            f"several masks per image that show different things: taken for one file per class, {', '.join(classes)}"
        )
    elif pages := _pages_an_image(folder, masks):
        section["instances"] = True
        notes.append(f"masks have up to {pages} pages, and their images one: taken for one page per object")
    else:
        if masks.how == "observers":
            section["observers"] = masks.variants[:1]
            notes.append(
                f"several masks per image that show the same: observers {', '.join(masks.variants)}; only the "
                "first is read, list them all to join them (masks.join)"
            )
        try:
            found, classes, exclusive, why = _meaning_of_files(
                folder, masks, sample, draft.sections["images"].get("axes")
            )
            section |= found
            notes += why
        except (ValueError, OSError) as error:
            notes.append(f"masks cannot be read: {error}")
    reading = Reading(turned=draft.sections["images"].get("exif") == "turned")
    if _of_other_sizes(folder, masks, reading):
        section["size"] = "any"
        notes.append("masks have other sizes than their images: each is brought to its image's, nearest pixel")
    if section.get("instances") and draft.sections["images"].get("kind") == "volumes":
        section.pop("instances")
        section["threshold"] = 1
        notes.append("what is not 0 is the class: the objects of volumes are not told apart in an answer")
    draft.put("masks", section, *notes)
    draft.put("classes", classes, *(["name the classes, here and in masks.values"] if listed is None else []))
    if exclusive:
        draft.put("exclusive", True, "a pixel has one value, so it has one class")


def _meaning_of_files(folder: Path, masks: Masks, sample: Sequence[str], axes: str | None) -> Meaning:
    """For some of the files of masks with one an image; raises ValueError where they are not readable.

    axes: of the images.
    """
    array, notes = array_of_masks(folder, masks)
    named = {"array": array} if array else {}
    if array and numbers_objects(array):
        return {**named, "instances": True}, ["thing"], False, [*notes, "its name says that its values number objects"]
    axes = axes if axes == SLICES_LAST else None
    meaning = meaning_of_channels(folder, sample, array) if axes is None else None
    if meaning is None:
        seen = look_at_values(folder, sample, array, axes)
        borders = (
            borders_beside(folder / sample[0], array) if array and _are_objects(seen) and 0 not in seen.values else None
        )
        if borders is not None:
            notes.append(f"the regions of {array} leave no pixel out, so their borders are read, {borders}")
            named, array, seen = {"array": borders}, borders, look_at_values(folder, sample, borders)
        meaning = _meaning(folder, f"{masks.pattern} {array or ''}", seen)
    found, classes, exclusive, why = meaning
    return named | found, classes, exclusive, [*notes, *why]


def _of_other_sizes(folder: Path, masks: Masks, reading: Reading) -> bool:
    """Whether masks have another size than their images, all that are looked at; one alone is a wrong file."""
    differ = []
    for image, files in spread(sorted(masks.pairs.items()), SLICES_READ):
        if image.lower().endswith((".npy", ".npz")):  # whose axes are guessed from the mask's size
            continue
        try:
            two = [probe_image(folder / image, reading=reading), probe_image(folder / files[0])]
        except (ValueError, OSError):
            continue
        differ.append((two[0].height, two[0].width) != (two[1].height, two[1].width))
    return len(differ) > 1 and all(differ)


def _pages_an_image(folder: Path, masks: Masks) -> int:
    """Most pages that a mask of an image of one slice has, where that is more than one; 0 otherwise."""
    most = 0
    for image, files in spread(sorted(masks.pairs.items()), SLICES_READ):
        try:
            with closing(open_image(folder / image)) as one, closing(open_mask(folder / files[0])) as mask:
                most = max(most, mask.shape[0] if one.shape[0] == 1 else 0)
        except (ValueError, OSError):
            continue
    return most if most > 1 else 0


def look_at_values(folder: Path, files: Sequence[str], array: str | None = None, axes: str | None = None) -> Seen:
    """Values of some mask files, of files that hold several arrays those of `array`; axes: of the images, where told.

    Raises as `open_mask` does.
    """
    seen = Seen()
    sets: list[frozenset[int]] = []
    for file in files:
        pixels, colours = _read(folder / file, Reading(array=array, axes=axes))
        found, counts = np.unique(pixels, return_counts=True)
        own = frozenset(found.tolist())
        seen.common.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        sets.append(own)
        seen.mixed |= bool(own - {0}) and seen.parts > 0 and colours != seen.colours
        seen.parts += len(own - {0})
        seen.colours |= colours
        lossy = Path(file).suffix.lower() in LOSSY
        seen.lossy |= colours and lossy
        seen.ends &= lossy and not colours and _at_ends(pixels)
        seen.soft &= not colours and _is_soft(pixels)
        seen.whole = seen.whole and file.lower().endswith(PICTURES) and _regions_alone(pixels)
    numbered = all(one | {0} == set(range(len(one | {0}))) for one in sets)
    seen.counts = {len(one - {0}) for one in sets} if numbered else set()
    seen.values = set().union(*sets)
    seen.most = max(map(len, sets), default=0)
    seen.changing = len({one for one in sets if len(one) > 1}) > 1
    if len(sets) == 1:  # a volume alone: more numbers than 8 bits hold are hardly classes
        seen.changing = seen.most > MANY_OBJECTS and max(seen.values) > LAST_OF_8_BITS
    seen.soft &= len(seen.values) > 3  # one value between black and white is a class: a cup in its disc, a border
    return seen


def _read(path: Path, reading: Reading) -> tuple[np.ndarray, bool]:
    """Some slices of a mask as integers (Z, H, W), colours as 65536 red + 256 green + blue; whether it has colours."""
    try:
        source, colours = open_mask(path, reading=reading), False
        slices = [source.read(z)[..., 0] for z in spread(range(source.shape[0]), SLICES_READ)]
    except ValueError:
        source, colours = open_image(path), True
        if source.dtype != np.uint8 or source.shape[3] != 3:
            source.close()
            raise
        slices = [opaque_codes(source, z) for z in spread(range(source.shape[0]), SLICES_READ)]
    source.close()
    return np.stack(slices), colours


def _at_ends(pixels: np.ndarray) -> bool:
    """Whether a grey mask of 8 bits is black and white but for what a lossy format changed."""
    near = (pixels <= 255 - BRIGHT) | (pixels >= BRIGHT)
    return pixels.dtype == np.uint8 and float(near.mean()) > MOSTLY_AT_ENDS


def _regions_alone(pixels: np.ndarray) -> bool:
    """Whether a plane of 16 bits or more has hardly more connected regions of one value than values but 0."""
    if pixels.dtype.itemsize < 2 or len(pixels) > 1:
        return False
    from skimage.measure import label  # slow to import, and hardly ever asked

    plane = pixels[0, :LARGEST_SIDE, :LARGEST_SIDE]
    values = np.count_nonzero(np.unique(plane))
    return bool(label(plane, connectivity=2).max() <= values / MOSTLY_AT_ENDS)


def _is_soft(pixels: np.ndarray) -> bool:
    """Whether values between dark and bright lie at borders only (or there are none)."""
    if pixels.max(initial=0) < BRIGHT or pixels.dtype != np.uint8:
        return len(np.unique(pixels)) <= 2
    plane = pixels[len(pixels) // 2]
    inside = (plane >= 128).astype(np.uint8)
    kernel = np.ones((2 * NEAR_BORDER + 1,) * 2, np.uint8)
    border = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, kernel) > 0
    between = (plane > plane.min()) & (plane < plane.max())
    return not between.any() or float((between & border).sum() / between.sum()) > MOSTLY


def _meaning(folder: Path, pattern: str, seen: Seen) -> Meaning:
    """For the values that were seen."""
    values = sorted(seen.values)
    if seen.colours and not seen.lossy and not seen.mixed and _are_objects(seen):
        why = f"{len(values)} colours, up to {seen.most} in one mask, other ones in each: every colour is an object"
        return {"instances": True}, ["thing"], False, [why]
    if seen.colours:
        return _colours(folder, pattern, values)
    if seen.ends and len(values) > 2:
        why = f"{len(values)} values, nearly all near 0 and 255, in a lossy format: thresholded in the middle"
        return {"threshold": 128}, ["thing"], False, [why]
    if seen.soft:
        why = f"{len(values)} values, those between 0 and 255 only at borders: soft borders, thresholded in the middle"
        return {"threshold": 128}, ["thing"], False, [why]
    if len(values) <= 2:
        dark = [0] if len(values) < 2 else [0, values[0]]
        name, notes = name_of_one(folder)
        meaning = {value: [] if value in dark else name for value in sorted({*dark, *values})}
        return {"values": meaning}, [name], False, notes
    if _are_objects(seen):
        why = (
            f"{len(values)} values, up to {seen.most} in one mask and different ones in each mask: every value "
            "is taken for an object"
        )
        return {"instances": True}, ["thing"], False, [why]
    if len(values) <= MOST_CLASSES:
        known, notes = names_of(folder, pattern, values, colours=False)
        usual, remarks = _usual(seen)
        names: dict[Any, Any] = {v: known.get(v) or usual.get(v, f"class_{v}" if v >= 0 else "void") for v in values}
        why = "every value is taken for a class; stage 01 reports values that only other masks hold"
        unnamed = "no list of classes names the values; write void for one that means unlabelled"
        if usual.get(0) == "background" and 255 in values:
            unnamed += "; 0 is taken for the background, which is not scored: name it where it is a class too"
        return {"values": names}, _classes(names), True, [why, *remarks, *(notes if known else [*notes, unnamed])]
    why = f"{len(values)} values: soft masks, thresholded in the middle; if values number objects, set instances: true"
    return {"threshold": max(1, (values[-1] + 1) // 2)}, ["thing"], False, [why]


def _usual(seen: Seen) -> tuple[dict[int, str], list[str]]:
    """What 0 and 255 mean beside other values, and why, where these are shades of grey and no numbers of classes."""
    if len(seen.values) > FEW_SHADES or all(value <= LAST_INDEX for value in seen.values - {255}):
        return {0: "background", 255: "void"}, []
    most = max((0, 255), key=lambda value: seen.common[value])
    return {most: "background"}, [f"shades of grey: {most} covers most pixels and is taken for the background"]


def _are_objects(seen: Seen) -> bool:
    """Whether values number objects: 0 and many others, more than classes would need, different from mask to mask."""
    values = sorted(seen.values)
    many = len(values) > MOST_CLASSES or (values[-1] > 255 and len(values) > 2 and not seen.colours)
    many |= seen.colours and len(values) > FEW_COLOURS and len(values) - 1 > OWN * seen.parts  # hardly one comes again
    many &= not (values[-1] <= 255 and seen.most == len(values))
    many |= len(seen.counts) >= COUNTS_DIFFER and max(seen.counts) >= MANY_OBJECTS and not seen.colours
    many |= seen.whole and seen.most > MANY_OBJECTS
    all_over = values[0] == 1 and len(seen.counts) >= COUNTS_DIFFER  # regions that leave no pixel out, as of BSDS500
    return (values[0] == 0 or all_over) and seen.changing and many


def _classes(names: dict[Any, str]) -> list[str]:
    """The classes, background first."""
    found = [name for name in dict.fromkeys(names.values()) if name != "void"]
    return sorted(found, key=lambda name: name != "background")


def _colours(folder: Path, pattern: str, codes: Sequence[int]) -> Meaning:
    if len(codes) > MOST_CLASSES:
        raise ValueError(
            f"{len(codes)} colours in the masks that were read are too many for classes; is it a "
            "lossy format such as JPEG?"
        )
    known, why = names_of(folder, pattern, codes, colours=True)
    names = {colour_name(code): known.get(code, "background" if code == 0 else _called(code)) for code in codes}
    listed = ", ".join(f"{colour} {name}" for colour, name in names.items())
    notes = [f"masks are in colour (red,green,blue): {listed}"]
    return {"values": names}, _classes(names), True, [*notes, *why]


def _called(code: int) -> str:
    return "colour_" + colour_name(code).replace(",", "_")
