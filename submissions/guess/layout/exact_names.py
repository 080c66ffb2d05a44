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


@dataclass(frozen=True)
class ExactNames:
    """What stands before and after the number in all names; `before` may begin with the field of their folder."""

    before: str
    after: str

    def put(self, draft: Draft, masks: Masks) -> Masks:
        """Write them into the patterns of images, and into the masks that are returned."""
        images, whole = draft.sections["images"], f"{self.before}{{name}}{self.after}"
        for key in ("train", "test"):
            if key in images:
                first = images[key].replace("{name}", whole.replace("{name}", "{name:d}"), 1)
                head, _, rest = first.partition("{name:d}")
                images[key] = f"{head}{{name:d}}{rest.replace('{name}', whole)}"
        images["id"] = images["id"].replace("{name}", whole)
        return replace(
            masks, pattern=masks.pattern.replace("{name}", whole), valid=masks.valid.replace("{name}", whole)
        )


def exact_names(layout: Layout) -> ExactNames | None:
    """Of numbered images whose pattern takes in other files than their masks; None where it does not, and where names
    are those of folders."""
    train, test, masks = layout.train, layout.test, layout.masks
    if masks is None or train.layers or train.series or train.pattern.count("{name}") != 1 or train.told_id:
        return None
    groups = [group for group in (train, test) if group]
    if any([*values] == train.stems for values in _columns(train)):
        return None
    used = {path for group in groups for path, _ in group.files}
    others = {path for group in layout.unused for path, _ in group.files} - used
    if not any(pattern_regex(group.pattern).match(path) for group in groups for path in others):
        return None
    found = {_numbered(group) for group in groups}
    first = found.pop()
    return None if found or first == ExactNames("", "") else first


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
    return None if tails or tail is None else ExactNames(before + head, tail)


def _columns(group: FileGroup) -> list[Sequence[str]]:
    """The values of each field for a folder."""
    return [[fields[place] for _, fields in group.files] for place in range(len(group.names) - 1)]
