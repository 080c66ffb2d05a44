"""Which files of a folder belong together? Groups of files that one path pattern describes, from names alone."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from submissions.host.patterns import is_system_name

SUFFIXES = (
    ".nii.gz", ".ome.tif", ".ome.tiff", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jp2",
    ".avif", ".ppm", ".pgm", ".pnm", ".npy", ".npz", ".nii", ".dcm", ".nrrd", ".mha", ".mhd", ".mrc", ".svs", ".ndpi",
    ".mrxs",
)  # fmt: skip
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".mrc")
DOCUMENTS = (".json", ".txt", ".xml", ".geojson")
READ = (*SUFFIXES, *DOCUMENTS, ".csv", ".tsv", ".gz", ".jsonl", ".ndjson", ".yaml", ".yml", ".md")
MASK_WORDS = (
    "mask", "label", "annot", "segment", "trimap", "truth", "gtfine", "manual", "target", "seg", "wmh", "lesion",
)  # fmt: skip
IMAGE_WORDS = ("image", "img", "input", "photo", "scan", "raw", "original")
MR_WORD = re.compile(r"(?<![a-z])t[12]", re.IGNORECASE)  # T1 and T2 are no numbers of files
TEST_WORDS = re.compile(r"test|imagests|unseen|evaluation", re.IGNORECASE)
SPLIT_WORDS = re.compile(r"(?<![a-zA-Z])(training|train|validation|valid|val|dev)", re.IGNORECASE)
KNOWN_ENDING = re.compile(
    r"[_.-](?:masks?(?:_[0-9]{1,2})?|labels?|seg|segmentation|gt|annotation|volume|image|img|train|test)", re.IGNORECASE
)
SEPARATORS = "_-. "
NUMBER = re.compile(r"(\D*)([0-9]+)(\D*)")
BAND_NAME = re.compile(r"(?:b|band|ch|channel)[_\-. ]?[0-9]{1,2}[a-z]?", re.IGNORECASE)
BAND = re.compile(r"[_\-. ](?:(?:b|band|ch|channel)[0-9]{1,2}[a-z]?|[a-z]+)", re.IGNORECASE)
MANY = 8
FEW_NAMES = 6  # kinds of files that lie in a folder, or begin alike
FEW = 0.15  # share of a folder's files that an ending has to have to be one of its kinds

Fields = tuple[str, ...]


@dataclass(frozen=True)
class FileGroup:
    """Files that one path pattern describes.

    files: (relative path, values of the fields in the order of `names`), sorted; the last field is {name}, of
    the file itself. pattern: with `head` before {name} and `tail` after it, which all the names have.
    """

    pattern: str
    names: tuple[str, ...]
    files: tuple[tuple[str, Fields], ...]

    @property
    def words(self) -> list[str]:
        """The pattern's own words, in small letters, fields left out."""
        return re.findall(r"[a-z]+", re.sub(r"{[^}]+}", " ", self.pattern.rsplit(".", 1)[0]).lower())

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
        return _says_mask(" ".join(self.words))

    @property
    def stems(self) -> list[str]:
        """The values of {name}."""
        return [fields[-1] for _, fields in self.files]

    @property
    def id_template(self) -> str:
        """'{name}' where file names differ, otherwise the folders' fields before it."""
        fields = [re.sub(r":[^}]*", "", f"{{{name}}}") for name in self.names]
        return "{name}" if len(set(self.stems)) == len(self.files) else "_".join(fields)

    def ids(self, template: str) -> list[str]:
        """Image ids of the files, in their order, by an `images.id` template."""
        return [template.format_map(dict(zip(self.names, fields, strict=True))) for _, fields in self.files]

    def cut(self, head: str, tail: str) -> FileGroup:
        """The same files with `head` and `tail`, which all names have, in the pattern in place of in {name}."""
        if not head and not tail:
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
    varying = _varying_folders({path.rsplit("/", 1)[0] for path in paths if "/" in path}) | _of_pairs(paths)
    divided = _of_test(paths)
    beside, among = _beside_masks(paths), _among_others(paths)
    splits = _split_words(paths)
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, Fields]]] = {}
    for path in paths:
        *folders, name = path.split("/")
        suffix = next(name[-len(ending) :] for ending in suffixes if name.lower().endswith(ending))
        parts: list[str] = []
        names: list[str] = []
        values: list[str] = []
        for depth, folder in enumerate(folders):
            word = SPLIT_WORDS.search(folder)
            number = NUMBER.fullmatch(folder) if tuple(folders[:depth]) in beside else None
            if number:
                names.append(_next_folder(names))
                values.append(number[2])
                parts.append(f"{number[1]}{{{names[-1]}}}{number[3]}")
            elif (
                _key(folders[:depth]) in varying
                or tuple(folders[:depth]) in divided
                or _numberless(folder) == among.get(tuple(folders[:depth]))
            ):
                names.append(_next_folder(names))
                values.append(folder)
                parts.append(f"{{{names[-1]}}}")
            elif word and "subset" not in names and len(splits.get(_masked(folders, depth), ())) > 1:
                names.append("subset")
                values.append(word[1])
                choice = "|".join(sorted(splits[_masked(folders, depth)]))
                parts.append(f"{folder[: word.start()]}{{subset:{choice}}}{folder[word.end() :]}")
            else:
                parts.append(folder)
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


def _next_folder(names: Sequence[str]) -> str:
    """The name of the next field for a folder."""
    return f"folder{len([one for one in names if one != 'subset']) + 1}"


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


def unread_kinds(root: Path) -> str:
    """Endings of the files below `root` that are neither images nor documents nor tables, most first; '' of none."""
    counts = Counter(Path(path).suffix.lower() for path in walk_files(root, ("",)) if not path.lower().endswith(READ))
    return ", ".join(f"{ending or 'without ending'} ({count})" for ending, count in counts.most_common(3))


def _masked(folders: Sequence[str], depth: int) -> tuple[str, ...]:
    """Depth and name of a folder, with a word for training or validation left out."""
    return (*(_numberless(name) for name in folders[:depth]), SPLIT_WORDS.sub("#", folders[depth], count=1))


def _split_words(paths: Iterable[str]) -> dict[tuple[str, ...], set[str]]:
    """The words for training and validation that folders have, by depth."""
    found: dict[tuple[str, ...], set[str]] = {}
    for parents in {tuple(path.split("/")[:-1]) for path in paths}:
        for depth, folder in enumerate(parents):
            if word := SPLIT_WORDS.search(folder):
                found.setdefault(_masked(parents, depth), set()).add(word[1])
    return found


def _numberless(name: str) -> str:
    return re.sub(r"[0-9]+", "#", name.lower())


def _key(folders: Sequence[str]) -> tuple[str, ...]:
    """A place in the tree: training and test folders count as one place, numbered folders too."""
    return tuple(re.sub(r"[0-9]+|train\w*|test\w*|val\w*", "#", name.lower()) for name in folders)


def _varying_folders(folders: set[str]) -> set[tuple[str, ...]]:
    """Places whose child folders are items (cases, fragments, species), not words of a layout."""
    children: dict[tuple[str, ...], dict[tuple[str, ...], set[str]]] = {}
    for folder in folders:
        parts = folder.split("/")
        for depth, name in enumerate(parts):
            place = children.setdefault(_key(parts[:depth]), {})
            place.setdefault(tuple(parts[:depth]), set()).add(name)
    found = {
        place
        for place, by_parent in children.items()
        if any(_is_varying(sorted(names)) for names in (set().union(*by_parent.values()), *by_parent.values()))
    }
    families = [(place, frozenset(names)) for place, parents in children.items() for names in parents.values()]
    alike = Counter(names for _, names in families)
    repeated = {  # images/cat, images/dog beside gt/cat, gt/dog
        place
        for place, names in families
        if len(names) > 1 and alike[names] > 1 and not any(map(_is_layout_word, names))
    }
    alike_inside = {  # aachen/images, aachen/labels beside bogota/images, bogota/labels
        place
        for place, parents in children.items()
        for parent, names in parents.items()
        if _hold_the_same([_names_inside(children, (*parent, name)) for name in names])
        if not any(_is_layout_word(name) or f".{name.lower()}" in SUFFIXES for name in names)
    }
    return found | repeated | alike_inside


def _names_inside(children: Mapping[tuple[str, ...], Mapping[tuple[str, ...], set[str]]], folder: Fields) -> set[str]:
    return children.get(_key(folder), {}).get(folder, set())


def _hold_the_same(inside: Sequence[set[str]]) -> bool:
    """Whether several folders hold folders of the same names, one of them of masks."""
    first = inside[0]
    of_masks = any(word in name.lower() for name in first for word in (*MASK_WORDS, "gt"))
    return len(inside) > 1 and len(first) > 1 and of_masks and all(one == first for one in inside)


def _of_pairs(paths: Iterable[str]) -> set[tuple[str, ...]]:
    """Places whose child folders all hold images with their masks beside them: benign/1.png, benign/1_mask.png."""
    kinds: dict[str, dict[str, set[str]]] = {}
    for path in paths:
        parent, _, folder = path.rpartition("/")[0].rpartition("/")
        endings = {tail for tail in _tails(Path(path).stem) if KNOWN_ENDING.fullmatch(tail)} | {Path(path).suffix}
        kinds.setdefault(parent, {}).setdefault(folder, set()).update(endings)
    return {
        _key(parent.split("/") if parent else [])
        for parent, children in kinds.items()
        if len(children) > 1 and not any(map(_is_layout_word, children)) and "" not in children
        if len(set.intersection(*children.values())) > 1
    }


def _of_test(paths: Iterable[str]) -> set[tuple[str, ...]]:
    """Folders whose children divide the test images among them, no name twice: test/a/1.png, test/b/2.png."""
    names: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for path in paths:
        *parents, folder, name = path.split("/") if "/" in path else ("", path)
        names.setdefault(tuple(parents), {}).setdefault(folder, set()).add(name)
    return {
        parents
        for parents, children in names.items()
        if any(TEST_WORDS.search(word) for word in parents) and len(children) > 1
        if sum(map(len, children.values())) == len(set().union(*children.values()))
        if not any(map(_is_layout_word, children))
    }


def _among_others(paths: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Folders most of whose children are named alike but for a number, and how, among few others: sub-01, sub-02,
    sub-03 beside derivatives."""
    found = {}
    for parent, names in _children(paths).items():
        kinds = Counter(map(_numberless, names))
        kind, count = kinds.most_common(1)[0]
        if "#" in kind and not _is_layout_word(kind) and len(kinds) > 1 and count > max(2, 2 * len(names) / 3):
            found[parent] = kind
    return found


def _children(paths: Iterable[str]) -> dict[tuple[str, ...], set[str]]:
    """The names of the folders in each folder."""
    found: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        *folders, _ = path.split("/")
        for depth, folder in enumerate(folders):
            found.setdefault(tuple(folders[:depth]), set()).add(folder)
    return found


def _beside_masks(paths: Iterable[str]) -> set[tuple[str, ...]]:
    """Folders with children of images and of masks that are numbered alike: Slide_01, GT_01, Slide_02, GT_02."""
    found = set()
    for parent, names in _children(paths).items():
        numbers: dict[tuple[str, str], set[str]] = {}
        for match in filter(None, map(NUMBER.fullmatch, names)):
            numbers.setdefault((match[1], match[3]), set()).add(match[2])
        of_masks = [one for words, one in numbers.items() if _says_mask(" ".join(words))]
        of_images = [one for words, one in numbers.items() if not _says_mask(" ".join(words))]
        if any(len(one & other) > 1 for one in of_masks for other in of_images):
            found.add(parent)
    return found


def _says_mask(name: str) -> bool:
    words = re.findall(r"[a-z]+", name.lower())
    return "gt" in words or any(hint in word for hint in MASK_WORDS for word in words)


def _is_layout_word(name: str) -> bool:
    words = "|".join(("train", "test", "val", "dev", "gt", *IMAGE_WORDS, *MASK_WORDS))
    return re.search(words, name, re.IGNORECASE) is not None


def _is_varying(names: list[str]) -> bool:
    same = re.sub(r"[a-zA-Z]+\Z", "", _shared(names)) if len(names) > 1 else ""  # BraTS20_Training_0
    if len(names) < 2 or any(_is_layout_word(name[len(same) :]) for name in names):
        return False
    first = {re.split(r"[0-9_.-]", name, maxsplit=1)[0].lower() for name in names}
    return len(names) > MANY or (len(first) == 1 and all(re.search("[0-9]", name) for name in names))


def _by_whole_name(group: FileGroup) -> list[FileGroup]:
    """The group, or a group for each name, where each folder holds the same few: imaging.nii.gz, segmentation.nii.gz.

    {name} is then the folder's.
    """
    counts = Counter(group.stems)
    folders = {fields[:-1] for _, fields in group.files}
    others = [name for name in counts if not BAND_NAME.fullmatch(name)]
    if len(group.names) < 2 or len(folders) < 2 or len(others) > FEW_NAMES:
        return [group]
    if 2 * min(counts.values()) < len(folders) or any(re.search("[0-9]", MR_WORD.sub("", name)) for name in others):
        return [group]
    found = []
    for name in counts:
        files = tuple((path, fields[:-1]) for path, fields in group.files if fields[-1] == name)
        pattern = group.pattern.replace("{name}", name).replace(f"{{{group.names[-2]}}}", "{name}")
        found.append(FileGroup(pattern, (*group.names[:-2], "name"), files))
    return found


def _by_beginning(group: FileGroup) -> list[FileGroup]:
    """The group, or a group for each beginning before a number, where those are a layout's words: volume-0, mask_0."""
    matches = [re.match(r"[a-zA-Z]+[_\-. ]*(?=[0-9])", stem) for stem in group.stems]
    counts = Counter(match.group() for match in matches if match)
    if not 1 < len(counts) <= FEW_NAMES or None in matches or "name}" not in group.pattern.rpartition("/")[2]:
        return [group]
    if min(counts.values()) < max(2, FEW * len(matches)) or not any(map(_is_layout_word, counts)):
        return [group]
    kinds: dict[str, list[tuple[str, Fields]]] = {}
    for match, file in zip(matches, group.files, strict=True):
        kinds.setdefault(match.group() if match else "", []).append(file)
    return [replace(group, files=tuple(files)).cut(head, "") for head, files in kinds.items()]


def _by_ending(group: FileGroup) -> list[FileGroup]:
    """The group, or a group for each kind of ending that many of its names have."""
    stems = group.stems
    counts = Counter(tail for stem in stems for tail in _tails(stem))
    enough = _images_of_bands(stems) or max(2, FEW * len(stems))
    kinds: dict[str, list[tuple[str, Fields]]] = {}
    for path, fields in group.files:
        tails = [tail for tail in _tails(fields[-1]) if counts[tail] >= enough or KNOWN_ENDING.fullmatch(tail)]
        kinds.setdefault(tails[0] if tails else "", []).append((path, fields))
    if len(kinds) == 1 and "" in kinds:
        return [group]
    return [replace(group, files=tuple(files)).cut("", tail) for tail, files in kinds.items()]


def _images_of_bands(stems: Sequence[str]) -> int:
    """How many images have a file of each of the same endings, as a satellite's bands B02 to B12; 0 of other names.

    Other numbers, of slices or frames, are no bands.
    """
    ends = [(_tails(stem) or [""])[-1] for stem in stems]
    images = {stem.removesuffix(end) for stem, end in zip(stems, ends, strict=True)}
    counts = Counter(ends)
    grid = len(images) > 2 and len(counts) > 1 and {*counts.values()} == {len(images)}
    return len(images) if grid and all(map(BAND.fullmatch, counts)) else 0


def _tails(stem: str) -> list[str]:
    """Endings of a name, longest first, from a separator on: a word, or the number of a channel."""
    places = [place for place, letter in enumerate(stem) if letter in SEPARATORS and place]
    endings = [stem[place:] for place in places]
    return [one for one in endings if re.match(r".[^_\-. ]*[a-zA-Z]", one) or re.fullmatch("_[0-9]{4}", one)]


def _shared(texts: Sequence[str]) -> str:
    """The letters that all texts begin with."""
    first, last = min(texts), max(texts)
    same = next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:same]


def common_head(stems: Sequence[str]) -> str:
    """The beginning that all names share, up to where numbers begin; '' where a name would have nothing left."""
    head = _shared(stems)
    head = re.sub(r"[0-9]+\Z", "", head)
    return head if len(stems) > 1 and all(len(stem) > len(head) for stem in stems) else ""


def common_tail(stems: Sequence[str]) -> str:
    """The ending that all names share, from a separator, or from a letter after a number."""
    tail = _shared([stem[::-1] for stem in stems])[::-1]
    if len(stems) < 2 or not tail:
        return ""
    match = re.search(r"[_\-. ].*\Z|(?<![a-zA-Z])[a-zA-Z].*\Z", tail)
    whole = match.group() if match else ""
    return whole if all(len(stem) > len(whole) for stem in stems) else ""
