"""Ids of images and of tables that name the same things otherwise: an ending, leading zeros, capitals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}(?:\.gz)?\Z")
MOST = 0.5  # share of the ids without a partner that a rule has to bring together


def _bare(name: str) -> str:
    return ENDING.sub("", name)


def _unpadded(name: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", name)


RULES: dict[str, tuple[Callable[[str], str], ...]] = {
    "an ending": (_bare,),
    "leading zeros": (_unpadded,),
    "capitals": (str.lower,),
    "an ending and leading zeros": (_bare, _unpadded),
    "an ending and capitals": (_bare, str.lower),
    "an ending, leading zeros and capitals": (_bare, _unpadded, str.lower),
}


def difference(named: Iterable[str], known: Iterable[str]) -> str:
    """What ids of a table differ by from those of the images, '' where that is nothing known.

    named, known: ids without a partner on the other side. For example: "they differ by an ending only: '07.png' there,
    '07' here; set strip: .png for the table".
    """
    there, here = sorted(set(named)), sorted(set(known))
    for what, steps in RULES.items():
        reduced = {_through(steps, name): name for name in here}
        pairs = [(name, reduced[_through(steps, name)]) for name in there if _through(steps, name) in reduced]
        if pairs and len(pairs) >= MOST * min(len(there), len(here)):
            return f"they differ by {what} only: {pairs[0][0]!r} there, {pairs[0][1]!r} here; {_cure(what, pairs)}"
    return ""


def _through(steps: Sequence[Callable[[str], str]], name: str) -> str:
    for step in steps:
        name = step(name)
    return name


def _cure(what: str, pairs: Sequence[tuple[str, str]]) -> str:
    endings = Counter(found.group() for there, _ in pairs if (found := ENDING.search(there)))
    if what == "an ending" and endings:
        return f"write the table's strip: {endings.most_common(1)[0][0]}, or the submission's id_template with it"
    if what == "an ending":
        return "the ending is in the images' ids: leave it out of images.id"
    if what == "leading zeros":
        return "in images.id a field read as digits is written with zeros by {id:03d}, and without them by {id:d}"
    return "rename one side, or build the same ids by images.id and the table's id"
