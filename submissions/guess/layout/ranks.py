"""Do masks belong to the slices beside them by order, where names say nothing? i0000,0000b.dcm, liver_GT_000.png."""

from __future__ import annotations

import re
from collections.abc import Sequence

from submissions.guess.layout.files import FileGroup, common_head, common_tail
from submissions.guess.layout.matching import Match
from submissions.host.ranks import NUMBER, RANKS, in_order

FEWEST = 3  # files of a folder whose order is one


def by_rank(images: FileGroup, masks: FileGroup) -> Match | None:
    """The masks of a folder as those of the images in the folder beside it, the first of the first and so on.

    None but where folders differ in their last part alone and have as many files each, and names count without a gap,
    those of masks with one number, from 0 or 1, between parts that all share.
    """
    beside = images.folder.rpartition("/")[0] == masks.folder.rpartition("/")[0] != ""
    if not beside or images.names != masks.names or len(images.names) < 2 or images.folder == masks.folder:
        return None
    head, tail = common_head(masks.stems), common_tail(masks.stems)
    numbered = masks.cut(head, tail)
    own, other = _by_folder(images), _by_folder(numbered)
    if own.keys() != other.keys() or not "".join(numbered.stems).isdecimal():
        return None
    first = {min(map(int, names.values())) for names in other.values()}
    if len(first) > 1 or not first <= {0, 1}:
        return None
    pairs: dict[str, list[str]] = {}
    for folder, files in own.items():
        slices, drawn = in_order(files), in_order(other[folder])
        if len(slices) != len(drawn) or not all(_consecutive([*one.values()]) for one in (files, other[folder])):
            return None
        pairs.update({one: [mask] for one, mask in zip(slices, drawn, strict=True)})
    widths = {len(stem) for stem in numbered.stems}
    field = f"{{{RANKS[first.pop()]}{f':0{widths.pop()}d' if len(widths) == 1 else ''}}}"
    return Match(images, masks, numbered.fields_alone.replace("{name}", field), "one", pairs)


def _by_folder(group: FileGroup) -> dict[tuple[str, ...], dict[str, str]]:
    """Names by path, by the folder's fields."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for path, fields in group.files:
        found.setdefault(fields[:-1], {})[path] = fields[-1]
    return found


def _consecutive(names: Sequence[str]) -> bool:
    """Whether names differ in one number alone, which counts without a gap."""
    numbers = [[int(part) for part in re.findall(NUMBER, name)] for name in names]
    if len(names) < FEWEST or len({NUMBER.sub("#", name) for name in names}) > 1:
        return False
    varying = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
    return len(varying) == 1 and max(varying[0]) - min(varying[0]) + 1 == len(set(varying[0])) == len(names)
