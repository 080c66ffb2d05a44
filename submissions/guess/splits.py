"""Which images are for training, validation and test? As lists of names (VOC's ImageSets) or tables say, or masks that
lack."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from submissions.guess.draft import Draft
from submissions.guess.layout.files import FileGroup, walk_files
from submissions.guess.layout.pairing import Layout
from submissions.guess.tables import FoundTable, samples_of

LIST = re.compile(r"(?P<word>(?i:train|training|val|valid|validation|dev|trainval|test))\.txt")
TRAINING, VALIDATION, BOTH, TEST = ("train", "training"), ("val", "valid", "validation", "dev"), "trainval", "test"
KNOWN = 0.9  # share of a list's names that are images
MOST_BYTES = 20_000_000
SEPARATORS = ("\t", ",", ";", " ")
SUBSET = "subset"
FIELD = re.compile(rf"{{{SUBSET}:([^}}]*)}}")
TEST_TABLE = re.compile(r"(?<![a-z])test(?![a-z])", re.IGNORECASE)
TEST_NAME = re.compile(r"\Atest(ing)?(?![a-z])|(?<![a-z])test(ing)?\Z", re.IGNORECASE)
TRAIN_NAME = re.compile(r"\Atrain(ing)?(?![a-z])|(?<![a-z])train(ing)?\Z", re.IGNORECASE)
FEW_NAMES = 8  # that stand in a pattern as they are
PLAIN = re.compile(r"[\w-]+")
KEPT_BACK = re.compile(r"val(id(ation)?)?|dev", re.IGNORECASE)


@dataclass(frozen=True)
class _Form:
    """How the lines of a list are written: the first of `columns` is the name, between `before` and `ending`."""

    columns: int
    separator: str | None = None
    before: str = ""
    ending: str = ""

    def table(self, file: str) -> dict[str, Any]:
        """The contract's words for a list of this form."""
        whole = not self.before and not self.ending
        columns = ["id" if whole else "listed", *(f"column_{k}" for k in range(2, self.columns + 1))]
        apart = {} if whole else {"parts": {"listed": f"{self.before}{{id}}{self.ending}"}}
        return {"file": file, **({"separator": self.separator} if self.separator else {}), "columns": columns, **apart}


@dataclass(frozen=True)
class _Lists:
    """The lists of one folder: names by the lists' words, in small letters, and those words as the files spell them."""

    folder: str
    names: Mapping[str, set[str]]
    spelled: Mapping[str, str]
    form: _Form

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
    draft.put("tables", [*others, lists.form.table(file)], f"the images that lists name: {shown}")
    draft.notes["tables"] += notes
    if layout.test is None:
        test = lists.has((TEST,))
        images["test"] = images["train"]
        stand_in = (
            f"no list of test images was found, so those of {second or first or BOTH} stand in for them; change it"
        )
        chosen = lists.file(test or second or first or lists.has((BOTH,)) or "")  # one of them is there
        draft.put(
            "test_tables", [lists.form.table(chosen)], f"test images as {chosen} names them" if test else stand_in
        )
    return bool(first and second)


def _lists(folder: Path, known: set[str]) -> list[_Lists]:
    """Folders with lists of images for training or validation, a name a line, alone or first of several columns."""
    by_folder: dict[str, dict[str, str]] = {}
    for path in walk_files(folder, (".txt",)):
        where = PurePosixPath(path)
        if match := LIST.fullmatch(where.name):
            by_folder.setdefault("" if str(where.parent) == "." else str(where.parent), {})[match["word"]] = path
    found = []
    for place, paths in by_folder.items():
        read = {word: _names(folder / path, known) for word, path in paths.items()}
        kept = {word: one for word, one in read.items() if one and len(one[0] & known) > KNOWN * len(one[0])}
        forms = {form for _, form in kept.values()}
        if any(word.lower() != TEST for word in kept) and len(forms) == 1:
            spelled = {word.lower(): word for word in kept}
            names = {word.lower(): own for word, (own, _) in kept.items()}
            found.append(_Lists(place, names, spelled, forms.pop()))
    return found


def _names(path: Path, known: set[str]) -> tuple[set[str], _Form] | None:
    """The names of a list and how they are written; None where lines differ in form, or the file is no text."""
    if path.stat().st_size > MOST_BYTES:
        return None
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return None
    lines = [line for line in lines if line]
    separator = next((one for one in SEPARATORS if lines and one in lines[0]), None)
    rows = [line.split(separator) if separator else [line] for line in lines]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or any(re.search(r"[\s,;]", row[0]) for row in rows):
        return None
    first = PurePosixPath(rows[0][0])
    plain = rows[0][0] in known
    before = "" if plain else rows[0][0].removesuffix(first.name)
    form = _Form(widths.pop(), separator, before, "" if plain else first.suffix)
    if not all(row[0].startswith(form.before) and row[0].endswith(form.ending) for row in rows):
        return None
    return {row[0][len(form.before) : len(row[0]) - len(form.ending)] for row in rows}, form


def with_listed_as_test(layout: Layout, tables: Sequence[FoundTable]) -> Layout:
    """The layout with the images of one folder divided as tables say, where no folder does: those of a sample or of a
    table called test are test images, those of other tables, or with masks, are for training. As it is where some are
    both.
    """
    train, masks = layout.train, layout.masks
    if layout.test is not None:
        return layout
    asked, told = set[str](), set[str]()
    for table in tables:
        of_test = table.is_sample or TEST_TABLE.search(Path(table.file).stem)
        (asked if of_test else told).update(table.ids)
    named = dict(zip(train.ids(train.id_template), train.files, strict=True))
    told |= {name for name, (path, _) in named.items() if masks and path in masks.pairs}
    asked, told = asked & set(named), told & set(named)
    if not asked or not told or asked & told:
        return layout
    parts = (tuple(file for name, file in named.items() if name in one) for one in (told, asked))
    first, second = (replace(train, files=files, told_id=train.id_template) for files in parts)
    return replace(layout, train=first, test=second)


def put_listed_test(draft: Draft, layout: Layout, tables: Sequence[FoundTable]) -> None:
    """Of one pattern for training and test only the images that tables list; nothing of other patterns."""
    images = draft.sections["images"]
    if layout.test is None or images.get("test") != images["train"]:
        return
    images["only_listed"] = True
    draft.notes["images"].append("guess: one folder holds all images, and tables say which are test images")
    if "test_tables" not in draft.sections and (samples := samples_of(tables)):
        draft.put("test_tables", [samples[0].source], "the test images, as the sample names them")


def with_named_as_test(layout: Layout) -> Layout:
    """The layout with images divided by their own names, where nothing else says which are for testing: all begin or
    end with a word for training or one for testing, as train-volume.tif and test-volume.tif."""
    train = layout.train
    of_test = [stem for stem in train.stems if TEST_NAME.search(stem)]
    others = [stem for stem in train.stems if TRAIN_NAME.search(stem) and stem not in of_test]
    if layout.test is not None or not of_test or not others or len(of_test) + len(others) < len(train.stems):
        return layout
    if max(len({*of_test}), len({*others})) > FEW_NAMES or not all(map(PLAIN.fullmatch, train.stems)):
        return layout
    first, second = _of_names(train, others), _of_names(train, of_test)
    masks = layout.masks
    if masks is not None:
        own = {path for path, _ in first.files}
        masks = replace(masks, pairs={path: files for path, files in masks.pairs.items() if path in own})
    return replace(layout, train=first, test=second, masks=masks) if masks is None or masks.pairs else layout


def _of_names(group: FileGroup, names: Sequence[str]) -> FileGroup:
    """The files of these names, which stand in the pattern; one alone with another spelling: train|training."""
    files = tuple(file for file in group.files if file[1][-1] in names)
    words = [*dict.fromkeys(names)]
    if len(words) == 1:
        words.append(
            re.sub("(train|test)(ing)?", lambda word: word[1] + ("" if word[2] else "ing"), words[0], flags=re.I)
        )
    pattern = group.pattern.replace("{name}", f"{{name:{'|'.join(words)}}}", 1)
    return replace(group, pattern=pattern, files=files)


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
