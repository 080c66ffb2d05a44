"""Which files of a folder belong together? Path patterns for a first contract, guessed from names alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".nii.gz", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy", ".nii")
MASK_WORDS = ("mask", "label", "annot", "segment", "trimap", "groundtruth", "ground_truth")
ENDING = re.compile(r"(?<=.)[_-](?:masks?|labels?|seg|segmentation|gt|annotation|volume|image|img)\Z", re.IGNORECASE)
MANY = 8

Fields = tuple[str, ...]


@dataclass(frozen=True)
class FileGroup:
    """Files that one path pattern describes.

    files: (relative path, values of the fields in the order of `names`), sorted; the last field is {name}, of
    the file itself.
    """

    pattern: str
    names: tuple[str, ...]
    files: tuple[tuple[str, Fields], ...]

    @property
    def words(self) -> list[str]:
        """The pattern's own words, in small letters, fields left out."""
        return re.findall(r"[a-z]+", re.sub(r"{\w+}", " ", self.pattern.rsplit(".", 1)[0]).lower())

    @property
    def is_test(self) -> bool:
        """Whether a folder or name says test."""
        return any(word.startswith("test") or word.endswith(("test", "imagests")) for word in self.words)

    @property
    def looks_like_masks(self) -> bool:
        """Whether a folder or an ending says mask, label, annotation and the like."""
        return any(hint in word for word in self.words for hint in MASK_WORDS) or "gt" in self.words

    @property
    def id_template(self) -> str:
        """'{name}' where file names differ, otherwise the folders' fields before it."""
        stems = {fields[-1] for _, fields in self.files}
        return "{name}" if len(stems) == len(self.files) else "_".join(f"{{{name}}}" for name in self.names)

    def ids(self, template: str) -> list[str]:
        """Image ids of the files, in their order, by an `images.id` template."""
        return [template.format_map(dict(zip(self.names, fields, strict=True))) for _, fields in self.files]


def group_files(root: Path) -> list[FileGroup]:
    """Groups of the image files below `root`, largest first; hidden files are left out."""
    paths = sorted(_image_files(root))
    varying = _varying_folders({path.rsplit("/", 1)[0] for path in paths if "/" in path})
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, Fields]]] = {}
    for path in paths:
        *folders, name = path.split("/")
        suffix = next(name[-len(ending) :] for ending in SUFFIXES if name.lower().endswith(ending))
        stem = name[: -len(suffix)]
        ending = ENDING.search(stem)
        tail = ending.group() if ending else ""
        parts: list[str] = []
        names: list[str] = []
        values: list[str] = []
        for depth, folder in enumerate(folders):
            if _key(folders[:depth]) in varying:
                names.append(f"folder{len(names) + 1}")
                values.append(folder)
                parts.append(f"{{{names[-1]}}}")
            else:
                parts.append(folder)
        pattern = "/".join([*parts, f"{{name}}{tail}{suffix}"])
        fields = (*values, stem.removesuffix(tail) if tail else stem)
        groups.setdefault((pattern, (*names, "name")), []).append((path, fields))
    found = [FileGroup(pattern, names, tuple(files)) for (pattern, names), files in groups.items()]
    return sorted(found, key=lambda group: (-len(group.files), group.pattern))


def _image_files(root: Path) -> Iterable[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def _key(folders: Sequence[str]) -> tuple[str, ...]:
    """A place in the tree; training and test folders, and folders that are numbered, are one place."""
    return tuple(re.sub(r"[0-9]+|train\w*|test\w*|val\w*", "#", name.lower()) for name in folders)


def _varying_folders(folders: set[str]) -> set[tuple[str, ...]]:
    """Places whose child folders are one of many (cases, fragments, species), not words of a layout."""
    children: dict[tuple[str, ...], dict[tuple[str, ...], set[str]]] = {}
    for folder in folders:
        parts = folder.split("/")
        for depth, name in enumerate(parts):
            place = children.setdefault(_key(parts[:depth]), {})
            place.setdefault(tuple(parts[:depth]), set()).add(name)
    return {
        place
        for place, by_parent in children.items()
        if any(_is_varying(sorted(names)) for names in (set().union(*by_parent.values()), *by_parent.values()))
    }


def _is_varying(names: list[str]) -> bool:
    words = re.compile(r"train|test|val|image|img|" + "|".join(MASK_WORDS), re.IGNORECASE)
    if len(names) < 2 or any(words.search(name) for name in names):
        return False
    first = {re.split(r"[0-9_.-]", name, maxsplit=1)[0].lower() for name in names}
    return len(names) > MANY or (len(first) == 1 and all(re.search("[0-9]", name) for name in names))


def pick_training(groups: Sequence[FileGroup]) -> FileGroup:
    """The group that the training images are: the largest that is neither test nor masks.

    Raises ValueError where there are no image files at all.
    """
    if not groups:
        raise ValueError(f"no image file in the folder or below it; expected {', '.join(SUFFIXES)}")
    images = [group for group in groups if not group.looks_like_masks] or list(groups)
    return ([group for group in images if not group.is_test] or images)[0]


def pick_test(groups: Sequence[FileGroup], train: FileGroup) -> FileGroup | None:
    """The largest group of test images with the training images' fields; None where there is none."""
    fitting = [
        group
        for group in groups
        if group.is_test and not group.looks_like_masks and group is not train and group.names == train.names
    ]
    return fitting[0] if fitting else None


def pick_masks(groups: Sequence[FileGroup], train: FileGroup) -> FileGroup | None:
    """The group that has a file for at least half of the training images and looks like masks; or None."""
    wanted = {fields for _, fields in train.files}
    best: tuple[int, FileGroup] | None = None
    for group in groups:
        if group is train or not group.looks_like_masks or group.names != train.names:
            continue
        shared = len(wanted & {fields for _, fields in group.files})
        if 2 * shared >= len(wanted) and (best is None or shared > best[0]):
            best = (shared, group)
    return best[1] if best else None
