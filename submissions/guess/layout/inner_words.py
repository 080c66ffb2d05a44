"""Do masks have a word within their names that images lack or have another for? um_000001, um_road_000001."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.matching import Match
from submissions.host.patterns import pattern_regex

TOKENS = re.compile(r"([_\-. ])")
BEFORE = "begin"  # the field of what stands before the word
WORD = re.compile(r"[a-zA-Z]+")

Names = list[list[str]]


@dataclass(frozen=True)
class _Way:
    """How names are taken apart: at a token of the images', whose word is `own` ('' where they have none), `other`
    with its separator before it in the masks'."""

    place: int
    own: str
    other: str

    def image_name(self, mask: Sequence[str]) -> str:
        """The image's name that a mask's is of."""
        return "".join([*mask[: self.place - 1], self.own, *mask[self.place + 1 :]])


def by_inner_word(images: FileGroup, masks: FileGroup) -> Match | None:
    """The masks whose names are the images' but for one word within, in the same folders; None where there are none.

    {begin} stands in the patterns for what comes before the word, {name} for what comes after it.
    """
    if images.names != masks.names or "{name}" not in images.pattern.rpartition("/")[2]:
        return None
    known = {fields: path for path, fields in images.files}
    stems: Names = [TOKENS.split(stem) for stem in images.stems]
    drawn: Names = [TOKENS.split(stem) for stem in masks.stems]
    best: tuple[int, _Way, dict[str, list[str]]] | None = None
    for way in _ways(stems, drawn):
        owners = [(*fields[:-1], way.image_name(name)) for (_, fields), name in zip(masks.files, drawn, strict=True)]
        pairs = {
            known[owner]: [path]
            for owner, (path, _), name in zip(owners, masks.files, drawn, strict=True)
            if owner in known and "".join(name[way.place - 1 : way.place + 1]) == way.other
        }
        if best is None or len(pairs) > best[0]:
            best = len(pairs), way, pairs
    if best is None or not best[0]:
        return None
    _, way, pairs = best
    apart = _apart(images, stems, way)
    used = {path for files in pairs.values() for path in files}
    own = replace(masks, files=tuple(file for file in masks.files if file[0] in used))
    pattern = masks.fields_alone.replace("{name}", f"{{{BEFORE}}}{way.other}{_joint(stems, way)}{{name}}")
    return Match(apart, own, pattern, "one", pairs) if apart else None


def _ways(images: Names, masks: Names) -> Iterator[_Way]:
    """Places of a word of the masks that no number is, and what images have there, where all names are alike."""
    lengths, others = {len(one) for one in images}, {len(one) for one in masks}
    if len(lengths) > 1 or len(others) > 1:
        return
    count, of_masks = lengths.pop(), others.pop()
    for place in range(2, of_masks - 1, 2) if of_masks in (count, count + 2) else ():
        words = {"".join(one[place - 1 : place + 1]) for one in masks}
        own = {"".join(one[place - 1 : place + 1]) for one in images} if count == of_masks else {""}
        joints = {one[place + (count == of_masks) - (count != of_masks)] for one in images}
        if len(own) > 1 or len(joints) > 1 or not all(WORD.fullmatch(word[1:]) for word in {*words, *own} - {""}):
            continue
        (shared,) = own
        yield from (_Way(place, shared, word) for word in sorted(words - own))


def _joint(images: Names, way: _Way) -> str:
    """The separator before {name}."""
    return images[0][way.place + 1 if way.own else way.place - 1]


def _apart(images: FileGroup, stems: Names, way: _Way) -> FileGroup | None:
    """The images with the fields {begin} and {name}; None where no pattern takes all of them apart so."""
    first = ["".join(one[: way.place - 1]) for one in stems]
    after = way.place + 2 if way.own else way.place
    rest = ["".join(one[after:]) for one in stems]
    lengths = {len(text) for text in first}
    kind = f":{lengths.pop()}" if len(lengths) == 1 else ""
    template = f"{{{BEFORE}}}{way.own}{_joint(stems, way)}{{name}}"
    pattern = images.pattern.replace("{name}", template.replace(BEFORE, f"{BEFORE}{kind}"))
    regex, files = pattern_regex(pattern), []
    for (path, fields), one, two in zip(images.files, first, rest, strict=True):
        match = regex.match(path)
        if match is None or (match[BEFORE], match["name"]) != (one, two):
            return None
        files.append((path, (*fields[:-1], one, two)))
    names = (*images.names[:-1], BEFORE, "name")
    folders = "".join(f"{{{name}}}_" for name in images.names[:-1]) if len(set(images.stems)) < len(stems) else ""
    return replace(images, pattern=pattern, names=names, files=tuple(files), told_id=folders + template)
