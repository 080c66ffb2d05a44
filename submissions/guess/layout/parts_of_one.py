"""Which folders side by side are parts of one data set? Batch 1 and Batch 2, subset0 and subset1, two hospitals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from submissions.guess.layout.words import is_layout_word

Folders = tuple[str, ...]
WORDS = re.compile(r"([_\-. ])")
SHORTEST = 3  # letters of a word that names of files may repeat


class Part(NamedTuple):
    """A folder's name taken apart: the word in which it differs from others, and what stands around it."""

    before: str
    word: str
    after: str


def parts_of_one(paths: Iterable[str]) -> dict[Folders, dict[str, Part]]:
    """Folders by the folder that they lie in, where they differ in one word that is none of a layout, and hold files
    and folders named alike but for numbers, none twice, that word left out (train_kelp/a_kelp.tif is the mask of
    train_sat/a_sat.tif); where they hold images and masks, but for that word too, and folders of test images that have
    the same words."""
    held: dict[Folders, dict[str, set[str]]] = {}
    for path in paths:
        names = path.split("/")
        for depth, folder in enumerate(names[:-1]):
            inside = held.setdefault(tuple(names[:depth]), {}).setdefault(folder, set())
            inside.add("/".join(names[depth + 1 :]))
    first = [_parts(folders, set()) for folders in held.values()]
    words = {part.word for parts in first for part in parts.values()}
    return {parent: found for parent, folders in held.items() if (found := _parts(folders, words))}


def _parts(folders: Mapping[str, set[str]], known: set[str]) -> dict[str, Part]:
    """Those of some folders with what they hold that are parts of one; known: words of other parts."""
    found: dict[str, Part] = {}
    for alike in _differing_in_a_word(sorted(folders)):
        kinds: dict[frozenset[str], list[str]] = {}
        for name, part in alike.items():
            kinds.setdefault(_kind(folders[name], part.word, known), []).append(name)
        for kind, names in kinds.items():
            contents = [{_unnamed(path, alike[name].word) for path in folders[name]} for name in names]
            apart = len(set().union(*contents)) == sum(map(len, contents))
            if len(names) > 1 and apart and any("#" in path for path in kind):
                found |= {name: alike[name] for name in names}
    return found


def _unnamed(path: str, word: str) -> str:
    """A file's name without the word of its folder; a path further down as it is."""
    return path if "/" in path else path.replace(word, "*")


def _kind(paths: Iterable[str], word: str, known: set[str]) -> frozenset[str]:
    """The paths with # for numbers; of several kinds of files, or where the word is known, with * for it too."""
    kinds = frozenset(re.sub("[0-9]+", "#", path) for path in paths)
    named = word.isalpha() and len(word) >= SHORTEST and (len(kinds) > 1 or word in known)
    return frozenset(path.replace(word, "*") for path in kinds) if named else kinds


def _differing_in_a_word(names: Sequence[str]) -> list[dict[str, Part]]:
    """Names that are the same but for one of their words, which is none of a layout."""
    kinds: dict[tuple[str, str], dict[str, Part]] = {}
    for name in names:
        words = WORDS.split(name)
        for place in range(0, len(words), 2):
            if words[place] and not is_layout_word(words[place]):
                part = Part("".join(words[:place]), words[place], "".join(words[place + 1 :]))
                kinds.setdefault((part.before, part.after), {})[name] = part
    return list(kinds.values())
