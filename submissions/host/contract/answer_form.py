"""What the host wants back: a table, mask images, label volumes, COCO or GeoJSON objects, points; and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from submissions.host.patterns import FIELD, check_inside, fill
from submissions.host.settings import Settings
from submissions.rle.codec import Dialect

PICTURES = (".png", ".tif", ".tiff", ".bmp")
VOLUMES = (".tif", ".tiff", ".nii", ".nii.gz")
DEEPEST = {".bmp": "uint8", ".png": "uint16"}  # pixels that a format holds at most; the others hold int32


class AnswerFiles(Settings):
    """Mask files of an answer: `images` and `volumes`."""

    path: str = Field(
        "{id}.png",
        description="path of each file in the answer, made from {id}, {z} and image fields; with {class} one file per "
        "class; volumes of single slices: from {stack}",
    )
    values: dict[str, int] | None = Field(
        None,
        description="class -> pixel value, other pixels 0, the later class on top; where not given 1, 2, ..., and 255 "
        "with {class} in path [pixel value]",
    )
    objects: bool = Field(False, description="pixel values are object numbers, not classes")
    dtype: Literal["uint8", "uint16", "int32"] = Field("uint8", description="type of the stored pixels")
    pack: Literal["zip", "folder"] = Field("zip", description="handed in as one zip, or as a folder")
    table: str | None = Field(
        None,
        description="name of a table beside the files: id_column, extra and, in mask_column, the path of each file",
    )

    @field_validator("path", "table")
    @classmethod
    def _stays_inside(cls, path: str | None) -> str | None:
        return None if path is None else check_inside(path)

    @model_validator(mode="after")
    def _values_fit(self) -> AnswerFiles:
        most = int(np.iinfo(self.dtype).max)
        wrong = {name: value for name, value in (self.values or {}).items() if not 0 <= value <= most}
        if wrong:
            raise ValueError(f"submission.files.values {wrong}: expected 0 to {most}, what {self.dtype} holds")
        given = list((self.values or {}).values())
        if not self.by_class and len(set(given)) != len(given):
            raise ValueError(
                f"submission.files.values {self.values}: two classes of one value; write {{class}} in path"
            )
        if self.objects and (self.values or self.by_class):
            raise ValueError("submission.files.objects numbers the objects of one class: leave out values and {class}")
        if self.objects and "dtype" not in self.model_fields_set:
            raise ValueError(
                "submission.files.objects without dtype: uint8 holds 255 objects of an image and the 256th would end "
                "the run; write dtype: uint16, or uint8 where the host wants that"
            )
        return self

    @property
    def by_class(self) -> bool:
        """Whether each class has a file of its own."""
        return "class" in FIELD.findall(self.path)

    @property
    def ending(self) -> str:
        """'.png', '.nii.gz'."""
        name = PurePosixPath(self.path).name.lower()
        return ".nii.gz" if name.endswith(".nii.gz") else PurePosixPath(name).suffix


class CocoObjects(Settings):
    """Objects of an answer in COCO's result format (https://cocodataset.org/#format-results)."""

    image_id: str = Field(
        "{id}",
        description="image_id, made from {id} and image fields, such as {coco_id}, the number in a COCO document that "
        "test_tables names; digits become a number",
    )
    categories: dict[str, int] | None = Field(
        None, description="class -> category_id; where not given 1, 2, ... in the order of the classes"
    )
    box: bool = Field(False, description="also a bbox, [left, top, width, height] [pixels]")


class GeoJsonObjects(Settings):
    """Objects of an answer as GeoJSON features (RFC 7946): polygons in pixels, from the corner of the first pixel."""

    path: str | None = Field(
        None,
        description="one file per image: its path in the answer, from {id} and image fields; default: one file for all",
    )
    pack: Literal["zip", "folder"] = Field("zip", description="one file per image: handed in as a zip, or as a folder")
    image_id: str = Field("{id}", description="one file for all: what names the image, from {id} and image fields")
    image_property: str = Field("image_id", description="one file for all: property that holds it")
    class_property: str = Field("class", description="property that holds the class")
    score_property: str | None = Field("score", description="property that holds the confidence; none where it is null")
    loss: float = Field(
        0.0, ge=0, lt=1, description="IoU that simplified outlines may lose; 0 keeps each corner [share]"
    )

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str | None) -> str | None:
        if path is not None and PurePosixPath(check_inside(path)).suffix.lower() not in (".geojson", ".json"):
            raise ValueError(f"submission.geojson.path {path!r}: end it in .geojson or .json")
        return path


PLACE = ("z", "y", "x")
POINT_FIELDS = (*PLACE, "class", "number")  # of a point; all other fields are its volume's


class PointTable(Settings):
    """Points of an answer as a table: one row per point, of each volume all of them."""

    columns: dict[str, str] = Field(
        default_factory=lambda: {"id": "{id}", "z": "{z}", "y": "{y}", "x": "{x}"},
        description="column -> what it holds: {z}, {y} and {x} of the place in the unit of masks.points, {class}, "
        "{number} counted from 0, or fields of the volume, which tell volumes apart",
    )
    most: int | None = Field(
        None, gt=0, description="points kept per volume and class, the most probable ones; default: all [points]"
    )
    none: float | None = Field(
        None,
        description="number written as z, y and x of a volume without points; default: it has no row [host's unit]",
    )

    @field_validator("columns")
    @classmethod
    def _say_place_and_volume(cls, columns: dict[str, str]) -> dict[str, str]:
        lacking = [f"'{{{name}}}'" for name in PLACE if f"{{{name}}}" not in columns.values()]
        if lacking:
            raise ValueError(f"submission.points.columns: no column is {', '.join(lacking)}, the place of a point")
        if not _of_volume(columns):
            raise ValueError("submission.points.columns: no column names the volume; add one of the image's fields")
        return columns

    def column_of(self, name: str) -> str | None:
        """The column that holds the field alone, None where there is none."""
        return next((column for column, template in self.columns.items() if template == f"{{{name}}}"), None)

    @property
    def volume_columns(self) -> dict[str, str]:
        """The columns that name the volume."""
        return _of_volume(self.columns)


def _of_volume(columns: Mapping[str, str]) -> dict[str, str]:
    return {
        column: template for column, template in columns.items() if not set(FIELD.findall(template)) & set(POINT_FIELDS)
    }


class SubmissionFormat(Settings):
    """What the host wants back."""

    kind: Literal["table", "images", "volumes", "coco", "geojson", "points"] = Field(
        "table",
        description="a table of masks as text; mask images; label volumes; COCO objects as JSON; polygons as GeoJSON; "
        "a table of points, the centres of parts of volumes",
    )
    sample: str = Field("sample_submission.csv", description="path relative to the data folder; '' for none")
    id_column: str = Field("id", description="column of the row's id")
    mask_column: str = Field("rle", description="column of the mask, or of the image's class")
    rows: Literal["image", "instance", "image_class", "label"] = Field(
        "image",
        description="what a row is: an image; an instance; an image and class; or the label (class) of an image",
    )
    class_column: str | None = Field(None, description="rows image_class: column of the class")
    id_template: str = Field("{id}", description="how a row's id is made from {id}, {class} and the image's fields")
    extra: dict[str, str] = Field(
        default_factory=dict,
        description="further columns, e.g. {height: '{height}'}; {mask} stands for the mask's text, {number} "
        "and {score} for an object's where rows are instances",
    )
    mask_template: str = Field(
        "{mask}",
        description="text of one instance in the mask cell, e.g. '0 {score} {mask}', or with {class}",
    )
    dialect: Dialect | None = Field(None, description="how runs are written; default: as in masks.dialect")
    overlap: bool = Field(True, description="whether masks of one image may overlap")
    size: tuple[int, int] | None = Field(
        None, description="[height, width] of the masks, where it is not the images'; tuned and scored there [pixels]"
    )
    files: AnswerFiles = Field(default_factory=AnswerFiles, description="images, volumes: the files")
    coco: CocoObjects = Field(default_factory=CocoObjects, description="coco: the objects")
    geojson: GeoJsonObjects = Field(default_factory=GeoJsonObjects, description="geojson: the objects")
    points: PointTable = Field(default_factory=PointTable, description="points: the table")
    max_bytes: int | None = Field(None, gt=0, description="largest file that the host accepts [bytes]")
    code_competition: bool = Field(False, description="the host wants a notebook that writes the answer")

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and min(size) < 1:
            raise ValueError(f"submission.size {list(size)}: expected [height, width], both at least 1")
        return size

    @model_validator(mode="after")
    def _suits_the_kind(self) -> SubmissionFormat:
        endings = {"images": PICTURES, "volumes": VOLUMES}.get(self.kind, ())
        if endings and self.files.ending not in endings:
            raise ValueError(
                f"submission.files.path {self.files.path!r}: {self.kind} are written without loss as "
                f"{', '.join(endings)}; end it so"
            )
        holds = DEEPEST.get(self.files.ending, "int32")
        if np.iinfo(self.files.dtype).max > np.iinfo(holds).max:
            raise ValueError(
                f"submission.files.dtype {self.files.dtype}: {self.files.ending} holds {holds} at most; end path in "
                ".tif"
            )
        own = {"images": "files", "volumes": "files"}.get(self.kind, self.kind)
        others = [name for name in ("files", "coco", "geojson", "points") if name != own]
        said = [name for name in others if getattr(self, name) != type(getattr(self, name))()]
        if said:
            raise ValueError(f"submission.{said[0]} says nothing where submission.kind is {self.kind!r}: leave it out")
        if self.kind in ("volumes", "points") and self.size is not None:
            raise ValueError(f"submission.size is a size of images; {self.kind} are handed in on their own grid")
        return self

    @model_validator(mode="after")
    def _mask_cell_can_be_filled(self) -> SubmissionFormat:
        template, listed = self.mask_template, self.rows == "image"
        known = ["mask", "score", *(["class"] if listed else [])]
        fields = set(FIELD.findall(template))
        if "mask" not in fields or not fields <= set(known):
            raise ValueError(
                f"submission.mask_template {template!r}: expected {{mask}} in it, and no other fields than "
                f"{', '.join(known)} where submission.rows is {self.rows!r}"
            )
        if listed and template != "{mask}" and not fields & {"score", "class"}:
            raise ValueError(
                f"submission.mask_template {template!r} is the text of one of several objects, but without {{score}} "
                "or {class} a cell of submission.rows 'image' is one mask: leave it out, or set rows: instance"
            )
        return self

    @property
    def has_table(self) -> bool:
        """Whether a table, and so perhaps a sample of it, belongs to the answer."""
        return self.kind == "table" or self.files.table is not None

    @property
    def lists_classes(self) -> bool:
        """Whether one cell lists the objects of all classes, each with its class: '{class} {score} {mask}'."""
        return self.kind == "table" and self.rows == "image" and "{class}" in self.mask_template

    @property
    def wants_objects(self) -> bool:
        """Whether objects are told apart: by row, in a list with confidences, by number, or as COCO."""
        if self.kind == "table":
            return self.rows == "instance" or (self.rows == "image" and "{score" in self.mask_template)
        return self.kind in ("coco", "geojson") or self.files.objects


def placed(dialect: Dialect, fields: Mapping[str, Any]) -> Dialect:
    """The dialect of an image whose row of the listing is `fields`. ValueError where it has no such column."""
    if dialect.span is None:
        return dialect
    span = (fill(dialect.span[0], fields, "dialect.span"), fill(dialect.span[1], fields, "dialect.span"))
    return dialect.model_copy(update={"span": span})
