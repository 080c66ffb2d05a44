"""The mask files of the training images: one an image, or one per class, observer or object?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from submissions.guess.layout.matching import TRACKS, How, Match, one_word_varies, varying_words
from submissions.host.listing import spread
from submissions.images.opening import read_mask_image

ALIKE = 0.4  # intersection over union of two masks that show the same thing
COMPARED = 5
MARKERS = (
    "markers that say which cell is which from frame to frame, and no outlines: a model would learn to draw these; "
    "where there are outlines (ST/SEG, or GT/SEG of some frames) name them"
)
NAMES_RANK = re.compile(r"{rank1?[:}]")


@dataclass(frozen=True)
class Masks:
    """The mask files of the training images.

    pattern: with the images' fields, and {object}, {class} or {observer}. pairs: image file -> mask files of it, of the
    first class or observer that it has. variants: classes or observers. valid: pattern of masks of where pixels count.
    missing: what the contract is to say of images without a mask, '' where that is to be found out. lacking: how many
    files of a class images lack that have one of another.
    """

    pattern: str
    how: How
    pairs: Mapping[str, list[str]]
    variants: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: str = ""
    valid: str = ""
    lacking: int = 0

    @property
    def by_rank(self) -> bool:
        """Whether masks belong to images by their order in a folder, not by name."""
        return NAMES_RANK.search(self.pattern) is not None


def described(root: Path, best: Match, matches: Sequence[Match]) -> Masks:
    """The masks of the best match, with others of the same images: classes, observers, or left out by name."""
    masks = _with_numbered(Masks(best.pattern, best.how, best.pairs), matches)
    siblings = {best.pattern: best}
    own = {file for files in masks.pairs.values() for file in files}
    notes = [*masks.notes, *([MARKERS] if TRACKS.search(best.pattern) else [])]
    for found in sorted(matches, key=lambda one: one.pattern):
        if found.pattern in siblings or found.how != "one" or len(found.pairs) < min(2, len(best.pairs)):
            continue
        if own >= {file for files in found.pairs.values() for file in files}:
            continue
        if "{" not in found.pattern and found.masks.folder != best.masks.folder:  # of one image alone, by no name
            continue
        siblings[found.pattern] = found
    others = [one for one in siblings.values() if one is not best]
    if best.how != "one" or not others:
        return replace(masks, notes=notes)
    relations = {one.pattern: _relation(root, best, one) for one in others}
    for how in ("observers", "classes"):
        alike = [one for one in others if relations[one.pattern] == how]
        alike += [one for one in others if alike and relations[one.pattern] == "empty"]
        alike = _named_alike(best, alike)
        varied = one_word_varies([best.pattern, *(one.pattern for one in alike)]) if alike else None
        if varied is not None:
            pattern = varied[0].replace("{?}", "{class}" if how == "classes" else "{observer}")
            masks = replace(masks, pattern=pattern, how=how, variants=varied[1])  # type: ignore[arg-type]
            masks = _of_any_class(masks, [best, *alike]) if how == "classes" else masks
            others = [one for one in others if one not in alike]
            break
    notes += [f"other masks of the same images, not used: {one.pattern}" for one in others]
    return replace(masks, notes=notes)


def _named_alike(best: Match, others: Sequence[Match]) -> list[Match]:
    """The most of other masks whose patterns differ from the best one's in the same one word."""
    found: dict[str, list[Match]] = {}
    for other in others:
        for pattern in dict(varying_words([best.pattern, other.pattern])):
            found.setdefault(pattern, []).append(other)
    return max(found.values(), key=len, default=[])


def _relation(root: Path, first: Match, second: Match) -> str:
    """'observers' where two binary masks of an image show the same, 'classes' where they do not, 'empty' where they
    show nothing, '' for others."""
    shares = []
    for image in spread(sorted(set(first.pairs) & set(second.pairs)), COMPARED):
        try:
            one, two = (read_mask_image(root / found.pairs[image][0]) for found in (first, second))
        except (ValueError, OSError):
            return ""
        if max(len(np.unique(one)), len(np.unique(two))) > 2 or one.shape != two.shape:
            return ""
        union = ((one > 0) | (two > 0)).sum()
        shares += [float(((one > 0) & (two > 0)).sum() / union)] if union else []
    if not shares:
        return "empty"
    return "observers" if float(np.mean(shares)) > ALIKE else "classes"


def _of_any_class(masks: Masks, classes: Sequence[Match]) -> Masks:
    """The masks with every image that has a file of one of the classes, and how many files of the others it lacks."""
    pairs = {image: files for one in reversed(classes) for image, files in one.pairs.items()}
    return replace(masks, pairs=pairs, lacking=len(classes) * len(pairs) - sum(len(one.pairs) for one in classes))


def _with_numbered(masks: Masks, matches: Sequence[Match]) -> Masks:
    """The masks of one an image with further ones of some images, numbered after the same ending: _mask, _mask_1."""
    stem, dot, ending = masks.pattern.rpartition("{name}")[2].partition(".")
    numbered = re.compile(rf"{re.escape(stem)}[_-]?[0-9]{{1,2}}{re.escape(dot + ending)}")
    head = masks.pattern.removesuffix(stem + dot + ending)
    more = [one for one in matches if one.pattern.startswith(head) and numbered.fullmatch(one.pattern[len(head) :])]
    if masks.how != "one" or not stem or not more or not all(one.pairs.keys() <= masks.pairs.keys() for one in more):
        return masks
    pairs = {
        image: [*files, *(file for one in more for file in one.pairs.get(image, []))]
        for image, files in masks.pairs.items()
    }
    several = sum(len(files) > 1 for files in pairs.values())
    note = f"{several} images have further masks, numbered: all of an image are joined"
    return replace(masks, pattern=f"{head}{stem}{{object:*}}{dot}{ending}", pairs=pairs, notes=[*masks.notes, note])
