"""Path patterns with {fields}: which files fit one, what do their names say, and which files almost fit?

train/{case}/slice_{z:d}.png     {field}    part of one file or folder name, as short as it can be
                                 {field:d}  digits; {field:*} may be empty; {field:3} three characters;
                                 {field:2d} two digits; {field:train|val} one of these words
"""

from __future__ import annotations

import itertools
import os
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from submissions.host.problems import Problem
from submissions.images.formats.table import is_container

FIELD = re.compile(r"{(\w+)(?::[^}]*)?}")
FIELD_KIND = re.compile(r"{(\w+)(?::([^}]*))?}")
KINDS = {None: "[^/]+?", "d": "[0-9]+", "*": "[^/]*?"}
WORDS = re.compile(r"[\w-]+(\|[\w-]+)+")
WIDTH = re.compile(r"0?([1-9][0-9]*)(d?)")
SYSTEM_NAMES = ("Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX")

Fields = dict[str, str]


@dataclass(frozen=True)
class Found:
    """What a pattern finds below a folder.

    files: (relative path, fields), sorted by path; almost: entries that fit and are no files, or fit but for upper and
    lower case; system: files that an operating system left behind, passed over.
    """

    files: list[tuple[str, Fields]]
    almost: list[Problem]
    system: list[str]


class _Filler(string.Formatter):
    """Fills templates; a field of digits takes a number's format: {child:02d} of '7' is '07'."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        if isinstance(value, str) and format_spec.endswith("d") and value.isdecimal():
            value = int(value)
        return super().format_field(value, format_spec)


def fill(template: str, fields: Mapping[str, Any], what: str) -> str:
    """`template` with its {fields} filled in; a missing one is a ValueError that names `what`."""
    try:
        return _Filler().vformat(template, (), fields) if ":" in template else template.format_map(fields)
    except (KeyError, ValueError, IndexError) as error:
        missing = [name for name in FIELD.findall(template) if name not in fields]
        reason = f"no field {missing}" if missing else str(error)
        known = ", ".join(map(str, fields))
        raise ValueError(f"{what}: template {template!r} cannot be filled: {reason}; known fields: {known}") from error


def check_inside(pattern: str) -> str:
    """The pattern, if it stays below the data folder and its fields are of known kinds; else ValueError."""
    if not pattern or pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
        raise ValueError(f"path pattern {pattern!r}: expected a path inside the data folder, without '..'")
    return _check_kinds(pattern)


def _check_kinds(pattern: str) -> str:
    for match in FIELD_KIND.finditer(pattern):
        _expression(pattern, match)
    return pattern


def check_apart(pattern: str) -> str:
    """The pattern, if texts that fit it are taken apart in one way alone; else ValueError that says why not."""
    for before, after in itertools.pairwise(FIELD_KIND.finditer(_check_kinds(pattern))):
        if before.end() != after.start() or _has_width(before[2]) or _has_width(after[2]):
            continue
        if before[2] != "d" or after[2] == "d":
            raise ValueError(
                f"path pattern {pattern!r}: nothing stands between {before.group()} and {after.group()}, and a name "
                f"can be taken apart in several ways; give one a width or the first a type: {{{before[1]}:2}} for two "
                f"characters, {{{before[1]}:d}} for digits"
            )
    return pattern


def fields_of(pattern: str) -> dict[str, str]:
    """The fields with their kinds, {subset:train|val}, by name; of one that comes again the first says the kind."""
    return {match[1]: match.group() for match in reversed([*FIELD_KIND.finditer(pattern)])}


def alternatives(pattern: str) -> list[str]:
    """The pattern for every word of its fields {field:a|b}, wherever they stand; other fields are left as they are."""
    match = next((one for one in FIELD_KIND.finditer(pattern) if WORDS.fullmatch(one[2] or "")), None)
    if match is None:
        return [pattern]
    same = re.compile(rf"{{{match[1]}(?::[^}}]*)?}}")
    chosen = (same.sub(word, pattern) for word in match[2].split("|"))
    return [found for one in chosen for found in alternatives(one)]


def _has_width(kind: str | None) -> bool:
    return kind is not None and (WIDTH.fullmatch(kind) or WORDS.fullmatch(kind)) is not None


def _expression(pattern: str, match: re.Match[str]) -> str:
    """Regular expression of the text of one field."""
    name, kind = match.groups()
    if not name.isidentifier():
        raise ValueError(
            f"path pattern {pattern!r}: field {match.group()!r}, expected a name that begins with a letter"
        )
    if kind in KINDS:
        return KINDS[kind]
    if WORDS.fullmatch(kind):
        return f"(?:{'|'.join(re.escape(word) for word in kind.split('|'))})"
    width = WIDTH.fullmatch(kind)
    if width is None:
        raise ValueError(
            f"path pattern {pattern!r}: field {match.group()!r}, expected {{{name}}}, :d, :*, a width "
            "as :2, or words as :a|b"
        )
    return ("[0-9]" if width[2] else "[^/]") + f"{{{width[1]}}}"


def _regex_text(pattern: str) -> str:
    parts, seen, position = [], set(), 0
    for match in FIELD_KIND.finditer(pattern):
        parts.append(re.escape(pattern[position : match.start()]))
        name = match[1]
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{_expression(pattern, match)})")
        seen.add(name)
        position = match.end()
    parts.append(re.escape(pattern[position:]))
    return "".join(parts) + r"\Z"


@lru_cache(maxsize=256)
def pattern_regex(pattern: str) -> re.Pattern[str]:
    """Regular expression of a path pattern: each {field} a group, the same name twice the same text.

    Raises ValueError for a field's kind that is none of those above.
    """
    return re.compile(_regex_text(pattern))


@lru_cache(maxsize=256)
def _loose_regex(pattern: str) -> re.Pattern[str]:
    return re.compile(_regex_text(pattern), re.IGNORECASE)


def is_system_name(name: str) -> bool:
    """Whether an operating system or an editor leaves files of that name: '._x.png', '.DS_Store', 'Thumbs.db'."""
    return name.startswith(".") or name in SYSTEM_NAMES


def find_files(root: Path, pattern: str) -> list[tuple[str, Fields]]:
    """Files below `root` that fit a path pattern, in sorted order, as (relative path, fields)."""
    return scan(root, pattern).files


def scan(root: Path, pattern: str) -> Found:
    """Everything below `root` that fits a path pattern, or almost does; links are followed."""
    files: list[tuple[str, Fields]] = []
    almost: list[Problem] = []
    system: list[str] = []
    regex, parts = pattern_regex(pattern), pattern.split("/")
    for relative, entry in _entries(root, "", parts, system):
        match = regex.match(relative)
        if match is None:
            if not _is(entry.is_dir) and _loose_regex(pattern).match(relative):
                almost.append(_other_case(relative, pattern))
        elif _is(entry.is_file) or is_container(Path(entry.path)):
            files.append((relative, match.groupdict()))
        else:
            almost.append(Problem(relative, _what_it_is(Path(entry.path)), "a file", "put a file there or remove it"))
    return Found(sorted(files), sorted(almost), sorted(system))


def _entries(
    folder: Path, prefix: str, parts: Sequence[str], system: list[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Entries whose names fit the pattern's parts, capitals or not; names of systems go to `system`."""
    part, *rest = parts
    regex = re.compile(re.sub(r"\(\?P=\w+\)", "[^/]+?", _regex_text(_apart(part))), re.IGNORECASE)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except NotADirectoryError:
        return
    for entry in entries:
        if is_system_name(entry.name) and not part.startswith("."):
            system.append(prefix + entry.name)
        elif regex.match(entry.name):
            if not rest:
                yield prefix + entry.name, entry
            elif _is(entry.is_dir):
                yield from _entries(Path(entry.path), f"{prefix}{entry.name}/", rest, system)


def _is(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind (`is_dir`, `is_file`), its links followed; one that leads in circles is of none."""
    try:
        return kind()
    except OSError:
        return False


def _apart(part: str) -> str:
    """A part of a pattern whose fields have names of their own, so that it can be matched alone."""
    count = iter(range(len(part)))
    return FIELD_KIND.sub(lambda match: f"{{f{next(count)}{match.group()[1 + len(match[1]) :]}", part)


def _other_case(relative: str, pattern: str) -> Problem:
    ending = PurePosixPath(pattern).suffix
    way = f", or write the ending as a field: {pattern.removesuffix(ending)}.{{ending}}" if ending else ""
    return Problem(
        relative, f"a name that fits {pattern} but for upper and lower case", "one spelling", f"rename it{way}"
    )


def _what_it_is(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"a link to {path.readlink()}, which does not exist"
    if path.is_dir():
        return "a folder with that name"
    return "a pipe, socket or device with that name"
