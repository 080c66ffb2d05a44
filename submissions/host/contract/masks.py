"""The section `masks` of a contract: how the host gives the true masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.contract.tables import Table
from submissions.host.patterns import FIELD, check_inside
from submissions.host.settings import Positive, Settings
from submissions.rle.codec import Dialect

Colour = tuple[int, int, int]


class Points(Settings):
    """How points are given, and how large the ball is that stands for one."""

    coordinates: tuple[str, str, str] = Field(
        ("z", "y", "x"), description="columns, or keys of a JSON document, of the place along z, y and x"
    )
    unit: float = Field(
        1.0, gt=0, description="size of a voxel in the coordinates' unit, e.g. 10 for 10 Å [host's unit]"
    )
    radius: Positive | dict[str, Positive] = Field(
        description="radius of the ball drawn around a point, or class -> radius [voxels]"
    )
    spacing: str | None = Field(
        None, description="column of the table with the size of a volume's voxels, for metrics whose spacing is 'image'"
    )


class Masks(Settings):
    """How the host gives the true masks.

    A path is a pattern with {id} or the image's own fields. With {class} in it there is a file per class, with
    {observer} one for each of `observers`, with {object} any number of files, one per object; where objects overlap,
    later names lie on top.
    """

    kind: Literal["rle", "images", "polygons", "points", "none"] = Field(
        description="rle: runs in a table; images: mask files; polygons: "
        "outlines in documents; points: balls around places; none: only a class per image"
    )
    table: Table | None = Field(
        None,
        description="rle, points: the table of the runs, or of a row per point; images: of a row per object, where it "
        "says of which class that is; a panoptic COCO .json is one, with `id` from the columns of its images",
    )
    column: str = Field(
        "rle",
        description="rle: column of the runs; none: column of the image's class; images: column of an object's value "
        "in the mask file, or with {object} in the path of its file's name",
    )
    class_column: str | None = Field(
        None,
        description="rle, points, images: column that names the class of a row; 'category' in a panoptic COCO .json",
    )
    dialect: Dialect = Field(default_factory=Dialect, description="rle: how runs are written")
    path: str | None = Field(
        None,
        description="images: path pattern of the mask files; a file that matches is not an image; {rank:03d} is the "
        "place of the image in its folder, from 0, {rank1:03d} from 1",
    )
    missing: Literal["refuse", "empty", "skip"] = Field(
        "refuse",
        description="an image without a mask file is: a mistake (refuse); empty (empty); not labelled and left "
        "out (skip)",
    )
    surplus: bool = Field(False, description="images: allow mask files without an image; otherwise each is a problem")
    values: dict[int | str, str | list[str]] | None = Field(
        None,
        description="images: pixel value, or colour as '255,0,0' or '#ff0000' -> class name(s) or 'void'; "
        "'{species}' is the class in the image's column `species`",
    )
    channels: list[str] = Field(
        default_factory=list,
        description="images: what each channel of a mask file shows, in its order: a class, 'void', or '' for nothing "
        "of the contract; a pixel shows the class where it is not 0, with instances its values number the objects",
    )
    column_classes: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="images: column -> its text -> class or 'void', of the column that `values` or class_column "
        "names: {species: {1: cat, 2: dog}}",
    )
    threshold: int | None = Field(
        None, gt=0, description="images: soft masks: a pixel shows the class from this value on [pixel value]"
    )
    observers: list[str] = Field(
        default_factory=list,
        description="images: values of {observer} in the path, one per observer; their masks are joined",
    )
    join: Literal["majority", "any", "all", "mean"] = Field(
        "majority",
        description="several observers: a pixel counts where more than half, any, or all of them mark it; mean: the "
        "share that marks it is learned, and where more than half do it is scored",
    )
    valid: str | None = Field(None, description="path pattern of images whose zero pixels are not scored")
    array: str | None = Field(
        None,
        description="images: name of the array in a .npz, .mat, HDF5, Zarr or N5 that holds several; in structs and "
        "cells as MATLAB writes it: GTcls.Segmentation, groundTruth{1}.Boundaries",
    )
    size: Literal["image", "any"] = Field(
        "image", description="images: size of a mask file; any: it is resized to its image, nearest pixel"
    )
    file: str | None = Field(
        None,
        description="polygons: one document for all images, several as a_{part:train|val}.json, or a path pattern with "
        "one per image; the format is recognised; points: a JSON document per volume, with {class} one per class",
    )
    points: Points | None = Field(None, description="points: which columns or keys hold the coordinates, and the ball")
    polygon_classes: dict[str, str | list[str]] | None = Field(
        None, description="polygons: the host's name -> class, 'void', or [] to leave it out"
    )
    instances: bool = Field(
        False,
        description="each row, value, colour, page, file or polygon is one object: of the only class, or of the one "
        "that {class} in the path, class_column or the polygon says",
    )

    @field_validator("path", "valid", "file")
    @classmethod
    def _can_be_filled(cls, pattern: str | None) -> str | None:
        return None if pattern is None else check_inside(pattern)

    @field_validator("values", mode="before")
    @classmethod
    def _numbers_stay_numbers(cls, values: Any) -> Any:
        """JSON knows keys of text only."""
        if not isinstance(values, dict):
            return values
        return {int(key) if isinstance(key, str) and key.isdecimal() else key: names for key, names in values.items()}

    @field_validator("column_classes", mode="before")
    @classmethod
    def _cells_are_text(cls, columns: Any) -> Any:
        """The host's tables are read as text: `1` in YAML means the cell "1"."""
        if not isinstance(columns, dict):
            return columns
        return {
            column: {str(cell): name for cell, name in cells.items()} if isinstance(cells, dict) else cells
            for column, cells in columns.items()
        }

    @model_validator(mode="after")
    def _has_its_source(self) -> Masks:
        needed = {"rle": "table", "images": "path", "polygons": "file", "points": "points", "none": "table"}[self.kind]
        if getattr(self, needed) is None:
            raise ValueError(f"masks.kind {self.kind!r} needs masks.{needed}")
        if self.kind == "points" and (self.table is None) == (self.file is None):
            raise ValueError("masks.kind 'points' needs masks.table or masks.file, one of them: where are the points?")
        if self.threshold is not None and (self.values is not None or self.instances):
            raise ValueError(
                "masks.threshold is for soft masks, one file per image: leave out masks.values and masks.instances"
            )
        if self.channels and (self.values is not None or "class" in self.path_fields or self.kind != "images"):
            raise ValueError(
                "masks.channels says which class a channel of a mask file shows: leave out masks.values and {class} in "
                "masks.path, or leave out masks.channels"
            )
        if ("observer" in self.path_fields) != bool(self.observers):
            raise ValueError("masks.observers and {observer} in masks.path go together: give both or neither")
        if self.observers and self.instances:
            raise ValueError(
                "masks.observers joins pixel masks and cannot join instances: leave out "
                "masks.instances or masks.observers"
            )
        if self.kind == "images" and self.table is not None and (self.class_column is None or self.channels):
            raise ValueError(
                "masks.table says of which class the objects of mask files are: name its columns in masks.column and "
                "masks.class_column, without masks.channels; or leave it out"
            )
        mapped = {field for names in self._mapped(self.values) for field in FIELD.findall(names)}
        mapped |= {*self.column_classes} & ({self.class_column} if self.kind == "images" and self.table else set())
        if mapped != set(self.column_classes):
            raise ValueError(
                f"masks.values names the columns {sorted(mapped)} and masks.column_classes maps those of "
                f"{sorted(self.column_classes)}; expected the same"
            )
        colours = {parse_colour(key) is not None for key in self.values or {}}
        if len(colours) > 1:
            raise ValueError("masks.values mixes numbers and colours; use only numbers or only colours")
        return self

    @property
    def path_fields(self) -> list[str]:
        """Names of the fields in the path."""
        return FIELD.findall(self.path or "")

    @property
    def colours(self) -> dict[Colour, str | list[str]] | None:
        """The value map by (red, green, blue); None where values are numbers or there are none."""
        found = {parse_colour(key): names for key, names in (self.values or {}).items()}
        return {colour: names for colour, names in found.items() if colour is not None} or None

    @property
    def numbers(self) -> dict[int, str | list[str]] | None:
        """The value map by number, None where values are colours or there are none."""
        found = {key: names for key, names in (self.values or {}).items() if isinstance(key, int)}
        return found or None

    @property
    def class_names(self) -> set[str]:
        """Class names that the value map and the polygons' map give."""
        named = {name for name in self._mapped(self.values) if not FIELD.findall(name)}
        of_columns = {name for cells in self.column_classes.values() for name in cells.values()}
        return named | of_columns | self._mapped(self.polygon_classes) | ({*self.channels} - {""})

    @staticmethod
    def _mapped(meaning: Mapping[Any, str | list[str]] | None) -> set[str]:
        return {name for names in (meaning or {}).values() for name in ([names] if isinstance(names, str) else names)}


def parse_colour(key: int | str) -> Colour | None:
    """(red, green, blue) of '255,0,0', '255 0 0' or '#ff0000'; None for a number. ValueError for other text."""
    if isinstance(key, int):
        return None
    text = key.strip()
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)
    parts = re.split(r"[,\s]+", text.strip("()[]"))
    if len(parts) == 3 and all(part.isdecimal() and int(part) < 256 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    raise ValueError(f"masks.values: {key!r} is neither a number nor a colour; write 128, '255,0,0' or '#ff0000'")
