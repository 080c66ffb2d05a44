"""Which files of a folder belong together? Groups of files that one path pattern describes, from names alone."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from submissions.guess.layout.folders import FolderFields
from submissions.guess.layout.words import (
    BAND,
    BAND_NAME,
    KNOWN_ENDING,
    MOVIES,
    MR_WORD,
    READ,
    SEPARATORS,
    SUFFIXES,
    TEST_WORDS,
    VOLUMES,
    endings_of,
    is_layout_word,
    says_mask,
    shared_beginning,
)  # fmt: skip
from submissions.host.patterns import is_system_name

ZARR = re.compile(r"(.*?\.(?:zarr|n5))/", re.IGNORECASE)
ARCHIVE = re.compile(r".*\.(zip|z[0-9]{2}|zip\.[0-9]{3}|tar|tgz|tar\.(gz|bz2|xz)|7z|rar)", re.IGNORECASE)
FEW_NAMES = 6  # kinds of files that lie in a folder, or begin alike
FEW = 0.15  # share of a folder's files that an ending has to have to be one of its kinds

Fields = tuple[str, ...]


@dataclass(frozen=True)
class FileGroup:
    """Files that one path pattern describes.

    files: (relative path, values of the fields in the order of `names`), sorted; the last field is {name}, of
    the file itself. pattern: with `head` before {name} and `tail` after it, which all the names have. series: the
    "files" are folders, of the slices of a volume each. layers: how many numbered files, {layer:d}, are the channels of
    each image, of which `files` has the first; 0 where each file is an image. told_id: template of ids as a
    table says them.
    """

    pattern: str
    names: tuple[str, ...]
    files: tuple[tuple[str, Fields], ...]
    series: bool = False
    layers: int = 0
    told_id: str = ""

    @property
    def of_volumes(self) -> bool:
        """Whether each is a volume, by its ending, or as a folder of slices."""
        return self.series or self.pattern.endswith(VOLUMES)

    @property
    def names_files(self) -> bool:
        """Whether {name} is of the files, and not of the folders that hold one each."""
        return "{name" in self.pattern.rpartition("/")[2]

    @property
    def words(self) -> list[str]:
        """The pattern's own words, in small letters, fields left out."""
        return re.findall(r"[a-z]+", re.sub(r"{[^}]+}", " ", self.pattern.rsplit(".", 1)[0]).lower())

    @property
    def fields_alone(self) -> str:
        """The pattern with the names of its fields alone: {subset} of {subset:train|val}."""
        return re.sub(r"{(\w+):[^}]*}", r"{\1}", self.pattern)

    @property
    def folder(self) -> str:
        """The pattern of the folder that the files lie in, '' for the top."""
        return self.pattern.rpartition("/")[0]

    @property
    def is_test(self) -> bool:
        """Whether the name of a folder or file says test."""
        return any(TEST_WORDS.search(word) for word in self.words)

    @property
    def looks_like_masks(self) -> bool:
        """Whether a folder or an ending says mask, label, annotation and the like."""
        return says_mask(" ".join(self.words))

    @property
    def stems(self) -> list[str]:
        """The values of {name}."""
        return [fields[-1] for _, fields in self.files]

    @property
    def id_template(self) -> str:
        """As a table says; else '{name}' where file names differ, otherwise the folders' fields before it."""
        if self.told_id:
            return self.told_id
        fields = [re.sub(r":[^}]*", "", f"{{{name}}}") for name in self.names]
        return "{name}" if len(set(self.stems)) == len(self.files) else "_".join(fields)

    def ids(self, template: str) -> list[str]:
        """Image ids of the files, in their order, by an `images.id` template."""
        return [template.format_map(dict(zip(self.names, fields, strict=True))) for _, fields in self.files]

    def values(self, name: str) -> set[str]:
        """The values of a field; none of one that the group has not."""
        return {fields[self.names.index(name)] for _, fields in self.files} if name in self.names else set()

    def with_word(self, name: str, word: str) -> FileGroup:
        """The same files with a word in the pattern in the place of a field, which all of them have as its value."""
        place = self.names.index(name)
        files = tuple((path, (*fields[:place], *fields[place + 1 :])) for path, fields in self.files)
        pattern = re.sub(rf"{{{name}(:[^}}]*)?}}", word, self.pattern)
        return replace(self, pattern=pattern, names=(*self.names[:place], *self.names[place + 1 :]), files=files)

    def of_word(self, name: str, word: str) -> FileGroup:
        """Those of the files that have this value of a field, with the word in its place."""
        place = self.names.index(name)
        return replace(self, files=tuple(one for one in self.files if one[1][place] == word)).with_word(name, word)

    def cut(self, head: str, tail: str) -> FileGroup:
        """The same files with `head` and `tail`, which all names have, in the pattern and no longer in {name}; as they
        are where {name} is a folder's."""
        if not self.names_files or not (head or tail):
            return self
        files = tuple(
            (path, (*fields[:-1], fields[-1][len(head) : len(fields[-1]) - len(tail)])) for path, fields in self.files
        )
        folder, _, name = self.pattern.rpartition("/")
        own = name.replace("{name}", f"{head}{{name}}{tail}")
        return replace(self, pattern=f"{folder}/{own}" if folder else own, files=files)


def group_files(root: Path, suffixes: Sequence[str] = SUFFIXES) -> list[FileGroup]:
    """Groups of the files below `root` with these endings, largest first; what systems leave behind is left out.

    Files of one folder pattern are one group, or one for each ending that many names have (`x.png`, `x_mask.png`).
    """
    paths = sorted(walk_files(root, suffixes))
    fields = FolderFields(paths)
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, Fields]]] = {}
    for path in paths:
        *folders, name = path.split("/")
        suffix = next(name[-len(ending) :] for ending in suffixes if name.lower().endswith(ending))
        parts, names, values = fields.of(folders)
        pattern = "/".join([*parts, f"{{name}}{suffix}"])
        groups.setdefault((pattern, (*names, "name")), []).append((path, (*values, name[: -len(suffix)])))
    found = [
        part
        for (pattern, names), files in groups.items()
        for by_name in _by_whole_name(FileGroup(pattern, names, tuple(files)))
        for by_ending in _by_ending(by_name)
        for part in _by_beginning(by_ending)
    ]
    return sorted(found, key=lambda group: (-len(group.files), group.pattern))


def walk_files(root: Path, suffixes: Sequence[str]) -> Iterable[str]:
    """Relative paths of files with these endings; links to folders are followed, each folder once."""
    seen: set[Path] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_system_name(name))
        for name in names:
            if name.lower().endswith(tuple(suffixes)) and not is_system_name(name) and (Path(folder) / name).is_file():
                yield (Path(folder) / name).relative_to(root).as_posix()


def near_files(root: Path, depth: int, name: re.Pattern[str]) -> list[Path]:
    """Files with such a name in the folder and up to `depth` below it, those nearest first; none that systems leave."""
    found = []
    for level in range(depth + 1):
        paths = [path for path in root.glob("/".join("*" * (level + 1))) if name.fullmatch(path.name)]
        kept = [path for path in paths if not any(map(is_system_name, path.relative_to(root).parts))]
        found += sorted(path for path in kept if path.is_file())
    return found


def packed_files(root: Path) -> str:
    """Archives in the folder and one below it that no folder of their name lies beside, and what to do; '' of none."""
    paths = [path for path in near_files(root, 1, ARCHIVE) if not (path.parent / path.name.split(".")[0]).is_dir()]
    names = [path.relative_to(root).as_posix() for path in paths]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"packed files are not looked into: {shown}; unpack those with images, masks or tables" if names else ""


def unread_kinds(root: Path) -> str:
    """Endings of the files below `root` that are neither images nor documents nor tables, most first; '' of none.

    What lies in folders of Zarr is theirs.
    """
    counts, zarr = Counter[str](), Counter[str]()
    for path in walk_files(root, ("",)):
        inside = ZARR.match(path)
        if inside:
            zarr[inside[1]] += 1
        elif not path.lower().endswith(READ) and not ARCHIVE.fullmatch(path):
            counts[Path(path).suffix.lower()] += 1
    kinds = [
        f"{ending or 'without ending'} ({count}{'; save their frames as PNG' if ending in MOVIES else ''})"
        for ending, count in counts.most_common(3)
    ]
    if zarr:
        kinds.append(
            f"folders of Zarr ({len(zarr)}, as {min(zarr)}; a contract by hand names them in images.train, as that of "
            "czii-cryoet-2024 does)"
        )
    return ", ".join(kinds)


def _by_whole_name(group: FileGroup) -> list[FileGroup]:
    """The group, or a group for each name, where each folder holds the same few: imaging.nii.gz, segmentation.nii.gz.

    {name} is then the folder's. A file that is named as its folder counts as one of them: Patient_01/Patient_01.nii.gz.
    """
    if len(group.names) < 2:
        return [group]
    kinds: dict[str, list[tuple[str, Fields]]] = {}
    for path, fields in group.files:
        kinds.setdefault("" if fields[-1] == fields[-2] else fields[-1], []).append((path, fields))
    folders = {fields[:-1] for _, fields in group.files}
    names, counts = {*kinds} - {""}, [len(files) for files in kinds.values()]
    own = [fields[-1].removeprefix(fields[-2]) for _, fields in group.files if fields[-1].startswith(fields[-2])]
    if any(rest[:1] and rest[0] in SEPARATORS for rest in own):  # patient5/patient5_frame1
        return [group]
    if not names or len(folders) < 2 or 2 * min(counts) < len(folders):
        return [group]
    if not _are_words(names, of_all={*counts} == {len(folders)}, volumes=group.of_volumes and min(counts) > 1):
        return [group]
    found = [replace(group, files=tuple(kinds.pop("")))] if "" in kinds else []
    for name, files in kinds.items():
        pattern = group.pattern.replace("{name}", name).replace(f"{{{group.names[-2]}}}", "{name}")
        of_name = tuple((path, fields[:-1]) for path, fields in files)
        found.append(FileGroup(pattern, (*group.names[:-2], "name"), of_name))
    return found


def _are_words(names: set[str], *, of_all: bool, volumes: bool) -> bool:
    """Whether names of files in several folders say what they show, and number no slices or objects.

    of_all: each folder has a file of each name, and they may be many. volumes: they are of volumes, each in several
    folders: then they may be many too, and numbers are theirs, as of rib_left_4.
    """
    others = [name for name in names if not BAND_NAME.fullmatch(name)]
    if len(others) > FEW_NAMES and not (of_all or volumes):
        return False
    numbered = [name for name in others if re.search("[0-9]", MR_WORD.sub("", name))]
    alike = {re.sub("[0-9]+", "#", name) for name in names}
    return not numbered or (volumes and len(alike) > 1)


def _by_beginning(group: FileGroup) -> list[FileGroup]:
    """The group, or a group for each beginning before a number, where those are a layout's words: volume-0, mask_0."""
    matches = [re.match(r"[a-zA-Z]+[_\-. ]*(?=[0-9])", stem) for stem in group.stems]
    counts = Counter(match.group() for match in matches if match)
    if not 1 < len(counts) <= FEW_NAMES or None in matches or not group.names_files:
        return [group]
    least = {head: 2 if TEST_WORDS.search(head) else max(2, FEW * len(matches)) for head in counts}
    if any(counts[head] < few for head, few in least.items()) or not any(map(is_layout_word, counts)):
        return [group]
    kinds: dict[str, list[tuple[str, Fields]]] = {}
    for match, file in zip(matches, group.files, strict=True):
        kinds.setdefault(match.group() if match else "", []).append(file)
    return [replace(group, files=tuple(files)).cut(head, "") for head, files in kinds.items()]


def _by_ending(group: FileGroup) -> list[FileGroup]:
    """The group, or a group for each kind of ending that many of its names have."""
    stems = group.stems
    counts = Counter(tail for stem in stems for tail in endings_of(stem))
    enough = _images_of_bands(stems) or max(2, FEW * len(stems))
    kinds: dict[str, list[tuple[str, Fields]]] = {}
    for path, fields in group.files:
        tails = [tail for tail in endings_of(fields[-1]) if counts[tail] >= enough or KNOWN_ENDING.fullmatch(tail)]
        kinds.setdefault(tails[0] if tails else "", []).append((path, fields))
    if not group.names_files or (len(kinds) == 1 and "" in kinds):
        return [group]
    return [replace(group, files=tuple(files)).cut("", tail) for tail, files in kinds.items()]


def _images_of_bands(stems: Sequence[str]) -> int:
    """How many images have a file of each of the same endings, as a satellite's bands B02 to B12; 0 of other names.

    Other numbers, of slices or frames, are no bands.
    """
    ends = [(endings_of(stem) or [""])[-1] for stem in stems]
    images = {stem.removesuffix(end) for stem, end in zip(stems, ends, strict=True)}
    counts = Counter(ends)
    grid = len(images) > 2 and len(counts) > 1 and {*counts.values()} == {len(images)}
    return len(images) if grid and all(map(BAND.fullmatch, counts)) else 0


def common_head(stems: Sequence[str]) -> str:
    """The beginning that all names share, up to where numbers begin; '' where a name would have nothing left."""
    head = shared_beginning(stems)
    head = re.sub(r"[0-9]+\Z", "", head)
    return head if len(stems) > 1 and all(len(stem) > len(head) for stem in stems) else ""


def common_tail(stems: Sequence[str]) -> str:
    """The ending that all names share, from a separator, or from a letter after a number."""
    tail = shared_beginning([stem[::-1] for stem in stems])[::-1]
    if len(stems) < 2 or not tail:
        return ""
    match = re.search(r"[_\-. ].*\Z|(?<![a-zA-Z])[a-zA-Z].*\Z", tail)
    whole = match.group() if match else ""
    return whole if all(len(stem) > len(whole) for stem in stems) else ""
