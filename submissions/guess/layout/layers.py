"""Is an image given as a grey file a channel: x_t1.nii and x_t2.nii, or x_red.png and x_green.png?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.pairing import Layout, cuts_of, one_word_varies, with_words
from submissions.images.opening import probe_image

SHARED = 0.9  # of the images, that have a file of each channel


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
        varied = one_word_varies([group.pattern, other.pattern])
        if varied is None or not all(re.fullmatch(r"\w+", word) for word in varied[1]):
            continue
        in_name = "{?}" in varied[0].rpartition("/")[2]
        if (in_name or group.of_volumes) and _of_same_images(group, other):
            found.setdefault(varied[0], {varied[1][0]: group})[varied[1][1]] = other
    layers = max(found.values(), key=len, default={})
    return layers if all(_is_grey(root, one) for one in layers.values()) else {}


def _layered(group: FileGroup, layers: dict[str, FileGroup], words: Sequence[str]) -> FileGroup:
    varied = one_word_varies([one.pattern for one in layers.values()])
    assert varied is not None, "each differs from the first in that one word"
    return replace(group, pattern=with_words(varied[0], "layer", words))


def _of_same_images(group: FileGroup, other: FileGroup) -> bool:
    """Whether nearly all images of either have a file in both."""
    one, two = ({fields for _, fields in each.files} for each in (group, other))
    return group.names == other.names and len(one & two) >= SHARED * len(one | two)


def _is_grey(root: Path, group: FileGroup) -> bool:
    try:
        return probe_image(root / group.files[0][0]).channels == 1
    except (ValueError, OSError):
        return False
