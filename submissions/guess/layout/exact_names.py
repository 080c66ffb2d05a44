"""How to write the names of numbered files so that no others fit: p1_frame{name:d}.nii beside p1_4d.nii."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from submissions.guess.draft import Draft
from submissions.guess.layout.files import FileGroup, common_head
from submissions.guess.layout.mask_files import Masks
from submissions.guess.layout.pairing import Layout
from submissions.host.patterns import pattern_regex

ENDING = re.compile(r"_([a-zA-Z]+)\Z")
FEW = 8  # endings of names that stand in a pattern


@dataclass(frozen=True)
class ExactNames:
    """What stands for {name} in the path of an image, and in ids and the paths of masks."""

    pattern: str
    template: str

    def put(self, draft: Draft, masks: Masks) -> Masks:
        """Write them into the patterns of images, and into the masks that are returned."""
        images = draft.sections["images"]
        for key in ("train", "test"):
            if key in images:
                images[key] = images[key].replace("{name}", self.pattern)
        images["id"] = images["id"].replace("{name}", self.template)
        pattern, valid = (one.replace("{name}", self.template) for one in (masks.pattern, masks.valid))
        return replace(masks, pattern=pattern, valid=valid)


def with_kinds_of_masks(layout: Layout) -> Layout:
    """The layout without images of kinds that no mask belongs to, as their names' last words say: p1_2CH_sequence
    beside p1_2CH_ED and p1_2CH_ES."""
    train, masks = layout.train, layout.masks
    if masks is None or masks.missing or masks.how != "one" or train.layers or train.series:
        return layout
    kinds = {_ending(stem) for (path, _), stem in zip(train.files, train.stems, strict=True) if path in masks.pairs}
    others = {
        _ending(stem) for (path, _), stem in zip(train.files, train.stems, strict=True) if path not in masks.pairs
    }
    if not others or "" in kinds | others or kinds & others or len(kinds) > FEW:
        return layout
    parts = [_of_kinds(group, kinds) if group else None for group in (train, layout.test)]
    rest = [_of_kinds(group, others) for group in (train, layout.test) if group]
    if parts[0] is None or (layout.test and not (parts[1] and parts[1].files)):
        return layout
    return replace(layout, train=parts[0], test=parts[1], unused=[*layout.unused, *(one for one in rest if one.files)])


def _ending(stem: str) -> str:
    match = ENDING.search(stem)
    return match[1] if match else ""


def _of_kinds(group: FileGroup, kinds: set[str]) -> FileGroup:
    return replace(group, files=tuple(file for file in group.files if _ending(file[1][-1]) in kinds))


def exact_names(layout: Layout) -> ExactNames | None:
    """Of images whose pattern takes in other files than their masks, and whose names end in a number or in one of a few
    words; None where it does not, and where names are those of folders."""
    train, test, masks = layout.train, layout.test, layout.masks
    if masks is None or train.layers or train.series or train.told_id:
        return None
    groups = [group for group in (train, test) if group]
    if any(group.pattern.count("{name}") != 1 for group in groups):
        return None
    if any([*values] == train.stems for values in _columns(train)):
        return None
    used = {path for group in groups for path, _ in group.files}
    others = {path for group in layout.unused for path, _ in group.files} - used
    if not any(pattern_regex(group.pattern).match(path) for group in groups for path in others):
        return None
    found = {_numbered(group) for group in groups}
    first = found.pop()
    return _of_endings(groups) if found or first is None else first if first.template != "{name}" else None


def _of_endings(groups: Sequence[FileGroup]) -> ExactNames | None:
    """Names that end in one of two or a few words, as the training images' do."""
    kinds = [{_ending(stem) for stem in group.stems} for group in groups]
    if "" in kinds[0] or not 1 < len(kinds[0]) <= FEW or not all(one <= kinds[0] for one in kinds):
        return None
    return ExactNames(f"{{name}}_{{kind:{'|'.join(sorted(kinds[0]))}}}", "{name}_{kind}")


def _numbered(group: FileGroup) -> ExactNames | None:
    """What stands around the number in the names of a group; None where anything else varies in them."""
    stems, before = group.stems, ""
    for name, values in zip(group.names[:-1], _columns(group), strict=True):
        if all(stem.startswith(value) and stem != value for stem, value in zip(stems, values, strict=True)):
            stems = [stem[len(value) :] for stem, value in zip(stems, values, strict=True)]
            before = f"{{{name}}}"
            break
    head = common_head(stems)
    parts = [re.fullmatch(r"[0-9]+(\D*)", stem[len(head) :]) for stem in stems]
    tails = {part[1] if part else None for part in parts}
    tail = tails.pop()
    if tails or tail is None:
        return None
    return ExactNames(f"{before}{head}{{name:d}}{tail}", f"{before}{head}{{name}}{tail}")


def _columns(group: FileGroup) -> list[Sequence[str]]:
    """The values of each field for a folder."""
    return [[fields[place] for _, fields in group.files] for place in range(len(group.names) - 1)]
