"""Which folders are fields of a path pattern, a patient, a slide, a city each, and which are words of a layout?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from submissions.guess.layout.parts_of_one import parts_of_one
from submissions.guess.layout.words import (
    KNOWN_ENDING,
    MASK_WORDS,
    MR_WORD,
    SPLIT_WORDS,
    SUFFIXES,
    TEST_WORDS,
    VOLUMES,
    endings_of,
    is_layout_word,
    says_mask,
    shared_beginning,
)  # fmt: skip

Folders = tuple[str, ...]
NUMBER = re.compile(r"(\D*)([0-9]+)(\D*)")
TWICE = 1.1  # files a name, from which on folders hold files of the same images
MANY = 8  # names without a number that are too many to be words of a layout


class FolderPattern(NamedTuple):
    """The folders of a path as parts of a pattern, the names of the fields in it, and their values in this path."""

    parts: list[str]
    names: list[str]
    values: list[str]


class FolderFields:
    """Tells the fields among the folders of some paths, {folder1} and on, and {subset} of training and validation."""

    def __init__(self, paths: Sequence[str]) -> None:
        within = _children(paths)
        holding = {tuple(path.split("/")[:-1]) for path in paths}
        self._varying = _varying_folders(within, holding, _of_kinds(paths))
        self._varying |= _of_pairs(paths) | _of_same_volumes(paths, holding)
        self._divided = _of_test(paths)
        self._beside, self._among = _beside_masks(within), _among_others(within)
        self._splits = _split_words(paths)
        self._parts = parts_of_one(paths)

    def of(self, folders: Sequence[str]) -> FolderPattern:
        """The pattern of one path's folders."""
        found = FolderPattern([], [], [])
        for depth, folder in enumerate(folders):
            parent = tuple(folders[:depth])
            number = NUMBER.fullmatch(folder) if parent in self._beside else None
            word = SPLIT_WORDS.search(folder)
            owner = _owner(found, folder)
            if owner:
                found.parts.append(f"{{{owner}}}{folder.removeprefix(found.values[found.names.index(owner)])}")
            elif number:
                _put(found, number[1], _next_folder(found.names), number[2], number[3])
            elif self._is_item(parent, folder):
                _put(found, "", _next_folder(found.names), folder, "")
            elif word and word[1] in found.values and found.names[found.values.index(word[1])] == "subset":
                found.parts.append(f"{folder[: word.start()]}{{subset}}{folder[word.end() :]}")
            elif part := self._parts.get(parent, {}).get(folder):
                _put(found, part.before, _next_folder(found.names), part.word, part.after)
            elif word and "subset" not in found.names and len(self._splits.get(_masked(folders, depth), ())) > 1:
                choice = "|".join(sorted(self._splits[_masked(folders, depth)]))
                _put(found, folder[: word.start()], "subset", word[1], folder[word.end() :], kind=f":{choice}")
            else:
                found.parts.append(folder)
        return found

    def _is_item(self, parent: Folders, folder: str) -> bool:
        """Whether the whole name of a folder is that of a patient, a slide, a city."""
        among = _numberless(folder) == self._among.get(parent)
        return among or _key(parent) in self._varying or parent in self._divided


def _put(found: FolderPattern, before: str, name: str, value: str, after: str, *, kind: str = "") -> None:
    found.parts.append(f"{before}{{{name}{kind}}}{after}")
    found.names.append(name)
    found.values.append(value)


def _owner(found: FolderPattern, folder: str) -> str:
    """The field whose value a folder's name begins with, before words without a number: IMD003/IMD003_lesion."""
    named = zip(found.names, found.values, strict=True)
    return next((name for name, value in named if re.fullmatch(rf"{re.escape(value)}[_\-. ]\D+", folder)), "")


def _next_folder(names: Sequence[str]) -> str:
    """The name of the next field for a folder."""
    return f"folder{len([one for one in names if one != 'subset']) + 1}"


def _masked(folders: Sequence[str], depth: int) -> Folders:
    """Depth and name of a folder, with a word for training or validation left out."""
    return (*(_numberless(name) for name in folders[:depth]), SPLIT_WORDS.sub("#", folders[depth], count=1))


def _split_words(paths: Iterable[str]) -> dict[Folders, set[str]]:
    """The words for training and validation that folders have, by depth."""
    found: dict[Folders, set[str]] = {}
    for parents in {tuple(path.split("/")[:-1]) for path in paths}:
        for depth, folder in enumerate(parents):
            if word := SPLIT_WORDS.search(folder):
                found.setdefault(_masked(parents, depth), set()).add(word[1])
    return found


def _numberless(name: str) -> str:
    return re.sub(r"[0-9]+", "#", name.lower())


def _key(folders: Sequence[str]) -> Folders:
    """A place in the tree: training and test folders count as one place, numbered folders too."""
    return tuple(re.sub(r"[0-9]+|train\w*|test\w*|val\w*", "#", name.lower()) for name in folders)


def _varying_folders(
    within: Mapping[Folders, set[str]], holding: set[Folders], kinds: Collection[Folders]
) -> set[Folders]:
    """Places whose child folders are items (cases, fragments, species), not words of a layout.

    holding: folders with files of their own. A case's folders beside its mask are versions: 7/pre, 7/orig, 7/wmh.nii.
    kinds: places whose children hold files of the same images.
    """
    children: dict[Folders, dict[Folders, set[str]]] = {}
    for parent, names in within.items():
        children.setdefault(_key(parent), {})[parent] = names
    found = {
        place
        for place, by_parent in children.items()
        if any(_is_varying(sorted(names)) for names in (set().union(*by_parent.values()), *by_parent.values()))
    }
    families = [
        (place, frozenset(names))
        for place, parents in children.items()
        if not (place[:-1] in found and holding.issuperset(parents))
        for names in parents.values()
    ]
    alike = Counter(names for _, names in families)
    repeated = {  # images/cat, images/dog beside gt/cat, gt/dog
        place
        for place, names in families
        if len(names) > 1 and alike[names] > 1 and not any(map(is_layout_word, names)) and place not in kinds
    }
    alike_inside = {  # aachen/images, aachen/labels beside bogota/images, bogota/labels
        place
        for place, parents in children.items()
        for parent, names in parents.items()
        if _hold_the_same([within.get((*parent, name), set()) for name in names])
        if not any(is_layout_word(name) or f".{name.lower()}" in SUFFIXES for name in names)
    }
    return found | repeated | alike_inside


def _hold_the_same(inside: Sequence[set[str]]) -> bool:
    """Whether several folders hold folders of the same names, one of them of masks."""
    first = inside[0]
    of_masks = any(word in name.lower() for name in first for word in (*MASK_WORDS, "gt"))
    return len(inside) > 1 and len(first) > 1 and of_masks and all(one == first for one in inside)


def _of_kinds(paths: Iterable[str]) -> set[Folders]:
    """Places whose child folders hold files of the same names, which are no numbers: images/rgb/x.jpg, images/ir/x.jpg.

    Not all have to be there: a class may have masks of the images that show it alone.
    """
    stems: dict[Folders, dict[str, set[str]]] = {}
    for path in paths:
        if path.count("/") > 1:
            *parents, folder, name = path.split("/")
            stems.setdefault(tuple(parents), {}).setdefault(folder, set()).add(Path(name).stem)
    return {
        _key(parents)
        for parents, children in stems.items()
        if sum(map(len, children.values())) > TWICE * len(names := set().union(*children.values()))
        if not "".join(name.removeprefix(shared_beginning([*names])) for name in names).isdecimal()
    }


def _of_pairs(paths: Iterable[str]) -> set[Folders]:
    """Places whose child folders all hold images with their masks beside them: benign/1.png, benign/1_mask.png."""
    kinds: dict[str, dict[str, set[str]]] = {}
    for path in paths:
        parent, _, folder = path.rpartition("/")[0].rpartition("/")
        endings = {tail for tail in endings_of(Path(path).stem) if KNOWN_ENDING.fullmatch(tail)} | {Path(path).suffix}
        kinds.setdefault(parent, {}).setdefault(folder, set()).update(endings)
    return {
        _key(parent.split("/") if parent else [])
        for parent, children in kinds.items()
        if len(children) > 1 and not any(map(is_layout_word, children)) and "" not in children
        if len(set.intersection(*children.values())) > 1
    }


def _of_same_volumes(paths: Iterable[str], holding: set[Folders]) -> set[Folders]:
    """Places that hold no files, whose child folders all hold volumes of the same words, image and mask of a case:
    1Z3Q/lgemri.nrrd, 1Z3Q/laendo.nrrd."""
    names: dict[Folders, dict[str, set[str]]] = {}
    for path in paths:
        *parents, folder, name = path.split("/") if "/" in path else ("", path)
        names.setdefault(tuple(parents), {}).setdefault(folder, set()).add(name)
    return {
        _key(parent)
        for parent, children in names.items()
        if len(children) > 1 and parent not in holding and not any(map(is_layout_word, children)) and "" not in children
        for first in [next(iter(children.values()))]
        if len(first) > 1 and all(one == first for one in children.values())
        if all(name.lower().endswith(VOLUMES) and not re.search("[0-9]", MR_WORD.sub("", name)) for name in first)
    }


def _of_test(paths: Iterable[str]) -> set[Folders]:
    """Folders whose children divide the test images among them, no name twice: test/a/1.png, test/b/2.png."""
    names: dict[Folders, dict[str, set[str]]] = {}
    for path in paths:
        *parents, folder, name = path.split("/") if "/" in path else ("", path)
        names.setdefault(tuple(parents), {}).setdefault(folder, set()).add(name)
    return {
        parents
        for parents, children in names.items()
        if any(TEST_WORDS.search(word) for word in parents) and len(children) > 1
        if sum(map(len, children.values())) == len(set().union(*children.values()))
        if not any(map(is_layout_word, children))
    }


def _among_others(within: Mapping[Folders, set[str]]) -> dict[Folders, str]:
    """Folders most of whose children are named alike but for a number, and how, among few others: sub-01, sub-02,
    sub-03 beside derivatives."""
    found = {}
    for parent, names in within.items():
        kinds = Counter(map(_numberless, names))
        kind, count = kinds.most_common(1)[0]
        if "#" in kind and not is_layout_word(kind) and len(kinds) > 1 and count > max(2, 2 * len(names) / 3):
            found[parent] = kind
    return found


def _children(paths: Iterable[str]) -> dict[Folders, set[str]]:
    """The names of the folders in each folder."""
    found: dict[Folders, set[str]] = {}
    for path in paths:
        *folders, _ = path.split("/")
        for depth, folder in enumerate(folders):
            found.setdefault(tuple(folders[:depth]), set()).add(folder)
    return found


def _beside_masks(within: Mapping[Folders, set[str]]) -> set[Folders]:
    """Folders with children of images and of masks that are numbered alike: Slide_01, GT_01, Slide_02, GT_02."""
    found = set()
    for parent, names in within.items():
        numbers: dict[tuple[str, str], set[str]] = {}
        for match in filter(None, map(NUMBER.fullmatch, names)):
            numbers.setdefault((match[1], match[3]), set()).add(match[2])
        of_masks = [one for words, one in numbers.items() if says_mask(" ".join(words))]
        of_images = [one for words, one in numbers.items() if not says_mask(" ".join(words))]
        if any(len(one & other) > 1 for one in of_masks for other in of_images):
            found.add(parent)
    return found


def _is_varying(names: list[str]) -> bool:
    same = re.sub(r"[a-zA-Z]+\Z", "", shared_beginning(names)) if len(names) > 1 else ""  # BraTS20_Training_0
    if len(names) < 2 or any(is_layout_word(name[len(same) :]) for name in names):
        return False
    first = {re.split(r"[0-9_.-]", name, maxsplit=1)[0].lower() for name in names}
    return len(names) > MANY or (len(first) == 1 and all(re.search("[0-9]", name) for name in names))
