"""Are the images with masks those for testing, beside training images that show nothing (MVTec AD)?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.mask_files import Masks
from submissions.guess.layout.matching import Match, matches_of
from submissions.guess.layout.pairing import Finder, Layout
from submissions.guess.layout.words import TEST_WORDS, says_mask

FAULTLESS = re.compile(
    r"(?<![a-z])(good|normal|negatives?|ok|healthy|(no|non|without)[_-]?defects?|defect[_-]?free)(?![a-z])", re.I
)
MOSTLY = 0.9  # of the masks, that belong to a test image


def with_labelled_tests(finder: Finder, layout: Layout) -> Layout:
    """The layout with the test images and their masks in the place of training images that are all faultless.

    Faultless test images have no mask, because they show nothing. Any other layout is returned as it is.
    """
    if layout.masks is not None or not faultless(path for path, _ in layout.train.files):
        return layout
    groups = [(group, finder.roles[group.pattern]) for group in finder.groups]
    images = _joined([group for group, is_mask in groups if group.is_test and not is_mask])
    masks = _joined([group for group, is_mask in groups if is_mask])
    found = [match for one in images for other in masks for match in matches_of(one, other) if _fits(match)]
    best = max(found, key=lambda match: len(match.pairs), default=None)
    if best is None:
        return layout
    alone = [path for path, _ in best.images.files if path not in best.pairs]
    notes = [
        f"only test images have masks: they are the training images, {len(alone)} without a mask as faultless ones"
    ]
    notes += _of_training(layout.train, best.images)
    used = {path for path, _ in (*best.images.files, *best.masks.files)}
    unused = [group for group in finder.groups if not used & {path for path, _ in group.files}]
    return Layout(best.images, None, Masks(best.pattern, "one", best.pairs, notes=notes, missing="empty"), unused)


def _of_training(train: FileGroup, images: FileGroup) -> list[str]:
    """How to train on the faultless training images too, where their folders are the others' but for a word."""
    pattern = next((one.pattern for one in _joined([train])), train.pattern)
    if pattern != TEST_WORDS.sub("train", images.pattern, count=1):
        return [f"not used: {len(train.files)} training images without a mask, {train.pattern}"]
    both = TEST_WORDS.sub("{part:train|test}", images.pattern, count=1)
    name = "_".join(["{part}", *(f"{{{name}}}" for name in images.names)])
    return [
        f"not used: {len(train.files)} faultless training images; to train on them too, write "
        f"images.train: '{both}' and images.id: '{name}'"
    ]


def _fits(match: Match) -> bool:
    """Whether the masks are those of test images, and images without one are faultless."""
    alone = [path for path, _ in match.images.files if path not in match.pairs]
    return (
        match.how == "one" and len(match.pairs) >= MOSTLY * len(match.masks.files) and (not alone or faultless(alone))
    )


def faultless(paths: Iterable[str]) -> bool:
    """Whether the folders of all files say that these show nothing."""
    return all(FAULTLESS.search(PurePosixPath(path).parent.name) for path in paths)


def _joined(groups: Iterable[FileGroup]) -> list[FileGroup]:
    """The groups with a field for the folder that their files lie in, and those of one pattern as one."""
    found: dict[tuple[str, tuple[str, ...]], FileGroup] = {}
    for group in map(_with_field, groups):
        known = found.setdefault((group.pattern, group.names), group)
        if known is not group:
            found[group.pattern, group.names] = replace(known, files=tuple(sorted((*known.files, *group.files))))
    return list(found.values())


def _with_field(group: FileGroup) -> FileGroup:
    head, _, last = group.folder.rpartition("/")
    if not last or "{" in last or TEST_WORDS.search(last) or says_mask(last):
        return group
    field = f"folder{len(group.names)}"
    name = group.pattern.rpartition("/")[2]
    pattern = "/".join(part for part in (head, f"{{{field}}}", name) if part)
    files = tuple((path, (*fields[:-1], last, fields[-1])) for path, fields in group.files)
    return replace(group, pattern=pattern, names=(*group.names[:-1], field, group.names[-1]), files=files)
