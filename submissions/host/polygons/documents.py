"""Which format is a document in, and which of its entries belongs to an image?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

from submissions.host.competition import Competition
from submissions.host.mask_files import filled, open_path
from submissions.host.patterns import FIELD, alternatives
from submissions.host.polygons.coco import read_coco
from submissions.host.polygons.cvat import read_cvat
from submissions.host.polygons.geojson import read_geojson
from submissions.host.polygons.json_lines import read_json_lines
from submissions.host.polygons.label_studio import read_label_studio
from submissions.host.polygons.labelme import read_labelme
from submissions.host.polygons.listed_objects import lists_objects, read_listed_objects
from submissions.host.polygons.outlines import Entry, Outline, lie_elsewhere, moved
from submissions.host.polygons.slide_viewers import read_asap, read_imagescope
from submissions.host.polygons.supervisely import read_supervisely
from submissions.host.polygons.via import read_via, read_via_table
from submissions.host.polygons.xbd import is_xbd, read_xbd
from submissions.host.polygons.yolo import read_yolo
from submissions.images.georeference import pixels_of_map
from submissions.images.opening import path_inside

KNOWN = (
    "COCO, labelme, VIA, CVAT XML, ImageScope XML, ASAP XML, GeoJSON, Supervisely, Label Studio, Darwin, Datumaro, "
    "SuperAnnotate, SA-1B, xBD, JSON lines or YOLO text"
)
XML = {"annotations": read_cvat, "Annotations": read_imagescope, "ASAP_Annotations": read_asap}


def read_document(path: Path, shape: tuple[int, int] | None = None) -> dict[str, Entry]:
    """Entries of a document by the image's name without its ending; '' where the document names none.

    shape: (height, width) of the image, which YOLO's text needs. Raises FileNotFoundError, or ValueError that names the
    file and what is wrong with it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a document of polygons ({KNOWN})")
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return read_json_lines(path)
    try:
        if suffix == ".txt":
            return read_yolo(path, shape or (1, 1))
        if suffix == ".xml":
            return _read_xml(path.read_text(encoding="utf-8-sig"))
        if suffix == ".csv":
            return read_via_table(path)
        return _read_json(json.loads(path.read_text(encoding="utf-8-sig")))
    except (KeyError, TypeError, IndexError, AttributeError, ParseError, UnicodeDecodeError, ValueError) as error:
        detail = repr(error) if isinstance(error, (KeyError, IndexError)) else str(error)
        raise ValueError(f"{path.name}: {detail}; expected {KNOWN}") from error


def _read_xml(text: str) -> dict[str, Entry]:
    """Entries of an XML document, whose root tells its format."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("the XML defines entities; annotations have none, so it is refused")
    root = ElementTree.fromstring(text)
    if root.tag not in XML:
        raise ValueError(f"the XML's root is {root.tag!r}, expected one of {', '.join(XML)}")
    return XML[root.tag](root)


def _read_json(document: Any) -> dict[str, Entry]:
    """Entries of a JSON document, whose keys tell its format."""
    if isinstance(document, list) and document and "annotations" in document[0] and "data" in document[0]:
        return read_label_studio(document)
    if isinstance(document, list) or document.get("type") in ("FeatureCollection", "Feature"):
        return read_geojson(document)
    if "shapes" in document:
        return read_labelme(document)
    if "objects" in document and "size" in document:
        return read_supervisely(document)
    if is_xbd(document):
        return read_xbd(document)
    if lists_objects(document):
        return read_listed_objects(document)
    if "images" in document:
        return read_coco(document)
    first = next(iter(document.values()), None)
    if "_via_img_metadata" in document or (isinstance(first, dict) and "regions" in first):
        return read_via(document)
    raise ValueError(f"a document with the keys {list(document)[:6]}")


class Documents:
    """The polygons of a competition: one document of all images or several of some (a split), or one per image."""

    def __init__(self, competition: Competition, data: Path) -> None:
        self.competition = competition
        self.data = data
        self.pattern = competition.masks.file or ""
        self.files = alternatives(self.pattern)
        self._last: tuple[Path, tuple[int, int], dict[str, Entry]] | None = None

    @property
    def one_an_image(self) -> bool:
        """Whether the contract's file is a pattern with fields of the image."""
        return bool(FIELD.findall(self.files[0]))

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Entries of the documents by name; ValueError for an image that two of them name."""
        found: dict[str, Entry] = {}
        for file in self.files:
            own = read_document(open_path(self.competition, self.data, file, file))
            if twice := sorted(found.keys() & own.keys()):
                raise ValueError(
                    f"{file}: names {twice[0]}, and so does another document of masks.file; name one alone"
                )
            found |= own
        return _by_last_names(found)

    def listed(self, image_id: str) -> bool:
        """Whether a document names the image."""
        return self.one_an_image or image_id in self.entries

    def outlines(self, row: Mapping[str, Any], shape: tuple[int, int]) -> list[Outline]:
        """Outlines of the image in `row`, of `shape` (height, width); none where the document does not name it.

        Of a GeoTIFF places on the map become pixels, where no outline lies in the image by pixels. Raises ValueError
        where the document says that the image has another size.
        """
        entry = self._own(row, shape) if self.one_an_image else _named(self.entries, row)
        if entry is None:
            return []
        if entry.size not in (None, shape):
            swapped = "for photos with an EXIF orientation set images.exif: turned, else "
            raise ValueError(
                f"{row['image_id']}: the polygons were drawn on an image of {entry.size} (height, width), but "
                f"{row['path']} has {shape}; {swapped if entry.size == shape[::-1] else ''}replace the wrong file"
            )
        if not lie_elsewhere(entry.outlines, shape):
            return entry.outlines
        by_map = pixels_of_map(path_inside(self.data, str(row["path"]).split("|")[0]))
        return entry.outlines if by_map is None else [moved(one, by_map) for one in entry.outlines]

    def _own(self, row: Mapping[str, Any], shape: tuple[int, int]) -> Entry | None:
        path = open_path(self.competition, self.data, self.pattern, filled(self.pattern, row, "masks.file"))
        if self.competition.masks.missing == "empty" and not path.is_file():
            return None
        if self._last is None or self._last[:2] != (path, shape):
            self._last = path, shape, _by_last_names(read_document(path, shape))
        found = self._last[2]
        return next(iter(found.values()), None) if len(found) <= 1 else _named(found, row)


def _by_last_names(found: dict[str, Entry]) -> dict[str, Entry]:
    """Entries by name, and by the file's name alone where that names one image."""
    short: dict[str, list[str]] = {}
    for name in found:
        short.setdefault(PurePosixPath(name).name, []).append(name)
    return {**{last: found[names[0]] for last, names in short.items() if len(names) == 1}, **found}


def _named(entries: Mapping[str, Entry], row: Mapping[str, Any]) -> Entry | None:
    path = PurePosixPath(str(row["path"]).split("|")[0])
    names = (str(row["image_id"]), path.with_suffix("").as_posix(), path.stem)
    return next((entries[name] for name in names if name in entries), None)
