"""Which mask files belong to which image files? Told from their names alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

from submissions.guess.layout.files import FileGroup, common_head, common_tail

How = Literal["one", "objects", "classes", "observers"]
TOKENS = (re.compile(r"([_\-./ ])"), re.compile(r"(/|{[^}]*}[_\-. ]?|\.[^/]*\Z)"))  # single words; whole names
TRACKS = re.compile(r"(?<![a-z])(track(s|ing)?|gt/tra)(?![a-z])", re.IGNORECASE)  # markers of cells, not outlines
SECOND_CHOICE = ("color", "colour", "overlay", "instance", "preview", "superpixel", "edge", "contour", "fov", "err seg")
DRAWN_OVER = ("overlay", "preview")  # pictures that show what the masks say


@dataclass(frozen=True)
class Match:
    """Image and mask files whose names fit: constant parts cut off the images' and the masks' names."""

    images: FileGroup
    masks: FileGroup
    pattern: str
    how: How
    pairs: Mapping[str, list[str]]

    @property
    def rank(self) -> tuple[int, ...]:
        """Larger is better: no markers of tracks, more pairs, images that nothing is drawn over and hardly any without
        a mask, a name that says mask and no second choice, whole names kept."""
        words = " ".join(self.masks.words)
        second = sum(word in words for word in SECOND_CHOICE)
        return (
            -int(TRACKS.search(self.pattern) is not None), len(self.pairs), -int(is_drawn_over(self.images)),
            len(self.pairs) - len(self.images.files), -second, int(self.masks.looks_like_masks),
            int(self.how == "one"), self._beside, -len(self.pattern),
        )  # fmt: skip

    @property
    def _beside(self) -> int:
        """Folders and endings that masks and images have in common: with PNG/a.png goes PNG/b.png, not TIF/b.tif."""
        images, masks = (re.split("[/.]", pattern) for pattern in (self.images.pattern, self.pattern))
        return sum(one == two for one, two in zip(images, masks, strict=False))


def is_drawn_over(images: FileGroup) -> bool:
    """Whether a folder or an ending of images says that the masks are drawn over them."""
    return any(word in own for word in DRAWN_OVER for own in images.words)


def are_pairs(images: FileGroup, masks: FileGroup) -> bool:
    """Whether names say that each mask belongs to an image, for most of those that are fewer."""
    return any(enough(found) for found in matches_of(images, masks) if found.how == "one")


def enough(found: Match) -> bool:
    """Whether most of the images, or most of the masks, have a partner; one of one is enough."""
    least = min(len(found.images.files), len(found.masks.files))
    if found.how == "objects":
        least = len(found.images.files)
    return 2 * len(found.pairs) >= least and (len(found.pairs) > 1 or least == 1)


def matches_of(images: FileGroup, masks: FileGroup) -> list[Match]:
    """Ways in which the masks belong to the images, the best first; none where they do not."""
    if masks.files == images.files:
        return []
    masks = _fixed(masks, images.names)
    images = _of_the_same_word(images, masks)
    found = [one for one in (_by_name(images, masks), *_by_folder(images, masks)) if one is not None]
    if not found and len(images.files) == len(masks.files) == 1:
        file = masks.files[0][0]
        found = [Match(images, masks, file, "one", {images.files[0][0]: [file]})]
    return sorted(found, key=lambda one: one.rank, reverse=True)


def _fixed(group: FileGroup, kept: Sequence[str]) -> FileGroup:
    """The group with folders that all of its files lie in as words of the pattern, where images have no such field."""
    places = [k for k, name in enumerate(group.names[:-1]) if name not in kept]
    values = {k: {fields[k] for _, fields in group.files} for k in places}
    for k, words in values.items():
        if len(words) == 1:
            pattern = re.sub(rf"{{{group.names[k]}(:[^}}]*)?}}", next(iter(words)), group.pattern)
            group = replace(group, pattern=pattern)
    gone = {k for k, words in values.items() if len(words) == 1}
    names = tuple(name for k, name in enumerate(group.names) if k not in gone)
    files = tuple(
        (path, tuple(field for k, field in enumerate(fields) if k not in gone)) for path, fields in group.files
    )
    return replace(group, names=names, files=files)


def _of_the_same_word(images: FileGroup, masks: FileGroup) -> FileGroup:
    """Of images in folders of several words those of the word that the masks' folders have too, where it is no field
    of theirs: images/tissue and images/cell beside annotations/tissue."""
    for name in images.names[:-1]:
        both = images.values(name) & {*masks.folder.split("/")}
        if name not in masks.names and len(both) == 1 and len(images.values(name)) > 1:
            images = images.of_word(name, both.pop())
    return images


def _by_name(images: FileGroup, masks: FileGroup) -> Match | None:
    """A mask an image, of the same folders, whose name is the image's but for constant parts."""
    if not set(masks.names) <= set(images.names):
        return None
    best: tuple[int, FileGroup, FileGroup, dict[str, list[str]]] | None = None
    for own, other in product(cuts_of(images), cuts_of(masks)):
        files = _keyed(other, masks.names)
        pairs = {path: files[key] for path, key in _keys(own, masks.names) if key in files}
        if any(len(one) > 1 for one in files.values()):
            continue
        if best is None or len(pairs) > best[0]:
            best = (len(pairs), own, other, pairs)
    if best is None or not best[0]:
        return None
    _, own, other, pairs = best
    pattern = other.fields_alone
    if any(Path(file).suffix != Path(path).suffix for path, files in pairs.items() for file in files):
        pattern = pattern.replace("{ending}", "{object}")  # whichever ending there is
    return Match(own, masks, pattern, "one", pairs)


def cuts_of(group: FileGroup) -> list[FileGroup]:
    """The group as it is, and with what all its names have at the beginning, the end, or both in the pattern; of an end
    of several words with the last of them too."""
    tail = common_tail(group.stems)
    heads = dict.fromkeys(("", common_head(group.stems)))
    tails = dict.fromkeys(("", tail, *(tail[match.start() :] for match in re.finditer(r"[_\-. ]", tail))))
    pairs = [(head, tail) for head in heads for tail in tails]
    return [group.cut(head, tail) for head, tail in pairs if all(len(stem) > len(head + tail) for stem in group.stems)]


def _keys(group: FileGroup, names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    places = [group.names.index(name) for name in names]
    return [(path, tuple(fields[place] for place in places)) for path, fields in group.files]


def _keyed(group: FileGroup, names: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for path, key in _keys(group, names):
        found.setdefault(key, []).append(path)
    return found


def _by_folder(images: FileGroup, masks: FileGroup) -> list[Match]:
    """Any number of masks an image: in a folder of the image's own, or named as the image and a number."""
    found = []
    folders = images.names[:-1]
    base = masks.fields_alone
    objects = base.replace("{name}", "{object}")
    if folders and masks.names == images.names and len(_keyed(images, folders)) == len(images.files):
        files = _keyed(masks, folders)
        found.append(
            _pairs(images, masks, objects, [(path, files.get(key, [])) for path, key in _keys(images, folders)])
        )
    if len(masks.names) > 1 and len(masks.names) == len(images.names) + 1:
        last = masks.names[-2]
        by_name = _keyed(masks, masks.names[:-1])
        pattern = objects.replace(f"{{{last}}}", "{name}")
        found.append(
            _pairs(images, masks, pattern, [(path, by_name.get(key, [])) for path, key in _keys(images, images.names)])
        )
    found += _by_beginning(images, masks, base) if masks.names == images.names else []
    return [one for one in found if one.pairs]


def _by_beginning(images: FileGroup, masks: FileGroup, pattern: str) -> list[Match]:
    """Several masks an image, named as it with a number behind, or else with anything behind."""
    known = {key for _, key in _keys(images, images.names)}
    for tail, form in (("_{object:d}", r"_[0-9]+\Z"), ("_{object}", r"_(?=.)")):
        several: dict[tuple[str, ...], list[str]] = {}
        for path, (*folders, name) in _keys(masks, masks.names):
            owners = [(*folders, name[: match.start()]) for match in re.finditer(form, name)]
            if owner := next((one for one in reversed(owners) if one in known), None):
                several.setdefault(owner, []).append(path)
        if max(map(len, several.values()), default=0) > 1:
            pairs = [(path, several.get(key, [])) for path, key in _keys(images, masks.names)]
            return [_pairs(images, masks, pattern.replace("{name}", f"{{name}}{tail}"), pairs)]
    return []


def _pairs(images: FileGroup, masks: FileGroup, pattern: str, pairs: Sequence[tuple[str, list[str]]]) -> Match:
    return Match(images, masks, pattern, "objects", {path: files for path, files in pairs if files})


def one_word_varies(patterns: Sequence[str]) -> tuple[str, list[str]] | None:
    """The first of `varying_words`; None where more than one word differs."""
    return next(iter(varying_words(patterns)), None)


def varying_words(patterns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The patterns as one, {?} for the word that differs, and what it is in each; none where more than one does.

    The word may stand in several places, as in train_red/red_{name}.tif. Then the same of whole names, as lung_left.
    """
    found = []
    for expression in TOKENS:
        tokens = [expression.split(pattern) for pattern in patterns]
        if len({*map(len, tokens)}) > 1:
            continue
        varying = {place: words for place, words in enumerate(zip(*tokens, strict=True)) if len(set(words)) > 1}
        if len(set(varying.values())) == 1 and not any("{" in word for words in varying.values() for word in words):
            joined = "".join("{?}" if place in varying else part for place, part in enumerate(tokens[0]))
            found.append((joined, list(next(iter(varying.values())))))
    return found


def with_words(pattern: str, field_name: str, words: Sequence[str]) -> str:
    """A pattern of `one_word_varies` with a field of these words for {?}, whose later places have the first one's."""
    first = pattern.replace("{?}", f"{{{field_name}:{'|'.join(words)}}}", 1)
    return first.replace("{?}", f"{{{field_name}}}")
