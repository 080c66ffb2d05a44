"""What do values and colours of masks mean? dataset.json, lists of classes beside the data, and two that all know."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from submissions.guess.draft import Draft
from submissions.guess.layout.files import near_files

LISTED = re.compile(
    r".*(class|label|categor|colou?r|codes|names|config).*\.(csv|tsv|txt|json|ya?ml)|data\.ya?ml|.*\.csv", re.IGNORECASE
)
DATASET = re.compile(r"dataset\.json")
LONGEST_LIST = 100_000  # bytes
NAME_COLUMNS = ("name", "class", "class_name", "classname", "label")
VALUE_COLUMNS = ("pixel value", "value", "pixel_value", "id", "index", "label_id", "class_id", "gt_code", "code")
LINES = (  # what the lines of a text file are: colour and name, name and colour, value and name, name
    r"(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)[\s,]+(?P<name>\D.*)",
    r"(?P<name>[^\d:]+?)[\s,:]+(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)\D*",
    r"(?P<value>\d+)[\s,:]+(?P<name>[^\d\s].*)",
    r"(?P<name>[^\d\s].*)",
)
VOID = re.compile(
    r"[_ ]*(void|ignored?|un-?labell?ed|unknown|don'?t[ _]?care|mask out|outside[ _]roi)[_ ]*", re.IGNORECASE
)
BACKGROUND = re.compile(r"[_ ]*(background|bg)[_ ]*", re.IGNORECASE)
FEWEST_COLOURS = 3  # that must be those of a known set, black left out

VOC = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip
VOC_BORDER = 0xE0E0C0
CITYSCAPES = {  # value: class, red, green, blue (https://github.com/mcordts/cityscapesScripts); others are not scored
    7: ("road", 128, 64, 128), 8: ("sidewalk", 244, 35, 232), 11: ("building", 70, 70, 70), 12: ("wall", 102, 102, 156),
    13: ("fence", 190, 153, 153), 17: ("pole", 153, 153, 153), 19: ("traffic light", 250, 170, 30),
    20: ("traffic sign", 220, 220, 0), 21: ("vegetation", 107, 142, 35), 22: ("terrain", 152, 251, 152),
    23: ("sky", 70, 130, 180), 24: ("person", 220, 20, 60), 25: ("rider", 255, 0, 0), 26: ("car", 0, 0, 142),
    27: ("truck", 0, 0, 70), 28: ("bus", 0, 60, 100), 31: ("train", 0, 80, 100), 32: ("motorcycle", 0, 0, 230),
    33: ("bicycle", 119, 11, 32),
}  # fmt: skip
CITYSCAPES_VOID = (0x000000, 0x6F4A00, 0x510051, 0xFAAAA0, 0xE6968C, 0xB4A5B4, 0x966464, 0x96785A, 0x00005A, 0x00006E)


@dataclass(frozen=True)
class ClassList:
    """Names by value and by colour (65536 red + 256 green + blue), and the file or data set that they are from.

    places: values are places in a list, which may begin with the background or after it.
    """

    source: str
    values: dict[int, str] = field(default_factory=dict)
    colours: dict[int, str] = field(default_factory=dict)
    places: bool = False

    def fits(self, codes: set[int], *, colours: bool) -> bool:
        """Whether it names all these colours, black left out, or values, 0 and 255 left out.

        Of places without a background all are used: else 0 may be the background that the list leaves out.
        """
        known = self.colours if colours else self.values
        if not codes - {0, 255} or not codes - {0} <= known.keys() | (set() if colours else {255}):
            return False
        whole = {*known.values()} & {"background", "void"} or max(codes - {255}) == max(known)
        return bool(whole) or not self.places


def names_of(folder: Path, pattern: str, codes: Iterable[int], *, colours: bool) -> tuple[dict[int, str], list[str]]:
    """Names of the values or colours in the masks that `pattern` describes, and notes on the lists that name them.

    pattern: their path, and the name of their array.
    """
    seen, notes = set(codes), []
    for one in class_lists(folder):
        if one.fits(seen, colours=colours):
            return (one.colours if colours else one.values), [f"classes as {one.source} names them"]
        if known := one.colours if colours else one.values:
            notes.append(f"{one.source} names {len(known)} classes, and the masks show other values: not used")
    for one, word in KNOWN:
        if one.fits(seen, colours=colours) and (
            len(seen - {0}) >= FEWEST_COLOURS if colours else re.search(word, pattern)
        ):
            return (one.colours if colours else one.values), [f"classes as {one.source} names them"]
    return {}, notes


def name_of_one(folder: Path) -> tuple[str, list[str]]:
    """The only class that a list names beside background and void, and a note on it; 'thing' without such a list."""
    for one in class_lists(folder):
        names = {*one.values.values(), *one.colours.values()} - {"background", "void"}
        if len(names) == 1:
            return names.pop(), [f"the class as {one.source} names it"]
    return "thing", []


def class_lists(folder: Path) -> list[ClassList]:
    """Lists of classes in the folder and up to two below it."""
    found = []
    for path in near_files(folder, 2, LISTED):
        if path.stat().st_size >= LONGEST_LIST:
            continue
        try:
            one = _read(path, path.relative_to(folder).as_posix())
        except (KeyError, ValueError, AttributeError, TypeError, OSError, csv.Error, yaml.YAMLError):
            continue
        found += [one] if one.values or one.colours else []
    return found


def _read(path: Path, source: str) -> ClassList:
    """A list; without names where it is none. Raises ValueError, KeyError and the like for other files."""
    text, suffix = path.read_text(encoding="utf-8-sig"), path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        rows = csv.DictReader(text.splitlines(), delimiter="\t" if suffix == ".tsv" else ",", skipinitialspace=True)
        return _of_rows([{key.strip().lower(): cell for key, cell in row.items() if key} for row in rows], source)
    if suffix == ".txt":
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        for expression in LINES:
            matches = [re.fullmatch(expression, line) for line in lines]
            if lines and all(matches):
                return _of_rows([match.groupdict() for match in matches if match], source)
        return ClassList(source)
    document = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    if isinstance(document, dict) and all(isinstance(one, dict) for one in document.get("labels") or [""]):
        return _of_documents(document["labels"], source)
    names = document.get("names") or document.get("id2label") or document
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    return _list(source, {int(value): str(name) for value, name in listed.items()}, places=isinstance(names, list))


def _of_rows(rows: Sequence[Mapping[str, Any]], source: str) -> ClassList:
    keys = set(rows[0]) if rows else set()
    name, value = (next((one for one in each if one in keys), None) for each in (NAME_COLUMNS, VALUE_COLUMNS))
    names = [str(row[name]).strip() for row in rows] if name else []
    if {"r", "g", "b"} <= keys:
        codes = [int(row["r"]) << 16 | int(row["g"]) << 8 | int(row["b"]) for row in rows]
        return ClassList(source, colours=_plain(dict(zip(codes, names, strict=True))))
    if value:
        return _list(source, dict(zip((int(row[value]) for row in rows), names, strict=True)))
    if len(keys) > 1:
        return ClassList(source)
    return _list(source, dict(enumerate(names[names[:1] == ["__ignore__"] :])), places=True)  # labelme's, value -1


def _of_documents(labels: Sequence[Mapping[str, Any]], source: str) -> ClassList:
    """Of {"labels": [{"readable": "Bird", "color": [165, 42, 42]}, ...]}, as Mapillary has it; values are places."""
    names = [str(one.get("readable") or one["name"]) for one in labels]
    colours = [one.get("color", ()) for one in labels]
    known = zip(colours, names, strict=True) if all(len(one) == 3 for one in colours) else ()
    codes = {int(red) << 16 | int(green) << 8 | int(blue): name for (red, green, blue), name in known}
    return replace(_list(source, dict(enumerate(names)), places=True), colours=_plain(codes))


def _list(source: str, values: Mapping[int, str], *, places: bool = False) -> ClassList:
    """The list, unless names repeat or are numbers: those are labels of images."""
    names = set(values.values())
    are_names = len(names) == len(values) and not any(name.isdecimal() for name in names)
    return ClassList(source, _plain(values) if are_names else {}, places=places)


def _plain(names: Mapping[int, str]) -> dict[int, str]:
    return {code: _plain_name(name) for code, name in names.items()}


def _plain_name(name: str) -> str:
    """The name, one that means background or void as contracts write it."""
    return "void" if VOID.fullmatch(name) else "background" if BACKGROUND.fullmatch(name) else name


def _colour_of_voc(value: int) -> int:
    """The colour that VOC gives a value: its bits, three at a time, are the highest bits of red, green and blue."""
    bits = [(value >> place & 1) << (7 - place // 3) + 16 - 8 * (place % 3) for place in range(8)]
    return sum(bits)


KNOWN = (  # and what the path of masks that hold its values shows, or the name of their array
    (
        ClassList(
            "PASCAL VOC",
            dict(enumerate(VOC)),
            {VOC_BORDER: "void", **{_colour_of_voc(value): name for value, name in enumerate(VOC)}},
        ),
        r"SegmentationClass|GTcls\.Segmentation",
    ),
    (
        ClassList(
            "Cityscapes",
            {**dict.fromkeys(range(34), "void"), **{value: one[0] for value, one in CITYSCAPES.items()}},
            {
                **dict.fromkeys(CITYSCAPES_VOID, "void"),
                **{red << 16 | green << 8 | blue: name for name, red, green, blue in CITYSCAPES.values()},
            },
        ),
        "labelIds",
    ),
)


def put_labels(draft: Draft, folder: Path) -> None:
    """Classes and values from a dataset.json in the folder or one below it, where there is one."""
    for path in near_files(folder, 1, DATASET):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            meaning = label_values(document["labels"])
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        names = [name for names in meaning.values() for name in names]
        classes = [name for name in dict.fromkeys(names) if name not in ("background", "void")]
        regions = any(len(names) > 1 for names in meaning.values())
        exclusive = len(classes) > 1 and not regions
        masks = draft.sections["masks"]
        for key in ("threshold", "instances"):
            masks.pop(key, None)
        masks["values"] = {
            value: names[0] if len(names) == 1 and (names[0] != "background" or exclusive) else
            [name for name in names if name != "background"]
            for value, names in meaning.items()
        }  # fmt: skip
        channels = document.get("channel_names") or document.get("modality") or {}
        why = f"{path.relative_to(folder).as_posix()}: labels {document['labels']}, channels {channels}"
        draft.notes["masks"].append(f"guess: {why}")
        draft.put("classes", ["background", *classes] if exclusive else classes, "as dataset.json names them")
        draft.sections.pop("exclusive", None)
        if exclusive:
            draft.put("exclusive", True, "every voxel has one label")
        return


def label_values(labels: Mapping[str, Any]) -> dict[int, list[str]]:
    """Names by value: of {"0": "background", "1": "organ"}, {"organ": 1}, or regions {"whole": [1, 2], "core": [2]}.

    What is to be ignored is 'void'.
    """
    found: dict[int, list[str]] = {}
    for key, given in labels.items():
        name, values = (str(given), [int(key)]) if str(key).isdigit() else (str(key), given)
        for value in values if isinstance(values, list) else [values]:
            found.setdefault(int(value), []).append(_plain_name(name))
    return dict(sorted(found.items()))
