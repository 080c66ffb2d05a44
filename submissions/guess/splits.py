"""Which images are for training, validation and test? As lists of names say (VOC's ImageSets), or masks that lack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from submissions.guess.draft import Draft
from submissions.guess.files import FileGroup, walk_files
from submissions.guess.pairing import Layout

LIST = re.compile(r"(?P<word>(?i:train|training|val|valid|validation|dev|trainval|test))\.txt")
TRAINING, VALIDATION, BOTH, TEST = ("train", "training"), ("val", "valid", "validation", "dev"), "trainval", "test"
KNOWN = 0.9  # share of a list's names that are images
MOST_BYTES = 20_000_000
SUBSET = "subset"
FIELD = re.compile(rf"{{{SUBSET}:([^}}]*)}}")
KEPT_BACK = re.compile(r"val(id(ation)?)?|dev", re.IGNORECASE)


@dataclass(frozen=True)
class _Lists:
    """The lists of one folder: names by the lists' words, in small letters, and those words as the files spell them."""

    folder: str
    names: Mapping[str, set[str]]
    spelled: Mapping[str, str]

    def has(self, words: tuple[str, ...]) -> str | None:
        return next((self.spelled[word] for word in words if word in self.names), None)

    def file(self, word: str) -> str:
        return f"{self.folder}/{word}.txt" if self.folder else f"{word}.txt"

    @property
    def labelled(self) -> set[str]:
        """Names for training and validation."""
        return set().union(*(names for word, names in self.names.items() if word != TEST))


def put_split_lists(draft: Draft, folder: Path, layout: Layout) -> bool:
    """Images that lists name, with training and validation as the column `subset`; nothing where there are no lists.

    Of several folders of lists the one whose names have masks. Returns whether the host divides training itself.
    """
    images, train = draft.sections["images"], layout.train
    if layout.masks is None or train.id_template != "{name}" or "{subset" in images["train"]:
        return False
    masked = {name for (path, _), name in zip(train.files, train.stems, strict=True) if path in layout.masks.pairs}
    ranked = [(len(one.labelled & masked), one.folder, one) for one in _lists(folder, set(train.stems))]
    ranked = [found for found in ranked if found[0] > KNOWN * len(found[2].labelled)]
    if not ranked:
        return False
    lists = max(ranked)[2]
    images["only_listed"] = True
    draft.sections["masks"].pop("missing", None)
    draft.notes["masks"] = [note for note in draft.notes["masks"] if "have no mask and are left out" not in note]
    first, second = lists.has(TRAINING), lists.has(VALIDATION)
    if first and second:
        file, shown = lists.file(f"{{subset:{first}|{second}}}"), f"subset is {first} or {second}"
    else:
        file = lists.file(lists.has((BOTH,)) or first or second or "")
        shown = f"{len(lists.labelled)} images"
    others, notes = draft.sections.get("tables", []), draft.notes.get("tables", [])
    draft.put("tables", [*others, _table(file)], f"the images that lists name: {shown}")
    draft.notes["tables"] += notes
    if layout.test is None:
        test = lists.has((TEST,))
        images["test"] = images["train"]
        stand_in = (
            f"no list of test images was found, so those of {second or first or BOTH} stand in for them; change it"
        )
        chosen = lists.file(test or second or first or lists.has((BOTH,)) or "")  # one of them is there
        draft.put("test_tables", [_table(chosen)], f"test images as {chosen} names them" if test else stand_in)
    return bool(first and second)


def _table(file: str) -> dict[str, Any]:
    return {"file": file, "columns": ["id"]}


def _lists(folder: Path, known: set[str]) -> list[_Lists]:
    """Folders with lists of image names for training or validation, a name a line."""
    by_folder: dict[str, dict[str, str]] = {}
    for path in walk_files(folder, (".txt",)):
        where = PurePosixPath(path)
        if match := LIST.fullmatch(where.name):
            by_folder.setdefault("" if str(where.parent) == "." else str(where.parent), {})[match["word"]] = path
    found = []
    for place, paths in by_folder.items():
        names = {word: _names(folder / path) for word, path in paths.items()}
        kept = {word: own for word, own in names.items() if own and len(own & known) > KNOWN * len(own)}
        if any(word.lower() != TEST for word in kept):
            spelled = {word.lower(): word for word in kept}
            found.append(_Lists(place, {word.lower(): own for word, own in kept.items()}, spelled))
    return found


def _names(path: Path) -> set[str]:
    """The lines of a list; none of a file that has several words a line, or is no text."""
    if path.stat().st_size > MOST_BYTES:
        return set()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return set()
    names = {line for line in lines if line}
    return set() if any(re.search(r"[\s,;]", name) for name in names) else names


def with_unlabelled_as_test(layout: Layout) -> Layout:
    """The layout whose test images are those of a validation subset without one mask, where there are no others."""
    train, masks = layout.train, layout.masks
    if layout.test is not None or masks is None or SUBSET not in train.names or not FIELD.search(train.pattern):
        return layout
    place = train.names.index(SUBSET)
    words = {fields[place] for _, fields in train.files}
    labelled = {fields[place] for path, fields in train.files if path in masks.pairs}
    alone = sorted(words - labelled)
    if len(alone) != 1 or not KEPT_BACK.fullmatch(alone[0]) or not labelled:
        return layout
    pattern = masks.pattern.replace(f"{{{SUBSET}}}", next(iter(labelled))) if len(labelled) == 1 else masks.pattern
    return replace(
        layout, train=_of_words(train, labelled), test=_of_words(train, {*alone}), masks=replace(masks, pattern=pattern)
    )


def _of_words(group: FileGroup, words: set[str]) -> FileGroup:
    """The files of these subsets; of one its word stands in the pattern, and it is no field."""
    place = group.names.index(SUBSET)
    files = tuple(file for file in group.files if file[1][place] in words)
    if len(words) > 1:
        return replace(group, pattern=FIELD.sub(f"{{{SUBSET}:{'|'.join(sorted(words))}}}", group.pattern), files=files)
    names = tuple(name for name in group.names if name != SUBSET)
    files = tuple((path, fields[:place] + fields[place + 1 :]) for path, fields in files)
    return FileGroup(FIELD.sub(next(iter(words)), group.pattern), names, files)
