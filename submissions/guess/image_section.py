"""The section `images` of a first contract, and which images belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from submissions.guess.arrays import HOLDERS, array_of_images, array_of_masks, arrays_in
from submissions.guess.draft import Draft
from submissions.guess.layout.files import FileGroup, packed_files
from submissions.guess.layout.inner_words import BEFORE
from submissions.guess.layout.name_groups import group_of_folders, parts_of_names
from submissions.guess.layout.pairing import Layout, joined_groups
from submissions.host.listing import spread
from submissions.host.patterns import WORDS, pattern_regex
from submissions.images.axes import SLICES_LAST, axes_of_pair, guess_axes
from submissions.images.faults import count_not_finite
from submissions.images.formats.arrays import stored_shape
from submissions.images.opening import open_image, open_mask, probe_image
from submissions.images.readers import ImageInfo, SliceReader
from submissions.images.reading import Reading

LAYER = re.compile(r"{layer:([^}]*)}")
ARRAYS = (".npy", ".npz")
SERIES = (
    "a folder of DICOM files is one volume, as its mask is: slices are put in order by the places that their headers "
    "give, and masks are turned as theirs say"
)
TOLD = "ids are folders and words of the names, as a table or the masks have them"
MOST_NOTES = 12
MOST_WORDS = 8  # of folders that a pattern names
LOOKED_AT, DECODED = 12, 4  # images; of these as many are read whole, if they are of floats


def put_images(draft: Draft, folder: Path, layout: Layout) -> None:
    """Patterns, ids and kind of the images, and how they were found."""
    train, test = layout.train, layout.test
    section: dict[str, Any] = {"train": _of_these_alone(train, layout.unused)}
    section |= {"test": _of_these_alone(test, layout.unused)} if test else {}
    section["id"] = train.id_template
    layered = LAYER.search(train.pattern)
    layers = layered[1].split("|") if layered and not train.layers else []
    notes = [f"{len(train.files)} training images" + (f", {len(test.files)} test images" if test else "")]
    own_fields = test is None or set(re.findall(r"{(\w+)}", train.id_template)) <= set(test.names)
    if test and (not own_fields or test.told_id != train.told_id):
        section["test_id"] = test.id_template
    notes += [SERIES] if train.series else []
    if train.id_template != "{name}":
        notes.append(TOLD if train.told_id else "file names repeat in several folders, so ids include the folders")
        ranked = layout.masks is not None and layout.masks.by_rank
        left_out = layout.masks is not None and layout.masks.missing  # of faultless pictures, not of slices
        if not left_out and (stack := _stack(train, test, ranked=ranked)):
            section |= {"stack": stack, "z": "{rank}" if ranked else "{name}"}
            notes.append("numbered files are slices of a stack; if they are channels of one image, use kind: layers")
    try:
        array, why = array_of_images(folder, train)
        axes = _axes(folder, layout, array)
        section |= {"axes": axes} if axes else {}
        section |= {"array": array} if array else {}
        notes += why
        reading = Reading(axes=axes, array=array)
        info = probe_image(folder / train.files[0][0], reading=reading)
        if axes:
            notes.append(f"axes {axes}: its masks show which are height and width; time (T) looks like channels (C)")
        notes.append(f"the first image is {info.height} x {info.width} (height, width), {info.channels} x {info.dtype}")
        if not train.of_volumes and info.pages > 1:
            section, note = _of_pages(section, info, _pages_of_a_mask(folder, layout, axes), len(train.files))
            notes.append(f"the first file has {info.pages} pages{note}")
        found, why = _as_read(folder, layout, reading)
        section |= found
        notes += why
    except (ValueError, OSError) as error:
        notes.append(f"the first image cannot be read: {error}")
    if train.of_volumes:
        section = {"kind": "volumes", **section}
    elif layers or train.layers:
        section = {"kind": "layers", **section}
    notes += [f"{len(layers)} files an image, its channels: {', '.join(layers)}"] if layers else []
    if train.layers:
        notes.append(f"{train.layers} numbered files an image, its channels: a folder has one mask, of their size")
    notes += [packed] if (packed := packed_files(folder)) else []
    notes += [f"not used: {group.pattern} ({len(group.files)} files)" for group in joined_groups(layout.unused)]
    notes = notes if len(notes) <= MOST_NOTES else [*notes[: MOST_NOTES - 1], f"and {len(notes) - MOST_NOTES + 1} more"]
    draft.put("images", section, *notes)
    _put_short(draft, train)


def _stack(train: FileGroup, test: FileGroup | None, *, ranked: bool) -> str:
    """The folders' fields, where numbered files in several of them are slices: not in folders for training and test."""
    folders = [name for name in train.names[:-1] if name != BEFORE and (test is None or name in test.names)]
    numbered = (ranked or "".join(train.stems).isdecimal()) and set(folders) - {"subset"}
    return "_".join(f"{{{name}}}" for name in folders) if numbered else ""


def _of_these_alone(group: FileGroup, others: Sequence[FileGroup]) -> str:
    """The group's pattern; where it would take in others, of numbered files {name:d} (1.png, 1_mask.png), and of
    folders their words (positive/1.png, negative/2.png, mask/1.png)."""
    files = [path for other in others for path, _ in other.files]
    pattern = group.pattern
    if not any(map(pattern_regex(pattern).match, files)):
        return pattern
    pattern = pattern.replace("{name}", "{name:d}") if "".join(group.stems).isdecimal() else pattern
    for name in group.names[:-1]:
        words = sorted(group.values(name))
        if 1 < len(words) <= MOST_WORDS and WORDS.fullmatch("|".join(words)):
            named = pattern.replace(f"{{{name}}}", f"{{{name}:{'|'.join(words)}}}", 1)
            if not any(map(pattern_regex(named).match, files)):
                return named
    return pattern


def _of_pages(section: dict[str, Any], info: ImageInfo, mask_pages: int, files: int) -> tuple[dict[str, Any], str]:
    """The section of files of several pages, and why: one page, a volume a file, or a slice of a stack a page."""
    if mask_pages == 1:
        return {**section, "frame": 0}, " and its mask one: the first page is read; frame chooses another"
    if mask_pages == info.pages and files > 1 and info.channels == 1:
        return {"kind": "volumes", **section}, " and so has its mask: a volume a file, scored and answered whole"
    pages = {"kind": "pages", **section, "id": "{name}_{page:02d}"}
    if info.channels > 1:
        return pages, " in colour; each is taken for an image"
    return {**pages, "stack": "{name}", "z": "{page}"}, "; each is taken for a slice of a stack"


def _pages_of_a_mask(folder: Path, layout: Layout, axes: str | None) -> int:
    """Pages of the first mask beside images of these axes; 0 without masks. Raises as `probe_image`."""
    pairs = layout.masks.pairs if layout.masks else {}
    masks = next((pairs[path] for path, _ in layout.train.files if path in pairs), [])
    array = array_of_masks(folder, layout.masks)[0] if layout.masks else None
    if masks and axes == SLICES_LAST:
        with closing(open_mask(folder / masks[0], reading=Reading(array=array, axes=axes))) as mask:
            return mask.shape[0]
    return probe_image(folder / masks[0], reading=Reading(array=array)).pages if masks else 0


def _as_read(folder: Path, layout: Layout, reading: Reading) -> tuple[dict[str, Any], list[str]]:
    """images.exif and images.nan with their notes: photos whose masks are upright, pixels that are no numbers."""
    pairs = layout.masks.pairs if layout.masks else {}
    votes = odd = 0
    for place, (file, _) in enumerate(spread(layout.train.files, LOOKED_AT)):
        try:
            odd += place % (LOOKED_AT // DECODED) == 0 and _not_finite(folder / file, reading)
            votes += _vote_for_upright(folder, file, pairs[file][0], reading) if file in pairs else 0
        except (ValueError, OSError):  # stage 01 lists them all
            continue
    found: dict[str, Any] = {"exif": "turned"} if votes > 0 else {}
    notes = ["photos are turned upright as their EXIF orientation says: so are their masks"] if found else []
    if odd:
        found["nan"] = 0
        notes.append("pixels that are not a number (NaN or infinite) are taken for 0")
    return found, notes


def _not_finite(path: Path, reading: Reading) -> bool:
    """Whether the middle slice of an image has floats that are no numbers."""
    with closing(open_image(path, reading=reading)) as image:
        middle = SliceReader(image, [image.shape[0] // 2])
        return image.dtype.kind == "f" and count_not_finite(middle) > 0


def _vote_for_upright(folder: Path, image: str, mask: str, reading: Reading) -> int:
    """1 where a mask has the size of its image turned upright, -1 where as stored, 0 where these are the same."""
    infos = [
        probe_image(folder / image, reading=replace(reading, turned=True)),
        probe_image(folder / image, reading=reading),
        probe_image(folder / mask),
    ]
    upright, stored, wanted = ((info.height, info.width) for info in infos)
    return int(wanted == upright) - int(wanted == stored)


def _axes(folder: Path, layout: Layout, array: str | None) -> str | None:
    """Axes of bare arrays, where the shape of a mask tells them and sizes alone would not; `array`: of the images."""
    pairs = layout.masks.pairs if layout.masks else {}
    image = next((path for path, _ in layout.train.files if path in pairs), "")
    mask = pairs[image][0] if image else ""
    named = array is not None and image.lower().endswith(tuple(HOLDERS))
    if not ((named or image.lower().endswith(ARRAYS)) and mask and layout.masks):
        return None
    shape = _shape(folder / image, array)
    if named and len(shape) < 4:
        return None
    if mask.lower().endswith((*ARRAYS, *HOLDERS)):
        of_mask = _shape(folder / mask, array_of_masks(folder, layout.masks)[0])
    else:
        info = probe_image(folder / mask)
        of_mask = (info.height, info.width)
    axes = axes_of_pair(shape, of_mask)
    try:
        return None if axes == guess_axes(shape, folder / image) else axes
    except ValueError:  # sizes alone say nothing
        return axes


def _shape(path: Path, array: str | None) -> tuple[int, ...]:
    """Shape of a file's array of this name, or of its only one, as it is stored."""
    return stored_shape(path) if array is None else arrays_in(path)[array][0]


def _put_short(draft: Draft, train: FileGroup) -> None:
    """Folders that are always named like their file: `put_group` writes {name} for them in every pattern."""
    draft.same = [
        name
        for place, name in enumerate(train.names[:-1])
        if all(fields[place] == fields[-1] for _, fields in train.files)
    ]


def put_group(draft: Draft, layout: Layout, *, by_names: bool = True) -> None:
    """The group, where folders or parts of names say which images belong together; a table's column has precedence.

    by_names: False leaves names whole, where the host divides its images itself.
    """
    for name in draft.same:
        draft.rename(f"{{{name}}}", "{name}")
    if "group" in draft.sections or draft.sections["images"].get("kind") == "pages":
        return
    found = group_of_folders(layout.train)
    if found is not None and found[0] not in draft.same:
        field, why, is_group = found
        draft.put("group" if is_group else "strata", field if is_group else [field], why)
        return
    if by_names:
        _put_parts(draft, layout)


def _put_parts(draft: Draft, layout: Layout) -> None:
    """Names taken apart into a group and the rest, in the patterns of images, masks and ids."""
    images = draft.sections["images"]
    parts = parts_of_names(layout.train.stems) if images["id"] == "{name}" else None
    if parts is None or any(name in images["train"] for name in ("{patient", "{person", "{name:")):
        return
    regex = pattern_regex(parts.pattern)
    if layout.test is not None and not all(regex.match(stem) for stem in layout.test.stems):
        images["test_id"] = "{name}"
    elif "test" in images:
        images["test"] = images["test"].replace("{name}", parts.pattern, 1).replace("{name}", parts.template)
    images["train"] = images["train"].replace("{name}", parts.pattern, 1).replace("{name}", parts.template)
    images["id"] = parts.template
    for key in ("path", "valid", "file"):
        if key in draft.sections["masks"]:
            draft.sections["masks"][key] = draft.sections["masks"][key].replace("{name}", parts.template)
    draft.put("group", parts.group, parts.note)
