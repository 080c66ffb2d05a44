"""The answer that is GeoJSON: a feature an object, its polygon in pixels, its class and score as properties.

Format: RFC 7946, one FeatureCollection for all images or one per image; objects as in COCO's list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from submissions.answers.answer import Fields, Others, Writer, Written
from submissions.answers.coco_answer import CocoAnswer
from submissions.answers.coco_objects import REWRITE, Entry
from submissions.answers.packing import PackedFiles, Packer
from submissions.host.listed_images import ListedImages
from submissions.host.patterns import fill
from submissions.host.problems import Problem
from submissions.images.damaged import read_json
from submissions.rle.codec import Dialect, encode_instances
from submissions.rle.polygon_text import require_shapely
from submissions.table.findings import SHOWN, Finding
from submissions.table.lint import file_findings
from submissions.table.scoring import Segmentation


class GeoJsonAnswer(CocoAnswer):
    """One file, or a zip or folder of one file per image."""

    head, tail = '{"type": "FeatureCollection", "features": [', "\n]}\n"

    @property
    def ending(self) -> str:
        """'.geojson' of one file for all, else '.zip', or '' of a folder."""
        if self.form.geojson.path is None:
            return ".geojson"
        return ".zip" if self.form.geojson.pack == "zip" else ""

    @property
    def scored(self) -> bool:  # type: ignore[override]
        """Whether a feature has to have a score."""
        return self.form.geojson.score_property is not None

    @property
    def categories(self) -> Mapping[str, int | str]:
        """The classes that are scored and no background, by their own names."""
        return {name: name for name in self.competition.foreground}

    def image_key(self, fields: Fields) -> int | str:
        """The name of the image's file, or what the property of its features is: text."""
        form = self.form.geojson
        template, where = (form.image_id, "image_id") if form.path is None else (form.path, "path")
        return fill(template, {**fields, "id": fields["image_id"]}, f"submission.geojson.{where}")

    def parts(self, label: np.ndarray) -> Iterator[Entry]:
        """The polygon of each object of int32 (H, W)."""
        for text in encode_instances(label, Dialect(kind="geojson", loss=self.form.geojson.loss)):
            yield {"segmentation": json.loads(text)}

    def written(self, entry: Entry) -> dict[str, Any]:
        """An entry as a feature."""
        form = self.form.geojson
        properties = {} if form.path is not None else {form.image_property: entry["image_id"]}
        properties[form.class_property] = entry["category_id"]
        if form.score_property is not None:
            properties[form.score_property] = entry["score"]
        return {"type": "Feature", "properties": properties, "geometry": entry["segmentation"]}

    def begin(self, out: Path, images: ListedImages) -> Writer:
        """Start writing; an image's features are on disk at once."""
        return super().begin(out, images) if self.form.geojson.path is None else FilesWriter(self, out, images)

    def read(self, path: Path, images: ListedImages, *, others: Others = "error") -> list[Entry]:
        """Features as entries. FileNotFoundError where there is no file, ValueError where one is no GeoJSON."""
        if self.form.geojson.path is None:
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such file; expected GeoJSON, a FeatureCollection")
            return list(self._entries(path, path.name, None))
        packed, known = PackedFiles(path), {self.image_key(images.row(name)) for name in images.ids}
        found: list[Entry] = []
        for name in packed.names:
            if name in known:
                with packed.file(name) as place:
                    found += self._entries(place, name, name)
            elif others == "error":
                raise ValueError(f"{path}: {name!r} is the file of no test image")
        return found

    def _entries(self, path: Path, name: str, image: str | None) -> Iterator[Entry]:
        """Entries of one file, of the image, or of those that its features name."""
        form = self.form.geojson
        for number, feature in enumerate(_features(path, name), start=1):
            properties, geometry = feature.get("properties"), feature.get("geometry")
            if not isinstance(properties, Mapping) or not isinstance(geometry, Mapping) or "type" not in geometry:
                raise ValueError(f"{name}: feature {number}: expected properties and a geometry with its type")
            named = properties.get(form.image_property) if image is None else image
            said = properties.get(form.class_property)
            entry: Entry = {"image_id": named, "category_id": said, "segmentation": dict(geometry)}
            score = None if form.score_property is None else properties.get(form.score_property)
            yield entry if score is None else {**entry, "score": score}

    def file_findings(self, path: Path, images: ListedImages) -> list[Finding]:
        """Size, and with one file per image the names that lack or are of no image."""
        if self.form.geojson.path is None:
            return super().file_findings(path, images)
        packed = PackedFiles(path)
        wanted = {str(self.image_key(images.row(name))) for name in images.ids}
        lacking, unknown = sorted(wanted - set(packed.names)), sorted(set(packed.names) - wanted)
        said = [f"{len(lacking)} of {len(wanted)} files are missing: {', '.join(lacking[:SHOWN])}"] * bool(lacking)
        said += [f"{name!r} is the file of no test image" for name in unknown[:SHOWN]]
        return [*file_findings(packed.size, self.form), *(Finding("error", None, one) for one in said)]

    def problems(self, data: Path) -> list[Problem]:
        """As of COCO's list, and the library that writes polygons."""
        try:
            require_shapely()
        except ValueError as error:
            return [Problem("submission.kind geojson", str(error), "shapely", "install it")]
        return super().problems(data)


def _features(path: Path, name: str) -> Sequence[Mapping[str, Any]]:
    """The features of a FeatureCollection; ValueError that names the file where it is none."""
    document = read_json(path, name, cure=REWRITE)
    found = document.get("features") if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(feature, dict) for feature in found):
        raise ValueError(f"{name}: expected a FeatureCollection, a list of features")
    return found


class FilesWriter(Writer):
    """A FeatureCollection an image, packed at once."""

    def __init__(self, answer: GeoJsonAnswer, out: Path, images: ListedImages) -> None:
        self.answer, self.images = answer, images
        self.packer = Packer(out, zipped=answer.form.geojson.pack == "zip")
        self.named: list[str] = []

    def add(self, fields: Fields, said: Segmentation) -> None:
        """The file of one image."""
        features = [self.answer.written(entry) for entry in self.answer.entries(fields, said)]
        self._write(fields, features)

    def add_empty(self, image_id: str) -> None:
        """A file without a feature."""
        self._write(self.images.row(image_id), [])

    def _write(self, fields: Fields, features: Sequence[Mapping[str, Any]]) -> None:
        lines = ",".join(f"\n{json.dumps(feature)}" for feature in features)
        text = f"{self.answer.head}{lines}{self.answer.tail}"
        name = str(self.answer.image_key(fields))
        self.packer.add(name, lambda path: _write_text(path, text), size=len(text))
        self.named.append(str(fields["image_id"]))

    def finish(self) -> Written:
        """Put the answer in its place."""
        self.packer.finish()
        return Written(self.packer.out, len(self.packer.names), "files", self.named)

    def __exit__(self, *error: object) -> None:
        self.packer.__exit__(*error)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
