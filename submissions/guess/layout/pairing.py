"""Which files are training images, their masks, test images? Guessed from their pixels and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from submissions.guess.arrays import HOLDERS
from submissions.guess.layout.files import FileGroup, packed_files, unread_kinds
from submissions.guess.layout.inner_words import by_inner_word
from submissions.guess.layout.mask_files import COMPARED, Masks, described
from submissions.guess.layout.matching import Match, enough, is_drawn_over, matches_of
from submissions.guess.layout.photo_or_mask import are_masks
from submissions.guess.layout.ranks import by_rank
from submissions.guess.layout.words import SUFFIXES
from submissions.host.listing import spread
from submissions.host.patterns import pattern_regex
from submissions.images.opening import probe_image, read_mask_image

WITHIN = 0.98  # of a mask's pixels, that lie where pixels count
BY_RANK = (
    "names of masks and images have nothing in common: the first mask of a folder is taken for that of the first image "
    "of the folder beside it, in the order of their names, and so on; look at the picture"
)
PATHS = 2  # last parts of a rank, of paths alone
REGION = {"mask", "masks", "roi", "fov", "region", "valid"}


@dataclass(frozen=True)
class Layout:
    """Which files are training images, test images, masks, and which are none of these."""

    train: FileGroup
    test: FileGroup | None
    masks: Masks | None
    unused: list[FileGroup]


class Finder:
    """Finds the layout of a folder whose files are in groups; looks at each group's pixels once."""

    def __init__(self, root: Path, groups: Sequence[FileGroup]) -> None:
        if not groups:
            there = f"; there are files {kinds}, which are not read" if (kinds := unread_kinds(root)) else ""
            there += f"; {packed}" if (packed := packed_files(root)) else ""
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
        seen = self._textures
        return {
            g.pattern: g.looks_like_masks if seen[g.pattern] is None else bool(seen[g.pattern]) for g in self.groups
        }

    @cached_property
    def _textures(self) -> dict[str, bool | None]:
        """Whether a group's files look like masks, by pattern; None where they are blank or cannot be read."""
        return {group.pattern: are_masks(self.root, [path for path, _ in group.files]) for group in self.groups}

    @cached_property
    def images(self) -> list[FileGroup]:
        """Groups of images, those of one folder joined and each ending by itself, largest first, of those as large the
        ones of most channels."""
        chosen = [group for group in self.groups if not self.roles[group.pattern]]
        chosen = [group for group in chosen if self._textures[group.pattern] is not None] or chosen
        chosen = chosen or [group for group in self.groups if not group.looks_like_masks] or self.groups
        joined = joined_groups(chosen)
        both = [*joined, *(group for group in chosen if group not in joined)]
        return sorted(
            both, key=lambda group: (-len(group.files), is_drawn_over(group), -self._channels(group), group.pattern)
        )

    def _channels(self, group: FileGroup) -> int:
        """Channels of the first image; 0 where it cannot be read."""
        try:
            return probe_image(self.root / group.files[0][0]).channels
        except (ValueError, OSError):
            return 0

    @cached_property
    def masks(self) -> list[FileGroup]:
        """Groups of masks, each ending by itself, and those of one folder joined."""
        chosen = [group for group in self.groups if self.roles[group.pattern]]
        return [*chosen, *(group for group in joined_groups(chosen) if group not in chosen)]

    def layout(self) -> Layout:
        """The images with the most masks are the training images; without masks, the largest group that is not test."""
        train = [group for group in self.images if not group.is_test] or self.images
        pairs = [(group, masks) for group in train for masks in self.masks if group.is_test or not masks.is_test]
        matches = [found for group, masks in pairs for found in matches_of(group, masks) if enough(found)]
        matches = [found for found in matches if self._are_read(found.masks)] or matches
        if not matches:
            within = [by_inner_word(group, masks) for group, masks in pairs]
            matches = [found for found in within if found is not None and enough(found)]
        if not matches:
            ranked = [by_rank(images, masks) for images, masks in product(train, self.masks) if not masks.is_test]
            matches = [found for found in ranked if found is not None]
        best = self._best(matches) if matches else None
        same = [one for one in matches if best and one.images.files == best.images.files]
        region = self._region(same)
        if region is not None:
            same = [one for one in same if one.masks.files != region.masks.files]
            best = max(same, key=lambda found: found.rank)
        images = best.images if best else train[0]
        test = self._test(images)
        masks = described(self.root, best, same) if best else None
        if masks and masks.by_rank:
            masks = replace(masks, notes=[*masks.notes, BY_RANK])
        used = {path for group in (images, test) if group for path, _ in group.files}
        if masks and region:
            masks = replace(masks, valid=region.pattern)
            used |= {path for path, _ in region.masks.files}
        used |= {path for files in (masks.pairs.values() if masks else ()) for path in files}
        variants = masks.variants if masks and masks.how == "classes" else []
        of_classes = [pattern_regex(masks.pattern.replace("{class}", word)) for word in variants] if masks else []
        used |= {path for group in self.groups for path, _ in group.files if any(one.match(path) for one in of_classes)}
        unused = [group for group in self.groups if not used & {path for path, _ in group.files}]
        return self._alone(Layout(images, test, masks, unused))

    def _alone(self, layout: Layout) -> Layout:
        """The layout with the word for a field of folders that all images have, where masks of other words would be
        left without an image: T2SPIR/masks beside T1DUAL/masks."""
        train, test, masks = layout.train, layout.test, layout.masks
        if masks is None:
            return layout
        regex, own = pattern_regex(masks.pattern), {path for paths in masks.pairs.values() for path in paths}
        paths = {path for group in self.groups for path, _ in group.files} - own
        others = [match for match in map(regex.match, sorted(paths)) if match]
        for name in train.names[:-1]:
            values = {value for group in (train, test) if group for value in group.values(name)}
            if len(values) > 1 or not any(name in match.groupdict() and match[name] not in values for match in others):
                continue
            (word,) = values
            train, test = train.with_word(name, word), test.with_word(name, word) if test else None
            masks = replace(masks, pattern=masks.pattern.replace(f"{{{name}}}", word))
        return replace(layout, train=train, test=test, masks=masks)

    def like(self, images: FileGroup, groups: Sequence[FileGroup]) -> list[FileGroup]:
        """Those of some groups whose pixels say of images and masks what those of `images` say."""
        own = {path for path, _ in images.files}
        role = any(self.roles[group.pattern] for group in self.groups if own & {path for path, _ in group.files})
        worded = images.looks_like_masks  # by a folder of all, as FDG-PET-CT-Lesions: words say nothing then
        return [
            group for group in groups if self.roles[group.pattern] == role and (worded or not group.looks_like_masks)
        ]

    def _best(self, matches: Sequence[Match]) -> Match:
        """The match of the first rank; of several but for their paths one whose masks have the size of their images,
        among most other images of the same folder."""
        ranked = sorted(matches, key=lambda found: (found.images.layers, *found.rank), reverse=True)
        first = ranked[0]
        alike = [one for one in ranked if one.rank[:-PATHS] == first.rank[:-PATHS]]
        beside = Counter(group.folder for group in self.groups)
        alike = [one for one in alike if one.images.layers == first.images.layers]
        return (
            max(alike, key=lambda one: (self._are_of_one_size(one), beside[one.images.folder])) if alike[1:] else first
        )

    def _are_of_one_size(self, found: Match) -> bool:
        """Whether the first image and its mask are of one size; True where it is not told."""
        image, masks = next(iter(found.pairs.items()))
        try:
            infos = [probe_image(self.root / path) for path in (image, masks[0])]
        except (ValueError, OSError):
            return True
        return len({(info.height, info.width) for info in infos}) == 1

    def _are_read(self, group: FileGroup) -> bool:
        """Whether one of some files is an image, or holds arrays by name: objects that Python pickled are neither."""
        for path in (self.root / path for path, _ in spread(group.files, COMPARED)):
            if path.suffix.lower() in HOLDERS:
                return True
            try:
                probe_image(path)
            except (ValueError, OSError):
                continue
            return True
        return False

    def _region(self, matches: Sequence[Match]) -> Match | None:
        """Of several masks of an image the one that says where pixels count: called a mask or region where another is
        not, given for the test images too, or of numbered layers, and the other lies within it.
        """
        of_test = {same_place(group.pattern) for group in self.groups if group.is_test}
        for found in matches:
            if found.how != "one" or not REGION & {*found.masks.words}:
                continue
            if same_place(found.masks.pattern) not in of_test and not found.images.layers:
                continue
            others = [
                one for one in matches if not REGION & {*one.masks.words} and one.masks.files != found.masks.files
            ]
            others = [one for one in others if one.how == "one" and same_place(one.masks.pattern) not in of_test]
            if others and self._within(max(others, key=lambda one: one.rank), found):
                return found
        return None

    def _within(self, inner: Match, outer: Match) -> bool:
        """Whether nearly all of the masks of one match lie within those of another, which have two values."""
        shown = inside = 0
        for image in spread(sorted(set(inner.pairs) & set(outer.pairs)), COMPARED):
            try:
                one, two = (read_mask_image(self.root / found.pairs[image][0]) for found in (inner, outer))
            except (ValueError, OSError):
                return False
            if len(np.unique(two)) > 2 or one.shape != two.shape:
                return False
            shown, inside = shown + int((one > 0).sum()), inside + int(((one > 0) & (two > 0)).sum())
        return inside > WITHIN * shown > 0

    def _test(self, train: FileGroup) -> FileGroup | None:
        """Test images named as the training images are; of several groups the one with as many fields, the largest."""
        own = {path for path, _ in train.files}
        head, tail = _affixes(train)
        shapes = _shapes(train)
        others = [*self.images, *joined_groups([group for group in self.groups if not group.looks_like_masks])]
        fitting = [g for g in others if g.is_test and not own & {path for path, _ in g.files}]
        fitting += [
            part
            for g in fitting
            for name in set(g.names[:-1]) - {*train.names}
            for part in (g.of_word(name, word) for word in g.values(name))
            if same_place(part.pattern) == same_place(train.pattern)
        ]  # fmt: skip
        fitting.sort(
            key=lambda group: (
                same_place(group.pattern) != same_place(train.pattern), abs(len(group.names) - len(train.names)),
                _affixes(group) != (head, tail), not shapes >= _shapes(group), -len(group.files),
            )
        )  # fmt: skip
        if not fitting:
            return None
        return _cut_as(fitting[0], train)


def _cut_as(test: FileGroup, train: FileGroup) -> FileGroup:
    """Test images with what all training images have in their names in the pattern; as they are if they have not."""
    head, tail = _affixes(train)
    if _affixes(test) == (head, tail):
        return test
    fits = all(stem.startswith(head) and stem.endswith(tail) and len(stem) > len(head + tail) for stem in test.stems)
    return test.cut(head, tail) if fits else test


def named_as(layout: Layout, train: FileGroup) -> Layout:
    """The layout with these names of the same training images, and with test images named so too."""
    return replace(layout, train=train, test=_cut_as(layout.test, train) if layout.test else None)


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


def same_place(pattern: str) -> str:
    """A pattern that is the same for training and test images."""
    return re.sub(r"{subset[^}]*}|train[a-z]*|test[a-z]*|val[a-z]*", "#", pattern.lower())


def _shapes(group: FileGroup) -> set[str]:
    """The names with # in the place of numbers."""
    return {re.sub("[0-9]+", "#", stem) for stem in group.stems}


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


def whole_ids(group: FileGroup) -> FileGroup:
    """The group with ids of the files' whole names, what stands around {name} among them; as it is where fields do."""
    head, tail = _affixes(group)
    return group if "{" in head + tail else replace(group, told_id=f"{head}{{name}}{tail}")
