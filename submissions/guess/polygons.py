"""Are there polygons from a labelling tool: one document per image, or one for all?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from submissions.guess.class_lists import class_lists
from submissions.guess.layout.files import FileGroup, group_files, near_files
from submissions.guess.layout.matching import matches_of, one_word_varies, with_words
from submissions.guess.layout.pairing import joined_groups
from submissions.guess.layout.words import DOCUMENTS
from submissions.host.listing import spread
from submissions.host.polygons import Entry, read_document

DOCUMENT = re.compile(r".*\.(json[^.]*|xml|geojson)|.*via.*\.csv", re.IGNORECASE)  # other tables may be large
LARGEST_READ, BESIDE_READ = 5, 40


@dataclass(frozen=True)
class FoundPolygons:
    """The contract's `file`, the classes in it, and where names are numbers what they mean; images: the training
    images, with what documents leave out of their names in the pattern."""

    file: str
    images: FileGroup
    classes: list[str]
    meaning: Mapping[str, str | list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    some_missing: bool = False


def find_polygons(folder: Path, train: FileGroup) -> FoundPolygons | None:
    """Documents named as the images are, or the largest one that holds polygons; None where there are none."""
    groups = group_files(folder, DOCUMENTS)
    for group in [*groups, *(one for one in joined_groups(groups) if one not in groups)]:
        match = next((one for one in matches_of(train, group) if one.how == "one"), None)
        if match is None or 2 * len(match.pairs) < min(len(train.files), len(group.files)) or len(match.pairs) < 2:
            continue
        paths = [folder / file for files in match.pairs.values() for file in files]
        some = [entry for path in spread(paths, BESIDE_READ) for entry in _read(path).values()]
        names = _names(some)
        if names:
            meaning = numbered_classes(folder, names)
            lines, why = _without_area(some, names)
            notes = [f"{len(match.pairs)} documents named as the images, {min(len(paths), BESIDE_READ)} of them read"]
            missing = len(match.pairs) < len(train.files)
            notes += ["an image without a document has no objects (masks.missing)"] if missing else []
            classes = list(dict.fromkeys(meaning.get(name, name) for name in names))
            return FoundPolygons(match.pattern, match.images, classes, {**meaning, **lines}, notes + why, missing)
    images = {Path(file).stem for file, _ in train.files}
    documents = near_files(folder, 2, DOCUMENT)
    largest = sorted(documents, key=lambda path: (-path.stat().st_size, path))[:LARGEST_READ]
    for place, path in enumerate(largest):
        entries = _read(path)
        names, named = _names(entries.values()), sum(PurePosixPath(name).name in images for name in entries)
        if names and named >= min(2, len(images)):  # entries, not stems: folders of images repeat their numbers
            file, others = of_every_subset(folder, path.relative_to(folder).as_posix(), train)
            if not others:
                file, others = _with_others(folder, path, largest[place + 1 :], train)
            every = [*entries.values(), *(entry for other in others for entry in _read(other).values())]
            lines, why = _without_area(every, _names(every))
            return FoundPolygons(file, train, _names(every), lines, why)
    return None


def _with_others(folder: Path, path: Path, rest: Iterable[Path], train: FileGroup) -> tuple[str, list[Path]]:
    """The document as a pattern with those that name other training images, where their names differ in one word."""
    images = {Path(file).stem for file, _ in train.files}
    left, others = images - _stems(path), []
    for other in rest:
        if left & _stems(other):
            others.append(other)
            left -= _stems(other)
    files = [one.relative_to(folder).as_posix() for one in (path, *others)]
    varied = one_word_varies(files) if others else None
    return (with_words(varied[0], "part", varied[1]), others) if varied else (files[0], [])


def _stems(path: Path) -> set[str]:
    return {PurePosixPath(name).name for name in _read(path)}


def of_every_subset(folder: Path, file: str, train: FileGroup) -> tuple[str, list[Path]]:
    """The document as a pattern, and the documents of it, where the images' subsets have one each."""
    place = train.names.index("subset") if "subset" in train.names else None
    subsets = sorted({fields[place] for _, fields in train.files}) if place is not None else []
    for subset in subsets:
        pattern = "{subset}".join(file.rsplit(subset, 1))
        paths = [folder / pattern.replace("{subset}", one) for one in subsets]
        if subset in file and all(path.is_file() for path in paths):
            return pattern, paths
    return file, []


def _read(path: Path) -> Mapping[str, Entry]:
    """Entries of a document; none where it is another kind of document."""
    try:
        return read_document(path)
    except (ValueError, OSError):
        return {}


def _names(entries: Iterable[Entry]) -> list[str]:
    """Names of the outlines that have an area."""
    return sorted({outline.name for entry in entries for outline in entry.outlines if not outline.fault})


def _without_area(entries: Iterable[Entry], names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Other names, whose outlines are all lines, points or boxes, as names of no class; and a note on them."""
    others = sorted({outline.name for entry in entries for outline in entry.outlines} - set(names))
    why = f"{', '.join(others)}: lines, points or boxes alone, which have no area: left out"
    return {name: [] for name in others}, [why] if others else []


def numbered_classes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """What YOLO's numbers mean, from its data.yaml or classes.txt; class_0 and so on where neither is there."""
    numbers = [name for name in names if re.fullmatch("[0-9]+", name)]
    if not numbers or len(numbers) < len(list(names)):
        return {}
    known = next((one.values for one in class_lists(folder) if one.values), {})
    return {number: known.get(int(number), f"class_{number}") for number in numbers}
