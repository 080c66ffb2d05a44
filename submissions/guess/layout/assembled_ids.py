"""Do tables call an image by its folders and the beginning of its name? train/case1/case1_day2/scans/slice_0001_266.png
is case1_day2_slice_0001."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from submissions.guess.layout.files import FileGroup
from submissions.host.patterns import pattern_regex

JOINTS = ("_", "-", "/")  # between folder and name


def with_assembled_ids(group: FileGroup, columns: Sequence[Collection[str]]) -> FileGroup | None:
    """The group with ids as most cells of a table's column say them; None where they are put together otherwise.

    columns: cells of each column of each table. Ids are the last folders and as many words of the name as they need,
    with `_` between words. Of these the last one that varies becomes {name}; numbers and words that vary, which no id
    needs, are fields of the pattern alone.
    """
    words = [stem.split("_") for stem in group.stems]
    if len({len(one) for one in words}) != 1 or "subset" in group.names:
        return None
    for joint, folders, kept in _ways(len(group.names) - 1, len(words[0])):
        ids = {
            joint.join([*fields[len(fields) - 1 - folders : -1], "_".join(own[:kept])])
            for (_, fields), own in zip(group.files, words, strict=True)
        }
        if len(ids) == len(group.files) and any(2 * len(ids.intersection(cells)) > len(cells) for cells in columns):
            return _apart(group, words, joint, folders, kept)
    return None


def _ways(folders: int, words: int) -> Iterator[tuple[str, int, int]]:
    """What may lie between folders and name, how many folders an id has, how many words of the name."""
    for used in range(folders + 1):
        for kept in range(words if used else words - 1, 0, -1):  # whole names alone are tried first of all
            for joint in JOINTS if used else JOINTS[:1]:
                yield joint, used, kept


def _apart(group: FileGroup, words: Sequence[Sequence[str]], joint: str, folders: int, kept: int) -> FileGroup | None:
    """The group with its names taken apart into words; None where the words that are kept are the same in all."""
    columns = list(zip(*words, strict=True))
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    own = [place for place in varying if place < kept]
    if not own:
        return None
    names = {place: f"part{number}" for number, place in enumerate(own[:-1], 1)} | {own[-1]: "name"}
    numbers = (
        place for place in range(kept, len(columns)) if place in varying or re.search("[0-9]", columns[place][0])
    )
    fields = names | {place: f"rest{number}" for number, place in enumerate(numbers, 1)}
    shown = [f"{{{fields[place]}}}" if place in fields else column[0] for place, column in enumerate(columns)]
    before = group.names[:-1]
    template = joint.join([*(f"{{{name}}}" for name in before[len(before) - folders :]), "_".join(shown[:kept])])
    pattern = f"{group.folder}/{'_'.join(shown)}{group.pattern.rpartition('{name}')[2]}".lstrip("/")
    return _read_by(replace(group, pattern=pattern, names=(*before, *names.values()), told_id=template), group)


def named_alike(assembled: FileGroup, whole: FileGroup, others: FileGroup) -> FileGroup:
    """Other files with their names taken apart as `assembled` has those of `whole`; as they are where one of them does
    not fit, or their folders are other fields."""
    if others.names != whole.names:
        return others
    name = assembled.pattern.rpartition("/")[2]
    return _read_by(replace(assembled, pattern=f"{others.folder}/{name}".lstrip("/")), others) or others


def _read_by(form: FileGroup, group: FileGroup) -> FileGroup | None:
    """The files of `group` as the pattern of `form` reads them; None where one does not fit it."""
    regex = pattern_regex(form.pattern)
    found = [(path, regex.match(path)) for path, _ in group.files]
    if not all(match for _, match in found):
        return None
    return replace(form, files=tuple((path, tuple(match[key] for key in form.names)) for path, match in found if match))
