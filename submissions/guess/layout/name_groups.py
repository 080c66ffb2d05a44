"""Which images are of one patient, slide or person? Guessed from what varies in their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from submissions.guess.layout.files import FileGroup

FEWEST = 3  # groups; with fewer there are no folds
MOST_WORDS = 6  # that stand for the part of a name, as pre and post
SIDES = {"l", "r", "left", "right", "od", "os"}
PARTS = (
    r"[_\-. ]+|[^_\-. ]+",
    r"[0-9]+|[a-zA-Z]+|[^0-9a-zA-Z]+",
)  # words between separators; letters and numbers apart


@dataclass(frozen=True)
class NameParts:
    """A file name taken apart: `pattern` in the place of {name} in a path, `template` the same for ids and masks."""

    pattern: str
    template: str
    group: str
    note: str


def parts_of_names(stems: Sequence[str]) -> NameParts | None:
    """The first part of the names that several images share and that has a number; None if there is none."""
    for expression in PARTS:
        words = [re.findall(expression, stem) for stem in stems]
        if len({len(one) for one in words}) == 1:
            cuts = [(words, place) for place in range(len(words[0]) - 1, 0, -1)]
        else:  # events of one word and of several: counted from the end
            cuts = [(_last_words(words, behind), 1) for behind in range(1, min(map(len, words)) - 1)]
        for parts in (_at(*cut) for cut in cuts):
            if parts is not None:
                return parts
    return None


def _last_words(words: Sequence[Sequence[str]], behind: int) -> list[list[str]]:
    """Names of several numbers of words as three parts: before the last words, the one before them, these."""
    return [["".join(one[: -behind - 1]), one[-behind - 1], "".join(one[-behind:])] for one in words]


def _at(words: Sequence[Sequence[str]], place: int) -> NameParts | None:
    """The names taken apart at one place, if that makes groups."""
    first = ["".join(one[:place]) for one in words]
    counts = Counter(first)
    shared = sum(count for count in counts.values() if count > 1)
    if len(counts) < FEWEST or 3 * len(counts) > 2 * len(words) or 5 * shared < 3 * len(words):
        return None
    between = {one[place] for one in words}
    separator = between.pop() if len(between) == 1 and re.fullmatch(r"[_\-. ]+", words[0][place]) else ""
    rest = ["".join(one[place + bool(separator) :]) for one in words]
    if not all(rest) or not all(re.search("[0-9]", text) for text in counts) or re.search(r"[_\-. ]\Z", first[0]):
        return None
    sided = {text.lower() for text in rest} <= SIDES
    group, other = ("person", "side") if sided else ("patient", "part")
    pattern = _pattern(group, other, separator, first, rest)
    if pattern is None:
        return None
    whole = first[0] + separator + rest[0]
    note = f"{len(counts)} values of {{{group}}} in {len(words)} names, as {first[0]!r} of {whole!r}"
    return NameParts(pattern, f"{{{group}}}{separator}{{{other}}}", group, note)


def _pattern(group: str, other: str, separator: str, first: Sequence[str], rest: Sequence[str]) -> str | None:
    """The two fields so that names are taken apart in this way; None where no pattern says it."""
    if separator and not any(separator in text for text in first):
        return f"{{{group}}}{separator}{{{other}}}"
    if len({len(text) for text in first}) == 1:
        return f"{{{group}:{len(first[0])}}}{separator}{{{other}}}"
    if len({len(text) for text in rest}) == 1:
        return f"{{{group}}}{separator}{{{other}:{len(rest[0])}}}"
    kinds = sorted(set(rest))
    if separator and 1 < len(kinds) <= MOST_WORDS and all(re.fullmatch(r"[a-zA-Z][\w-]*", kind) for kind in kinds):
        return f"{{{group}}}{separator}{{{other}:{'|'.join(kinds)}}}"
    return None


def group_of_folders(group: FileGroup) -> tuple[str, str, bool] | None:
    """(field, why, whether it is a group) of the last folder that varies and holds several images; None without one.

    Folders that differ in their numbers alone are patients or slides; folders of different words are classes.
    """
    folders = [place for place, name in enumerate(group.names[:-1]) if name != "subset"]
    for place in folders:
        values = Counter(fields[place] for _, fields in group.files)
        if len(values) < FEWEST or 3 * len(values) > 2 * len(group.files):
            continue
        alike = len({re.sub("[0-9]+", "#", text) for text in values}) <= max(2, len(values) // 4)
        field = group.names[place]
        what = "folders" if field.startswith("folder") else f"values of {{{field}}}"
        return field, f"{len(values)} {what} with {len(group.files)} images, as {min(values)!r}", alike
    return None
