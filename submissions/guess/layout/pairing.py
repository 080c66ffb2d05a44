"""Which files are training images, their masks, test images? Guessed from their pixels and names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from submissions.guess.layout.files import FileGroup, common_head, common_tail, unread_kinds
from submissions.guess.layout.photo_or_mask import are_masks
from submissions.guess.layout.words import SUFFIXES
from submissions.host.listing import spread
from submissions.host.patterns import pattern_regex
from submissions.images.opening import read_mask_image

How = Literal["one", "objects", "classes", "observers"]
ALIKE = 0.4  # intersection over union of two masks that show the same thing
COMPARED = 5
TOKENS = re.compile(r"([_\-./ ])")
TRACKS = re.compile(r"(?<![a-z])(track(s|ing)?|gt/tra)(?![a-z])", re.IGNORECASE)  # markers of cells, not outlines
SECOND_CHOICE = ("color", "colour", "overlay", "instance", "preview", "superpixel", "edge", "contour", "fov")


@dataclass(frozen=True)
class Masks:
    """The mask files of the training images.

    pattern: with the images' fields, and {object}, {class} or {observer}. pairs: image file -> mask files of it, of the
    first class or observer. variants: classes or observers.
    """

    pattern: str
    how: How
    pairs: Mapping[str, list[str]]
    variants: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """Which files are training images, test images, masks, and which are none of these."""

    train: FileGroup
    test: FileGroup | None
    masks: Masks | None
    unused: list[FileGroup]


@dataclass(frozen=True)
class _Match:
    """Image and mask files whose names fit: constant parts cut off the images' and the masks' names."""

    images: FileGroup
    masks: FileGroup
    pattern: str
    how: How
    pairs: Mapping[str, list[str]]

    @property
    def rank(self) -> tuple[int, int, int, int, int, int, int]:
        """Larger is better: no markers of tracks, more pairs, a name that says mask and no second choice, whole names
        kept."""
        words = " ".join(self.masks.words)
        second = sum(word in words for word in SECOND_CHOICE)
        return (
            -int(TRACKS.search(self.pattern) is not None), len(self.pairs), -second, int(self.masks.looks_like_masks),
            int(self.how == "one"), self._beside, -len(self.pattern),
        )  # fmt: skip

    @property
    def _beside(self) -> int:
        """Folders and endings that masks and images have in common: with PNG/a.png goes PNG/b.png, not TIF/b.tif."""
        images, masks = (re.split("[/.]", pattern) for pattern in (self.images.pattern, self.pattern))
        return sum(one == two for one, two in zip(images, masks, strict=False))


class Finder:
    """Finds the layout of a folder whose files are in groups; looks at each group's pixels once."""

    def __init__(self, root: Path, groups: Sequence[FileGroup]) -> None:
        if not groups:
            there = f"; there are files {kinds}, which are not read" if (kinds := unread_kinds(root)) else ""
            raise ValueError(f"no image file in the folder or below it{there}; expected one of {', '.join(SUFFIXES)}")
        self.root = root
        self.groups = [part for group in groups for part in self._one_pair(group)]

    def _one_pair(self, group: FileGroup) -> list[FileGroup]:
        """Two files of one folder, separated where one looks like an image and the other like a mask."""
        if len(group.files) != 2 or len({are_masks(self.root, [path]) for path, _ in group.files}) < 2:
            return [group]
        folder = f"{group.folder}/" if group.folder else ""
        suffix = group.pattern.rpartition("{name}")[2]
        alone = [replace(group, files=(file,)) for file in group.files]
        masks = [are_masks(self.root, [path]) is True for path, _ in group.files]
        return [
            replace(one, pattern=f"{folder}{one.stems[0]}{suffix}") if is_mask else one
            for one, is_mask in zip(alone, masks, strict=True)
        ]

    @cached_property
    def roles(self) -> dict[str, bool]:
        """Whether a group's files are masks, by pattern: from their pixels, or from words where these do not tell."""
        seen = {group.pattern: are_masks(self.root, [path for path, _ in group.files]) for group in self.groups}
        return {
            g.pattern: g.looks_like_masks if seen[g.pattern] is None else bool(seen[g.pattern]) for g in self.groups
        }

    @cached_property
    def images(self) -> list[FileGroup]:
        """Groups of images, those of one folder joined and each ending by itself, largest first."""
        chosen = [group for group in self.groups if not self.roles[group.pattern]]
        chosen = chosen or [group for group in self.groups if not group.looks_like_masks] or self.groups
        joined = joined_groups(chosen)
        both = [*joined, *(group for group in chosen if group not in joined)]
        return sorted(both, key=lambda group: (-len(group.files), group.pattern))

    @cached_property
    def masks(self) -> list[FileGroup]:
        """Groups of masks, each ending by itself, and those of one folder joined."""
        chosen = [group for group in self.groups if self.roles[group.pattern]]
        return [*chosen, *(group for group in joined_groups(chosen) if group not in chosen)]

    def layout(self) -> Layout:
        """The images with the most masks are the training images; without masks, the largest group that is not test."""
        train = [group for group in self.images if not group.is_test] or self.images
        pairs = [(group, masks) for group in train for masks in self.masks if group.is_test or not masks.is_test]
        matches = [found for group, masks in pairs for found in matches_of(group, masks) if _enough(found)]
        best = max(matches, key=lambda found: found.rank, default=None)
        images = best.images if best else train[0]
        test = self._test(images)
        masks = self._described(best, [one for one in matches if one.images.files == images.files]) if best else None
        used = {path for group in (images, test) if group for path, _ in group.files}
        used |= {path for files in (masks.pairs.values() if masks else ()) for path in files}
        variants = masks.variants if masks and masks.how == "classes" else []
        of_classes = [pattern_regex(masks.pattern.replace("{class}", word)) for word in variants] if masks else []
        used |= {path for group in self.groups for path, _ in group.files if any(one.match(path) for one in of_classes)}
        unused = [group for group in self.groups if not used & {path for path, _ in group.files}]
        return Layout(images, test, masks, unused)

    def like(self, images: FileGroup, groups: Sequence[FileGroup]) -> list[FileGroup]:
        """Those of some groups whose pixels say of images and masks what those of `images` say."""
        own = {path for path, _ in images.files}
        role = any(self.roles[group.pattern] for group in self.groups if own & {path for path, _ in group.files})
        return [group for group in groups if self.roles[group.pattern] == role and not group.looks_like_masks]

    def _test(self, train: FileGroup) -> FileGroup | None:
        """Test images named as the training images are; of several groups the one with as many fields, the largest."""
        own = {path for path, _ in train.files}
        head, tail = _affixes(train)
        others = [*self.images, *joined_groups([group for group in self.groups if not group.looks_like_masks])]
        fitting = [g for g in others if g.is_test and not own & {path for path, _ in g.files}]
        fitting.sort(
            key=lambda group: (
                abs(len(group.names) - len(train.names)), _affixes(group) != (head, tail), -len(group.files)
            )
        )  # fmt: skip
        if not fitting:
            return None
        test = fitting[0]
        if _affixes(test) == (head, tail):
            return test
        fits = all(
            stem.startswith(head) and stem.endswith(tail) and len(stem) > len(head + tail) for stem in test.stems
        )
        return test.cut(head, tail) if fits else test

    def _described(self, best: _Match, matches: Sequence[_Match]) -> Masks:
        """The masks of the best match, with others of the same images: classes, observers, or left out by name."""
        masks = Masks(best.pattern, best.how, best.pairs)
        siblings = {best.pattern: best}
        own = {file for files in best.pairs.values() for file in files}
        notes = []
        for found in sorted(matches, key=lambda one: one.pattern):
            if found.pattern in siblings or found.how != "one" or 2 * len(found.pairs) < len(best.pairs):
                continue
            if own >= {file for files in found.pairs.values() for file in files}:
                continue
            siblings[found.pattern] = found
        others = [one for one in siblings.values() if one is not best]
        if best.how != "one" or not others:
            return masks
        for how in ("observers", "classes"):
            alike = [one for one in others if self._relation(best, one) == how]
            varied = one_word_varies([best.pattern, *(one.pattern for one in alike)]) if alike else None
            if varied is not None:
                pattern, words = varied
                field_name = "{class}" if how == "classes" else "{observer}"
                masks = replace(
                    masks,
                    pattern=pattern.replace(
                        "{?}",
                        field_name,
                    ),
                    how=how,
                    variants=words,
                )  # type: ignore[arg-type]
                others = [one for one in others if one not in alike]
                break
        notes += [f"other masks of the same images, not used: {one.pattern}" for one in others]
        return replace(masks, notes=notes)

    def _relation(self, first: _Match, second: _Match) -> str:
        """'observers' where two binary masks of an image show the same, 'classes' where they do not, '' for others."""
        shares = []
        for image in spread(sorted(set(first.pairs) & set(second.pairs)), COMPARED):
            try:
                one, two = (read_mask_image(self.root / found.pairs[image][0]) for found in (first, second))
            except (ValueError, OSError):
                return ""
            if max(len(np.unique(one)), len(np.unique(two))) > 2 or one.shape != two.shape:
                return ""
            union = ((one > 0) | (two > 0)).sum()
            shares += [float(((one > 0) & (two > 0)).sum() / union)] if union else []
        if not shares:
            return ""
        return "observers" if float(np.mean(shares)) > ALIKE else "classes"


def are_pairs(images: FileGroup, masks: FileGroup) -> bool:
    """Whether names say that the masks belong to the images, or to most of those that are fewer."""
    return any(_enough(found) for found in matches_of(images, masks))


def _enough(found: _Match) -> bool:
    """Whether most of the images, or most of the masks, have a partner; one of one is enough."""
    least = min(len(found.images.files), len(found.masks.files))
    if found.how == "objects":
        least = len(found.images.files)
    return 2 * len(found.pairs) >= least and (len(found.pairs) > 1 or least == 1)


def joined_groups(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Groups of one folder as one, with {ending} for several file endings, unless their names then repeat."""
    by_folder: dict[tuple[str, tuple[str, ...]], list[FileGroup]] = {}
    found = []
    for group in groups:
        by_folder.setdefault((group.folder, group.names), []).append(group)
    for key, members in list(by_folder.items()):
        if len({group.is_test for group in members}) > 1:  # train_1.bmp and testA_1.bmp stay apart
            found += by_folder.pop(key)
    for (folder, names), members in by_folder.items():
        if len(members) == 1 or any(group.series for group in members):
            found += members
            continue
        files = tuple(sorted(file for group in members for file in with_whole_names(group).files))
        suffixes = sorted({group.pattern.rpartition("{name}")[2].removeprefix(_affixes(group)[1]) for group in members})
        if len({fields for _, fields in files}) < len(files):
            found += members
            continue
        ending = suffixes[0] if len(suffixes) == 1 else f".{{ending:{'|'.join(one[1:] for one in suffixes)}}}"
        if len(suffixes) > 1 and any("." in one[1:] for one in suffixes):
            found += members
            continue
        found.append(FileGroup("/".join(part for part in (folder, f"{{name}}{ending}") if part), names, files))
    return found


def _affixes(group: FileGroup) -> tuple[str, str]:
    """What stands before and after {name} in the file's name, its ending apart."""
    head, _, rest = group.pattern.rpartition("/")[2].partition("{name}")
    suffix = next((one for one in SUFFIXES if rest.lower().endswith(one)), "")
    if rest.endswith("}"):
        suffix = rest[rest.index(".{ending") :]
    return head, rest[: len(rest) - len(suffix)]


def with_whole_names(group: FileGroup) -> FileGroup:
    """The group with nothing but {name} in its files' names."""
    head, tail = _affixes(group)
    files = tuple((path, (*fields[:-1], f"{head}{fields[-1]}{tail}")) for path, fields in group.files)
    return replace(group, pattern=group.pattern.replace(f"{head}{{name}}{tail}", "{name}"), files=files)


def matches_of(images: FileGroup, masks: FileGroup) -> list[_Match]:
    """Ways in which the masks belong to the images, the best first; none where they do not."""
    if masks.files == images.files:
        return []
    masks = _fixed(masks, images.names)
    found = [one for one in (_by_name(images, masks), *_by_folder(images, masks)) if one is not None]
    if not found and len(images.files) == len(masks.files) == 1:
        file = masks.files[0][0]
        found = [_Match(images, masks, file, "one", {images.files[0][0]: [file]})]
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


def _by_name(images: FileGroup, masks: FileGroup) -> _Match | None:
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
    return _Match(own, masks, pattern, "one", pairs)


def cuts_of(group: FileGroup) -> list[FileGroup]:
    """The group as it is, and with what all its names have at the beginning, the end, or both in the pattern."""
    heads, tails = dict.fromkeys(("", common_head(group.stems))), dict.fromkeys(("", common_tail(group.stems)))
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


def _by_folder(images: FileGroup, masks: FileGroup) -> list[_Match]:
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


def _by_beginning(images: FileGroup, masks: FileGroup, pattern: str) -> list[_Match]:
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


def _pairs(images: FileGroup, masks: FileGroup, pattern: str, pairs: Sequence[tuple[str, list[str]]]) -> _Match:
    return _Match(images, masks, pattern, "objects", {path: files for path, files in pairs if files})


def one_word_varies(patterns: Sequence[str]) -> tuple[str, list[str]] | None:
    """The patterns as one, {?} for the word that differs, and what it is in each; None where more than one does.

    The word may stand in several places, as in train_red/red_{name}.tif.
    """
    tokens = [TOKENS.split(pattern) for pattern in patterns]
    if len({len(parts) for parts in tokens}) != 1:
        return None
    varying = {place: words for place, words in enumerate(zip(*tokens, strict=True)) if len(set(words)) > 1}
    if len(set(varying.values())) != 1 or any("{" in word for words in varying.values() for word in words):
        return None
    joined = "".join("{?}" if place in varying else part for place, part in enumerate(tokens[0]))
    return joined, list(next(iter(varying.values())))


def with_words(pattern: str, field_name: str, words: Sequence[str]) -> str:
    """A pattern of `one_word_varies` with a field of these words for {?}, whose later places have the first one's."""
    first = pattern.replace("{?}", f"{{{field_name}:{'|'.join(words)}}}", 1)
    return first.replace("{?}", f"{{{field_name}}}")
