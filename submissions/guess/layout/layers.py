"""Is an image given as a file a channel: x_t1.nii and x_t2.nii, x_red.png and x_green.png, x/00.tif and x/01.tif?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from submissions.guess.layout.files import FileGroup, common_head
from submissions.guess.layout.matching import are_pairs, cuts_of, one_word_varies, varying_words, with_words
from submissions.guess.layout.pairing import Layout, joined_groups, same_place
from submissions.guess.layout.photo_or_mask import are_masks
from submissions.images.opening import probe_image

SHARED = 0.9  # of the images, that have a file of each channel
FEWEST, MOST = 3, 256  # numbered files that are an image's channels


def with_numbered_layers(root: Path, groups: Sequence[FileGroup]) -> list[FileGroup]:
    """The groups with an image in the place of the numbered files of each folder, 00.tif to 64.tif, whose folder has
    one mask of their size; the same files of test images too. A mask of each file leaves the files alone.
    """
    found = {group: layered for group in groups if (layered := _numbered(group))}
    others = [*groups, *joined_groups(groups)] if found else []
    masked = {
        same_place(group.pattern)
        for group, layered in found.items()
        if any(_is_mask_of(root, layered, other) for other in groups)
        and not _are_masks(root, group)
        and not any(are_pairs(group, other) and _are_masks(root, other) for other in others)
    }
    return [found[group] if group in found and same_place(group.pattern) in masked else group for group in groups]


def _are_masks(root: Path, group: FileGroup) -> bool:
    return are_masks(root, [path for path, _ in group.files]) is True


def _numbered(group: FileGroup) -> FileGroup | None:
    """A group of images, each the numbered files of a folder, the same numbers in all; None of other files."""
    own = group.cut(common_head(group.stems), "") if len(group.names) > 1 else group
    folders: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for path, fields in own.files if "{name}" in own.pattern.rpartition("/")[2] else ():
        folders.setdefault(fields[:-1], []).append((fields[-1], path))
    kinds = {tuple(sorted(name for name, _ in files)) for files in folders.values()}
    names = kinds.pop() if len(kinds) == 1 else ()
    if () in folders or not FEWEST <= len(names) <= MOST or not "".join(names).isdecimal():
        return None
    pattern = own.pattern.replace("{name}", "{layer:d}").replace(f"{{{own.names[-2]}}}", "{name}")
    files = tuple((min(files)[1], folder) for folder, files in folders.items())
    return FileGroup(pattern, (*own.names[:-2], "name"), files, layers=len(names)) if "{name}" in pattern else None


def _is_mask_of(root: Path, images: FileGroup, masks: FileGroup) -> bool:
    """Whether a group is a mask of each image, of its size."""
    if len(masks.files) > len(images.files) or not are_pairs(images, masks):
        return False
    if not _are_masks(root, masks):
        return False
    try:
        image, mask = (probe_image(root / group.files[0][0]) for group in (images, masks))
    except (ValueError, OSError):
        return False
    return (image.height, image.width, image.channels) == (mask.height, mask.width, 1)


def with_layers(root: Path, layout: Layout, others: Sequence[FileGroup]) -> Layout:
    """The layout with {layer:...} in the patterns of images that are a file a channel; the groups of files keep those
    of one channel. `others`: groups of images that are not used yet. Test images must have the same channels.
    """
    layers = _layers(root, layout.train, others)
    if not layers:
        return layout
    words = sorted(layers)
    used, test = [*layers.values()], None
    if layout.test is not None:
        of_test = _layers(root, layout.test, others)
        if sorted(of_test) != sorted(layers):
            return layout
        used += of_test.values()
        test = _layered(layout.test, of_test, words)
    paths = {path for group in used for path, _ in group.files}
    unused = [group for group in layout.unused if not paths & {path for path, _ in group.files}]
    return replace(layout, train=_layered(layout.train, layers, words), test=test, unused=unused)


def _layers(root: Path, group: FileGroup, others: Sequence[FileGroup]) -> dict[str, FileGroup]:
    """The group and those that are other channels of its images, by the word in which their patterns differ."""
    found: dict[str, dict[str, FileGroup]] = {}
    for other in (cut for one in others for cut in cuts_of(one)):
        for pattern, words in varying_words([group.pattern, other.pattern]):
            if not all(re.fullmatch(r"\w+", word) for word in words):
                continue
            if not (_in_name(pattern) or group.of_volumes) or not _of_same_images(group, other):
                continue
            if not group.of_volumes or _are_alike(root, group, other):
                found.setdefault(pattern, {words[0]: group})[words[1]] = other
    layers = found[max(found, key=lambda pattern: (len(found[pattern]), _in_name(pattern)))] if found else {}
    return layers if all(_is_grey(root, one) for one in layers.values()) else {}


def _in_name(pattern: str) -> bool:
    """Whether it is the file's name that differs, and not a folder's."""
    return "{?}" in pattern.rpartition("/")[2]


def _layered(group: FileGroup, layers: dict[str, FileGroup], words: Sequence[str]) -> FileGroup:
    varied = one_word_varies([one.pattern for one in layers.values()])
    assert varied is not None, "each differs from the first in that one word"
    return replace(group, pattern=with_words(varied[0], "layer", words))


def _of_same_images(group: FileGroup, other: FileGroup) -> bool:
    """Whether nearly all images of either have a file in both."""
    one, two = ({fields for _, fields in each.files} for each in (group, other))
    return group.names == other.names and len(one & two) >= SHARED * len(one | two)


def _are_alike(root: Path, *groups: FileGroup) -> bool:
    """Whether the first volumes are of one size and type; not where they cannot be read."""
    try:
        infos = [probe_image(root / group.files[0][0]) for group in groups]
    except (ValueError, OSError):
        return False
    return len({(info.depth, info.height, info.width, info.dtype) for info in infos}) == 1


def _is_grey(root: Path, group: FileGroup) -> bool:
    try:
        return probe_image(root / group.files[0][0]).channels == 1
    except (ValueError, OSError):
        return False
